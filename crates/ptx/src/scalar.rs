//! The types that instructions name, and the state spaces.

use std::fmt;

use crate::register::Class;

/// A type in an instruction's name; `class` says in which registers its values live.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ScalarType {
    /// One bit.
    Pred,
    /// Eight bits without a meaning; lives in the low half of a `B16` register.
    B8,
    /// 16 bits without a meaning.
    B16,
    /// 32 bits without a meaning.
    B32,
    /// 64 bits without a meaning.
    B64,
    /// 128 bits without a meaning.
    B128,
    /// Unsigned byte; lives zero-extended in a `B32` register.
    U8,
    /// Signed byte; lives sign-extended in a `B32` register.
    S8,
    /// Unsigned 16 bits.
    U16,
    /// Signed 16 bits.
    S16,
    /// Unsigned 32 bits.
    U32,
    /// Signed 32 bits.
    S32,
    /// Unsigned 64 bits.
    U64,
    /// Signed 64 bits.
    S64,
    /// IEEE half precision, in a `B16` register.
    F16,
    /// bfloat16, in a `B16` register.
    Bf16,
    /// Two f16; the element of the lower address is in the low half.
    F16x2,
    /// Two bf16.
    Bf16x2,
    /// f32 with 10 fraction bits that count, in a `B32` register.
    Tf32,
    /// Two e4m3 in a `B16` register.
    E4m3x2,
    /// Two e5m2 in a `B16` register.
    E5m2x2,
    /// Two e2m3, each in the low six bits of a byte, in a `B16` register.
    E2m3x2,
    /// Two e3m2, each in the low six bits of a byte, in a `B16` register.
    E3m2x2,
    /// Two e2m1 in a `B8` register.
    E2m1x2,
    /// Four e4m3.
    E4m3x4,
    /// Four e5m2.
    E5m2x4,
    /// Four e2m3, each in the low six bits of a byte.
    E2m3x4,
    /// Four e3m2, each in the low six bits of a byte.
    E3m2x4,
    /// Four e2m1 in a `B16` register.
    E2m1x4,
    /// Two ue8m0 scales in a `B16` register.
    Ue8m0x2,
    /// Single precision.
    F32,
    /// Double precision.
    F64,
}

impl ScalarType {
    /// The register class of its values.
    pub fn class(self) -> Class {
        use ScalarType::*;
        match self {
            Pred => Class::Pred,
            E2m1x2 => Class::B8,
            B8 | B16 | U16 | S16 | F16 | Bf16 | E4m3x2 | E5m2x2 | E2m3x2 | E3m2x2 | E2m1x4 | Ue8m0x2 => Class::B16,
            B32 | U8 | S8 | U32 | S32 | F16x2 | Bf16x2 | Tf32 | E4m3x4 | E5m2x4 | E2m3x4 | E3m2x4 => Class::B32,
            B64 | U64 | S64 => Class::B64,
            B128 => Class::B128,
            F32 => Class::F32,
            F64 => Class::F64,
        }
    }

    /// Bytes that a value takes in memory; 1 for a predicate.
    pub fn bytes(self) -> u32 {
        use ScalarType::*;
        match self {
            Pred | B8 | U8 | S8 | E2m1x2 => 1,
            B16 | U16 | S16 | F16 | Bf16 | E4m3x2 | E5m2x2 | E2m3x2 | E3m2x2 | E2m1x4 | Ue8m0x2 => 2,
            B32 | U32 | S32 | F16x2 | Bf16x2 | Tf32 | F32 | E4m3x4 | E5m2x4 | E2m3x4 | E3m2x4 => 4,
            B64 | U64 | S64 | F64 => 8,
            B128 => 16,
        }
    }

    /// Whether its values are floating point numbers, packed ones included.
    pub fn is_float(self) -> bool {
        use ScalarType::*;
        match self {
            F16 | Bf16 | F16x2 | Bf16x2 | Tf32 | F32 | F64 => true,
            E4m3x2 | E5m2x2 | E2m3x2 | E3m2x2 | E2m1x2 | Ue8m0x2 => true,
            E4m3x4 | E5m2x4 | E2m3x4 | E3m2x4 | E2m1x4 => true,
            Pred | B8 | B16 | B32 | B64 | B128 | U8 | S8 | U16 | S16 | U32 | S32 | U64 | S64 => false,
        }
    }

    /// Its name in an instruction, without the dot.
    pub fn name(self) -> &'static str {
        use ScalarType::*;
        match self {
            Pred => "pred",
            B8 => "b8",
            B16 => "b16",
            B32 => "b32",
            B64 => "b64",
            B128 => "b128",
            U8 => "u8",
            S8 => "s8",
            U16 => "u16",
            S16 => "s16",
            U32 => "u32",
            S32 => "s32",
            U64 => "u64",
            S64 => "s64",
            F16 => "f16",
            Bf16 => "bf16",
            F16x2 => "f16x2",
            Bf16x2 => "bf16x2",
            Tf32 => "tf32",
            E4m3x2 => "e4m3x2",
            E5m2x2 => "e5m2x2",
            E2m3x2 => "e2m3x2",
            E3m2x2 => "e3m2x2",
            E2m1x2 => "e2m1x2",
            E4m3x4 => "e4m3x4",
            E5m2x4 => "e5m2x4",
            E2m3x4 => "e2m3x4",
            E3m2x4 => "e3m2x4",
            E2m1x4 => "e2m1x4",
            Ue8m0x2 => "ue8m0x2",
            F32 => "f32",
            F64 => "f64",
        }
    }
}

impl fmt::Display for ScalarType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A state space: memory with one kind of address and one set of readers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Space {
    /// Device memory.
    Global,
    /// Memory of the CTA.
    Shared,
    /// Memory of one thread.
    Local,
    /// Kernel parameters, read only.
    Param,
    /// Shared memory of any CTA of the cluster; the own CTA's addresses are among them.
    SharedCluster,
    /// Global, shared or local memory or the parameters, told apart by the address.
    Generic,
    /// Tensor memory: 128 lanes of 512 columns of 32 bits, of which an address has the lane in its upper half.
    Tensor,
}

impl fmt::Display for Space {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Space::Global => "global",
            Space::Shared => "shared",
            Space::Local => "local",
            Space::Param => "param",
            Space::SharedCluster => "shared::cluster",
            Space::Generic => "generic",
            Space::Tensor => "tensor",
        })
    }
}
