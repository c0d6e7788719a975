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
