//! The instruction class of a kernel: which hardware does its arithmetic.
//!
//! Whoever writes a kernel states its class; `found` looks at the instructions that were written. The two must agree, and so
//! must the machine instructions that the assembler made of them.

use gable_ptx::meaning::Meaning;
use gable_ptx::nvdisasm::MachineInstruction;
use gable_ptx::{Kernel, ScalarType};
use std::collections::BTreeSet;
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
    const ALL: [Class; 6] =
        [Class::None, Class::Fma, Class::MmaSync, Class::MmaSyncBlockScaled, Class::Wgmma, Class::Tcgen05];

    /// The class of a name in artifacts and reports.
    pub fn named(name: &str) -> Option<Class> {
        Class::ALL.into_iter().find(|class| class.name() == name)
    }

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
    pub fn found(kernel: &Kernel) -> Class {
        kernel.insts().map(|inst| class_of(inst.op.form().meaning)).max().unwrap_or(Class::None)
    }

    /// The class of the instructions in a kernel's loops.
    pub fn found_in_loops(kernel: &Kernel) -> Class {
        kernel.insts_in_loops().map(|inst| class_of(inst.op.form().meaning)).max().unwrap_or(Class::None)
    }

    /// Whether kernels of the class walk over tiles, so that its products must lie in a loop. Elsewhere a short k may leave none.
    pub fn is_looped(self) -> bool {
        matches!(self, Class::Wgmma | Class::Tcgen05)
    }

    /// The machine instructions that do the class's arithmetic, of which its kernels hold one, without modifiers where those do not tell;
    /// none where the class promises no hardware of its own. As `nvdisasm` 13.2 spells what `ptxas` 13.0 makes of each kind.
    pub fn machine_names(self) -> &'static [&'static str] {
        match self {
            Class::None | Class::Fma => &[],
            Class::MmaSync => &["HMMA", "IMMA", "QMMA"],
            Class::MmaSyncBlockScaled => &["QMMA.SF", "OMMA.SF"],
            Class::Wgmma => &["HGMMA", "QGMMA", "IGMMA"],
            Class::Tcgen05 => &["UTCHMMA", "UTCQMMA", "UTCIMMA", "UTCOMMA"],
        }
    }

    /// Whether a kernel's machine code keeps the class's promise; the error says what it multiplies with instead.
    pub fn kept_by(self, code: &[MachineInstruction]) -> Result<(), String> {
        let wanted = self.machine_names();
        let does = |name: &str| {
            let is =
                |wanted: &&str| name.strip_prefix(*wanted).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
            wanted.iter().any(is)
        };
        let counts = |instruction: &&MachineInstruction| instruction.in_loop || !self.is_looped();
        if wanted.is_empty() || code.iter().filter(counts).any(|instruction| does(&instruction.name)) {
            return Ok(());
        }
        let names = code.iter().filter(counts).map(|instruction| instruction.name.as_str());
        let products: BTreeSet<&str> = names.filter(|name| name.contains("MMA") || name.contains("FMA")).collect();
        let found = if products.is_empty() { "no products".into() } else { Vec::from_iter(products).join(", ") };
        let place = if self.is_looped() { "the loops of its machine code have" } else { "its machine code has" };
        Err(format!("states class `{self}`, but {place} {found} in place of {}", wanted.join(" or ")))
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

    use super::{Class, MachineInstruction};

    fn found(target: Target, write: impl FnOnce(&mut KernelBuilder) -> Result<(), EmitError>) -> &'static str {
        let mut k = KernelBuilder::new("k", target);
        let x = k.mov_f32(1.0);
        k.add_f32(x, 1.0);
        write(&mut k).expect("every instruction is in the table");
        Class::found(&k.finish()).name()
    }

    #[test]
    fn machine_code_without_the_promised_products_breaks_the_promise() {
        let code = |name: &str, in_loop| [MachineInstruction { name: name.into(), in_loop }];
        assert_eq!(Class::Wgmma.kept_by(&code("HGMMA.64x256x16.F32.BF16", true)), Ok(()));
        assert_eq!(Class::MmaSync.kept_by(&code("HMMA.16816.F32", false)), Ok(()));
        assert_eq!(Class::Fma.kept_by(&[]), Ok(()));
        let broken = [
            Class::Wgmma.kept_by(&code("HGMMA.64x256x16.F32.BF16", false)),
            Class::MmaSyncBlockScaled.kept_by(&code("QMMA.16832.F32.E4M3.E4M3", true)),
            Class::Tcgen05.kept_by(&code("FFMA", true)),
        ];
        insta::assert_snapshot!(broken.map(|broken| broken.expect_err("it is broken")).join("\n"), @r"
        states class `wgmma`, but the loops of its machine code have no products in place of HGMMA or QGMMA or IGMMA
        states class `mma.sync block-scaled`, but its machine code has QMMA.16832.F32.E4M3.E4M3 in place of QMMA.SF or OMMA.SF
        states class `tcgen05`, but the loops of its machine code have FFMA in place of UTCHMMA or UTCQMMA or UTCIMMA or UTCOMMA
        ");
        assert!(Class::ALL.into_iter().all(|class| Class::named(class.name()) == Some(class)));
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
