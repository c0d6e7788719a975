//! Atomic updates of memory, relaxed and at device scope for global, CTA scope for shared memory. `red` forms return nothing.
//!
//! Sums of floats have no fixed order: two runs differ in the last bits.

use super::columns::*;
use crate::meaning::AtomicOp::*;
use crate::operand::{Global, Shared};
use crate::scalar::{ScalarType, Space};

const fn atomic(space: Space, op: crate::meaning::AtomicOp, ty: ScalarType) -> crate::meaning::Meaning {
    Atomic { space, op, ty, returns: true }
}

const fn reduction(space: Space, op: crate::meaning::AtomicOp, ty: ScalarType) -> crate::meaning::Meaning {
    Atomic { space, op, ty, returns: false }
}

/// One line per operation and type: its spelling, floor, and the names of its four forms.
macro_rules! updates {
    ($($text:literal $Class:ident $op:ident $Type:ident $floor:expr =>
        $atom:ident $red:ident $atom_shared:ident $red_shared:ident;)*) => {
        super::forms! {
            $(
            { "parallel-synchronization-and-communication-instructions-atom", LoadStore, Updates(Space::Global), $floor }
            $atom($Class <- address: Global, value: $Class) = concat!("atom.global", $text) => atomic(Space::Global, $op, $Type);
            { "parallel-synchronization-and-communication-instructions-red", LoadStore, Updates(Space::Global), $floor }
            $red(Nothing <- address: Global, value: $Class) = concat!("red.global", $text) => reduction(Space::Global, $op, $Type);
            { "parallel-synchronization-and-communication-instructions-atom", LoadStore, Updates(Space::Shared), $floor }
            $atom_shared($Class <- address: Shared, value: $Class) = concat!("atom.shared", $text) => atomic(Space::Shared, $op, $Type);
            { "parallel-synchronization-and-communication-instructions-red", LoadStore, Updates(Space::Shared), $floor }
            $red_shared(Nothing <- address: Shared, value: $Class) = concat!("red.shared", $text) => reduction(Space::Shared, $op, $Type);
            )*

            { "parallel-synchronization-and-communication-instructions-atom", LoadStore, Updates(Space::Global), BASE }
            atom_global_exch_b32(B32 <- address: Global, value: B32) = "atom.global.exch.b32" => atomic(Space::Global, Exchange, B32);
            atom_global_exch_b64(B64 <- address: Global, value: B64) = "atom.global.exch.b64" => atomic(Space::Global, Exchange, B64);
            atom_global_cas_b32(B32 <- address: Global, expected: B32, value: B32) = "atom.global.cas.b32"
                => atomic(Space::Global, CompareAndSwap, B32);
            atom_global_cas_b64(B64 <- address: Global, expected: B64, value: B64) = "atom.global.cas.b64"
                => atomic(Space::Global, CompareAndSwap, B64);
            { "parallel-synchronization-and-communication-instructions-atom", LoadStore, Updates(Space::Shared), BASE }
            atom_shared_exch_b32(B32 <- address: Shared, value: B32) = "atom.shared.exch.b32" => atomic(Space::Shared, Exchange, B32);
            atom_shared_exch_b64(B64 <- address: Shared, value: B64) = "atom.shared.exch.b64" => atomic(Space::Shared, Exchange, B64);
            atom_shared_cas_b32(B32 <- address: Shared, expected: B32, value: B32) = "atom.shared.cas.b32"
                => atomic(Space::Shared, CompareAndSwap, B32);
            atom_shared_cas_b64(B64 <- address: Shared, expected: B64, value: B64) = "atom.shared.cas.b64"
                => atomic(Space::Shared, CompareAndSwap, B64);
        }
    };
}

updates! {
    ".add.u32" B32 Add U32 BASE =>
        atom_global_add_u32 red_global_add_u32 atom_shared_add_u32 red_shared_add_u32;
    ".add.s32" B32 Add S32 BASE =>
        atom_global_add_s32 red_global_add_s32 atom_shared_add_s32 red_shared_add_s32;
    ".add.u64" B64 Add U64 BASE =>
        atom_global_add_u64 red_global_add_u64 atom_shared_add_u64 red_shared_add_u64;
    ".add.f32" F32 Add F32 BASE =>
        atom_global_add_f32 red_global_add_f32 atom_shared_add_f32 red_shared_add_f32;
    ".add.f64" F64 Add F64 BASE =>
        atom_global_add_f64 red_global_add_f64 atom_shared_add_f64 red_shared_add_f64;
    ".add.noftz.f16x2" RegB32 Add F16x2 BASE =>
        atom_global_add_f16x2 red_global_add_f16x2 atom_shared_add_f16x2 red_shared_add_f16x2;
    ".add.noftz.bf16x2" RegB32 Add Bf16x2 from(90, 7, 8) =>
        atom_global_add_bf16x2 red_global_add_bf16x2 atom_shared_add_bf16x2 red_shared_add_bf16x2;
    ".min.u32" B32 Min U32 BASE =>
        atom_global_min_u32 red_global_min_u32 atom_shared_min_u32 red_shared_min_u32;
    ".min.s32" B32 Min S32 BASE =>
        atom_global_min_s32 red_global_min_s32 atom_shared_min_s32 red_shared_min_s32;
    ".min.u64" B64 Min U64 BASE =>
        atom_global_min_u64 red_global_min_u64 atom_shared_min_u64 red_shared_min_u64;
    ".min.s64" B64 Min S64 BASE =>
        atom_global_min_s64 red_global_min_s64 atom_shared_min_s64 red_shared_min_s64;
    ".max.u32" B32 Max U32 BASE =>
        atom_global_max_u32 red_global_max_u32 atom_shared_max_u32 red_shared_max_u32;
    ".max.s32" B32 Max S32 BASE =>
        atom_global_max_s32 red_global_max_s32 atom_shared_max_s32 red_shared_max_s32;
    ".max.u64" B64 Max U64 BASE =>
        atom_global_max_u64 red_global_max_u64 atom_shared_max_u64 red_shared_max_u64;
    ".max.s64" B64 Max S64 BASE =>
        atom_global_max_s64 red_global_max_s64 atom_shared_max_s64 red_shared_max_s64;
    ".and.b32" B32 And B32 BASE =>
        atom_global_and_b32 red_global_and_b32 atom_shared_and_b32 red_shared_and_b32;
    ".and.b64" B64 And B64 BASE =>
        atom_global_and_b64 red_global_and_b64 atom_shared_and_b64 red_shared_and_b64;
    ".or.b32" B32 Or B32 BASE =>
        atom_global_or_b32 red_global_or_b32 atom_shared_or_b32 red_shared_or_b32;
    ".or.b64" B64 Or B64 BASE =>
        atom_global_or_b64 red_global_or_b64 atom_shared_or_b64 red_shared_or_b64;
    ".xor.b32" B32 Xor B32 BASE =>
        atom_global_xor_b32 red_global_xor_b32 atom_shared_xor_b32 red_shared_xor_b32;
    ".xor.b64" B64 Xor B64 BASE =>
        atom_global_xor_b64 red_global_xor_b64 atom_shared_xor_b64 red_shared_xor_b64;
}
