//! Matrix multiplies of a warpgroup that run in the background: `d = a * b + d` of 64 rows.
//!
//! `b`, and `a` where it is not in registers, are in shared memory and given by matrix descriptors. The rows of
//! `wgmma.mma_async` have no methods of their own: `KernelBuilder::wgmma` finds them by their shape.
//! All threads of the warpgroup execute these together, at the same place.

use super::columns::*;
use crate::form::{DstSlot, Effect, Floor, Form, Pipe, Slot};
use crate::meaning::Element::{Bf16, E4m3, E5m2, F16, F32 as Single, S8, S32, Tf32, U8};
use crate::meaning::{Element, Meaning, WarpgroupMultiply as Shape};
use crate::register::Class;
use crate::slot::PendingGroups;
use crate::target::Feature;

super::forms! {
    { "asynchronous-warpgroup-level-matrix-instructions-wgmma-fence", Tensor, WarpgroupSync, with(Feature::Wgmma, 8, 0) }
    wgmma_fence(Nothing <- ) = "wgmma.fence.sync.aligned" => WarpgroupFence;

    { "asynchronous-warpgroup-level-matrix-instructions-wgmma-commit-group", Tensor, WarpgroupSync, with(Feature::Wgmma, 8, 0) }
    wgmma_commit_group(Nothing <- ) = "wgmma.commit_group.sync.aligned" => WarpgroupCommit;

    { "asynchronous-warpgroup-level-matrix-instructions-wgmma-wait-group", Tensor, WarpgroupSync, with(Feature::Wgmma, 8, 0) }
    wgmma_wait_group(Nothing <- pending: PendingGroups) = "wgmma.wait_group.sync.aligned" => WarpgroupWait;
}

const DESCRIPTOR: Slot = Slot::Reg(Class::B64);
const REGISTERS: Slot = Slot::RegVector(Class::B32, 4);
/// Whether the product is added to what the accumulators hold.
const ACCUMULATE: Slot = Slot::Value(Class::Pred);
const SIGN: Slot = Slot::OneOf(&[1, -1]);
/// 0: rows of K elements; 1: columns.
const TRANSPOSED: Slot = Slot::OneOf(&[0, 1]);

/// One `wgmma.mma_async`: operands and accumulators follow from the shape.
const fn multiply(name: &'static str, spelling: &'static str, shape: Shape) -> Form {
    let src: &[Slot] = match (shape.a, shape.a_in_registers) {
        (F16 | Bf16, false) => &[DESCRIPTOR, DESCRIPTOR, ACCUMULATE, SIGN, SIGN, TRANSPOSED, TRANSPOSED],
        (F16 | Bf16, true) => &[REGISTERS, DESCRIPTOR, ACCUMULATE, SIGN, SIGN, TRANSPOSED],
        (S8 | U8, false) => &[DESCRIPTOR, DESCRIPTOR, ACCUMULATE],
        (S8 | U8, true) => &[REGISTERS, DESCRIPTOR, ACCUMULATE],
        (_, false) => &[DESCRIPTOR, DESCRIPTOR, ACCUMULATE, SIGN, SIGN],
        (_, true) => &[REGISTERS, DESCRIPTOR, ACCUMULATE, SIGN, SIGN],
    };
    let (class, per_register) = match shape.accumulator {
        F16 => (Class::B32, 4),
        S32 => (Class::B32, 2),
        _ => (Class::F32, 2),
    };
    let mixed_integers = matches!((shape.a, shape.b), (S8, U8) | (U8, S8));
    Form {
        name,
        spelling,
        dst: Some(DstSlot::Accumulators(class, (shape.n / per_register) as u8)),
        src,
        fixed: None,
        floor: Floor::feature(Feature::Wgmma, PtxVersion::new(8, if mixed_integers { 4 } else { 0 })),
        effect: Effect::WarpgroupSync,
        pipe: Pipe::Tensor,
        section: "asynchronous-warpgroup-level-matrix-instructions-wgmma-mma-async",
        meaning: Meaning::WarpgroupMultiply(shape),
    }
}

const fn shape(n: u16, k: u8, a: Element, b: Element, accumulator: Element, a_in_registers: bool) -> Shape {
    Shape { n, k, a, b, accumulator, a_in_registers }
}

/// The rows of one pair of element types, one for each `n`, with `a` in shared memory and in registers.
macro_rules! rows {
    ($k:literal $types:literal $suffix:literal $a:ident $b:ident $accumulator:ident: $($n:literal)*) => {
        &[ $(
            &const {
                multiply(
                    concat!("wgmma_m64n", $n, "k", $k, $suffix),
                    concat!("wgmma.mma_async.sync.aligned.m64n", $n, "k", $k, $types),
                    shape($n, $k, $a, $b, $accumulator, false),
                )
            },
            &const {
                multiply(
                    concat!("wgmma_m64n", $n, "k", $k, $suffix, "_a_in_registers"),
                    concat!("wgmma.mma_async.sync.aligned.m64n", $n, "k", $k, $types),
                    shape($n, $k, $a, $b, $accumulator, true),
                )
            },
        )* ]
    };
}

macro_rules! float_rows {
    ($($parameters:tt)*) => {
        rows!($($parameters)*: 8 16 24 32 40 48 56 64 72 80 88 96 104 112 120 128 136 144 152 160 168 176 184 192 200
            208 216 224 232 240 248 256)
    };
}

macro_rules! integer_rows {
    ($($parameters:tt)*) => {
        rows!($($parameters)*: 8 16 24 32 48 64 80 96 112 128 144 160 176 192 208 224 240 256)
    };
}

/// The rows of `wgmma.mma_async`, by element types.
pub(super) static MULTIPLIES: &[&[&Form]] = &[
    float_rows!(16 ".f32.f16.f16" "_f32_f16" F16 F16 Single),
    float_rows!(16 ".f16.f16.f16" "_f16_f16" F16 F16 F16),
    float_rows!(16 ".f32.bf16.bf16" "_f32_bf16" Bf16 Bf16 Single),
    float_rows!(8 ".f32.tf32.tf32" "_f32_tf32" Tf32 Tf32 Single),
    float_rows!(32 ".f32.e4m3.e4m3" "_f32_e4m3" E4m3 E4m3 Single),
    float_rows!(32 ".f32.e4m3.e5m2" "_f32_e4m3_e5m2" E4m3 E5m2 Single),
    float_rows!(32 ".f32.e5m2.e4m3" "_f32_e5m2_e4m3" E5m2 E4m3 Single),
    float_rows!(32 ".f32.e5m2.e5m2" "_f32_e5m2" E5m2 E5m2 Single),
    float_rows!(32 ".f16.e4m3.e4m3" "_f16_e4m3" E4m3 E4m3 F16),
    float_rows!(32 ".f16.e4m3.e5m2" "_f16_e4m3_e5m2" E4m3 E5m2 F16),
    float_rows!(32 ".f16.e5m2.e4m3" "_f16_e5m2_e4m3" E5m2 E4m3 F16),
    float_rows!(32 ".f16.e5m2.e5m2" "_f16_e5m2" E5m2 E5m2 F16),
    integer_rows!(32 ".s32.s8.s8" "_s32_s8" S8 S8 S32),
    integer_rows!(32 ".s32.s8.u8" "_s32_s8_u8" S8 U8 S32),
    integer_rows!(32 ".s32.u8.s8" "_s32_u8_s8" U8 S8 S32),
    integer_rows!(32 ".s32.u8.u8" "_s32_u8" U8 U8 S32),
];
