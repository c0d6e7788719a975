//! The instruction class of a kernel: which hardware does its arithmetic.
//!
//! Whoever writes a kernel states its class; `found` looks at the instructions that were written. The two must agree.

use gable_ptx::ScalarType;
use gable_ptx::meaning::Meaning;
use std::fmt;

/// What does a kernel's arithmetic, from the least to the most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// Nothing: the kernel moves, converts, compares or counts.
    None,
    /// The ordinary floating-point pipes.
    Fma,
    /// Warp-wide matrix instructions on tensor cores.
    MmaSync,
    /// Warp-wide matrix instructions on tensor cores that scale blocks of narrow floats.
    MmaSyncBlockScaled,
    /// Warpgroup-wide matrix instructions on tensor cores, in the background.
    Wgmma,
    /// Matrix instructions on tensor cores with sums in tensor memory, in the background.
    Tcgen05,
}

impl Class {
    /// The name in artifacts and reports.
    pub fn name(self) -> &'static str {
        match self {
            Class::None => "none",
            Class::Fma => "fma",
            Class::MmaSync => "mma.sync",
            Class::MmaSyncBlockScaled => "mma.sync block-scaled",
            Class::Wgmma => "wgmma",
            Class::Tcgen05 => "tcgen05",
        }
    }

    /// The class of the instructions of a kernel.
    pub fn found(kernel: &gable_ptx::Kernel) -> Class {
        kernel.insts().map(|inst| class_of(inst.op.form().meaning)).max().unwrap_or(Class::None)
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

fn class_of(meaning: Meaning) -> Class {
    let of_type = |ty: ScalarType| if ty.is_float() { Class::Fma } else { Class::None };
    match meaning {
        Meaning::TensorMultiply(_) | Meaning::TensorMultiplyByWarp(_) => Class::Tcgen05,
        Meaning::WarpgroupMultiply(_) => Class::Wgmma,
        Meaning::BlockScaledMultiply(_) => Class::MmaSyncBlockScaled,
        Meaning::MatrixMultiply(_) | Meaning::NarrowMultiply(_) => Class::MmaSync,
        Meaning::Unary(_, ty) | Meaning::Binary(_, ty) | Meaning::Ternary(_, ty) => of_type(ty),
        _ => Class::None,
    }
}

#[cfg(test)]
mod tests {
    use gable_ptx::meaning::{
        BlockScaledMultiply, BlockScales, Collector, Element, TensorKind, TensorMultiply, WarpgroupMultiply,
    };
    use gable_ptx::{EmitError, F32, KernelBuilder, R, ScaleOperand, Target, Tcgen05Operand, WgmmaOperand};

    use super::Class;

    fn found(target: Target, write: impl FnOnce(&mut KernelBuilder) -> Result<(), EmitError>) -> &'static str {
        let mut k = KernelBuilder::new("k", target);
        let x = k.mov_f32(1.0);
        k.add_f32(x, 1.0);
        write(&mut k).expect("every instruction is in the table");
        Class::found(&k.finish()).name()
    }

    #[test]
    fn a_kernel_has_the_class_of_its_strongest_instruction() {
        assert_eq!(Class::found(&KernelBuilder::new("k", Target::Sm90a).finish()), Class::None);
        assert_eq!(found(Target::Sm90a, |_| Ok(())), "fma");
        let (e4m3, scales) = (Element::E4m3, BlockScales::Ue8m0Per32);
        let plain = |k: &mut KernelBuilder| {
            let (word, sum) = (k.mov_b32(0), k.mov_f32(0.0));
            k.mma_m16n8k16_f32_bf16([word; 4], [word; 2], [sum; 4]);
            Ok(())
        };
        assert_eq!(found(Target::Sm90a, plain), "mma.sync");
        let scaled = |k: &mut KernelBuilder| {
            plain(k)?;
            let word = k.mov_b32(0);
            let sums: [R<F32>; 4] = std::array::from_fn(|_| k.mov_f32(0.0));
            let scale = ScaleOperand { register: word, byte: 0, thread: 0 };
            let shape = BlockScaledMultiply { k: 32, a: e4m3, b: e4m3, scales };
            k.mma_block_scaled(shape, sums, ([word; 4], scale), ([word; 2], scale))
        };
        assert_eq!(found(Target::Sm120f, scaled), "mma.sync block-scaled");
        let warpgroup = |k: &mut KernelBuilder| {
            let (b, sums) = (k.mov_b64(0), [(); 4].map(|()| k.mov_f32(0.0).reg()));
            let accumulator = Element::F32;
            let shape = WarpgroupMultiply { n: 8, k: 32, a: e4m3, b: e4m3, accumulator, a_in_registers: false };
            k.wgmma(shape, &sums, WgmmaOperand::Descriptor(b), b, true, (false, false))
        };
        assert_eq!(found(Target::Sm90a, warpgroup), "wgmma");
        let tensor = |k: &mut KernelBuilder| {
            let (sums, b) = (k.mov_b32(0), k.mov_b64(0));
            let (kind, collector) = (TensorKind::F16, Collector::Default);
            let multiply = TensorMultiply { kind, cta_pair: false, a_in_tensor_memory: false, collector };
            k.tcgen05_mma(multiply, sums, Tcgen05Operand::Descriptor(b), b, 0, None, true)
        };
        assert_eq!(found(Target::Sm100f, tensor), "tcgen05");
    }
}
