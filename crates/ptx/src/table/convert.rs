//! Conversions between types. A name reads `cvt_TO_FROM`; `rn` rounds to nearest even unless the name says otherwise.
//!
//! Float to integer clamps to the integer's range and turns NaN into 0. Integer to a narrower integer wraps, unless `sat`.
//! Bytes live in 32-bit registers, extended. A packed result takes its upper half first.

use super::columns::*;
use crate::meaning::{Clamp, Convert as Conversion, Meaning, Rounding};
use crate::scalar::ScalarType;
use crate::target::Feature;

/// `to` from `from`, with a rounding.
const fn to(to: ScalarType, from: ScalarType, rounding: Rounding) -> Meaning {
    clamped(to, from, rounding, Clamp::Off)
}

const fn clamped(to: ScalarType, from: ScalarType, rounding: Rounding, clamp: Clamp) -> Meaning {
    Convert(Conversion { to, from, rounding, clamp })
}

const EXACT: Rounding = Rounding::Exact;
const RN: Rounding = Rounding::Nearest;
const RZ: Rounding = Rounding::Zero;

super::forms! {
    // Between integers: widening extends, narrowing keeps the low bits.
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, BASE }
    cvt_u8_s8(B32 <- a: RegB32) = "cvt.u8.s8" => to(U8, S8, EXACT);
    cvt_u8_u16(B32 <- a: RegB16) = "cvt.u8.u16" => to(U8, U16, EXACT);
    cvt_u8_s16(B32 <- a: RegB16) = "cvt.u8.s16" => to(U8, S16, EXACT);
    cvt_u8_u32(B32 <- a: RegB32) = "cvt.u8.u32" => to(U8, U32, EXACT);
    cvt_u8_s32(B32 <- a: RegB32) = "cvt.u8.s32" => to(U8, S32, EXACT);
    cvt_u8_u64(B32 <- a: RegB64) = "cvt.u8.u64" => to(U8, U64, EXACT);
    cvt_u8_s64(B32 <- a: RegB64) = "cvt.u8.s64" => to(U8, S64, EXACT);
    cvt_s8_u8(B32 <- a: RegB32) = "cvt.s8.u8" => to(S8, U8, EXACT);
    cvt_s8_u16(B32 <- a: RegB16) = "cvt.s8.u16" => to(S8, U16, EXACT);
    cvt_s8_s16(B32 <- a: RegB16) = "cvt.s8.s16" => to(S8, S16, EXACT);
    cvt_s8_u32(B32 <- a: RegB32) = "cvt.s8.u32" => to(S8, U32, EXACT);
    cvt_s8_s32(B32 <- a: RegB32) = "cvt.s8.s32" => to(S8, S32, EXACT);
    cvt_s8_u64(B32 <- a: RegB64) = "cvt.s8.u64" => to(S8, U64, EXACT);
    cvt_s8_s64(B32 <- a: RegB64) = "cvt.s8.s64" => to(S8, S64, EXACT);
    cvt_u16_u8(B16 <- a: RegB32) = "cvt.u16.u8" => to(U16, U8, EXACT);
    cvt_u16_s8(B16 <- a: RegB32) = "cvt.u16.s8" => to(U16, S8, EXACT);
    cvt_u16_s16(B16 <- a: RegB16) = "cvt.u16.s16" => to(U16, S16, EXACT);
    cvt_u16_u32(B16 <- a: RegB32) = "cvt.u16.u32" => to(U16, U32, EXACT);
    cvt_u16_s32(B16 <- a: RegB32) = "cvt.u16.s32" => to(U16, S32, EXACT);
    cvt_u16_u64(B16 <- a: RegB64) = "cvt.u16.u64" => to(U16, U64, EXACT);
    cvt_u16_s64(B16 <- a: RegB64) = "cvt.u16.s64" => to(U16, S64, EXACT);
    cvt_s16_u8(B16 <- a: RegB32) = "cvt.s16.u8" => to(S16, U8, EXACT);
    cvt_s16_s8(B16 <- a: RegB32) = "cvt.s16.s8" => to(S16, S8, EXACT);
    cvt_s16_u16(B16 <- a: RegB16) = "cvt.s16.u16" => to(S16, U16, EXACT);
    cvt_s16_u32(B16 <- a: RegB32) = "cvt.s16.u32" => to(S16, U32, EXACT);
    cvt_s16_s32(B16 <- a: RegB32) = "cvt.s16.s32" => to(S16, S32, EXACT);
    cvt_s16_u64(B16 <- a: RegB64) = "cvt.s16.u64" => to(S16, U64, EXACT);
    cvt_s16_s64(B16 <- a: RegB64) = "cvt.s16.s64" => to(S16, S64, EXACT);
    cvt_u32_u8(B32 <- a: RegB32) = "cvt.u32.u8" => to(U32, U8, EXACT);
    cvt_u32_s8(B32 <- a: RegB32) = "cvt.u32.s8" => to(U32, S8, EXACT);
    cvt_u32_u16(B32 <- a: RegB16) = "cvt.u32.u16" => to(U32, U16, EXACT);
    cvt_u32_s16(B32 <- a: RegB16) = "cvt.u32.s16" => to(U32, S16, EXACT);
    cvt_u32_s32(B32 <- a: RegB32) = "cvt.u32.s32" => to(U32, S32, EXACT);
    cvt_u32_u64(B32 <- a: RegB64) = "cvt.u32.u64" => to(U32, U64, EXACT);
    cvt_u32_s64(B32 <- a: RegB64) = "cvt.u32.s64" => to(U32, S64, EXACT);
    cvt_s32_u8(B32 <- a: RegB32) = "cvt.s32.u8" => to(S32, U8, EXACT);
    cvt_s32_s8(B32 <- a: RegB32) = "cvt.s32.s8" => to(S32, S8, EXACT);
    cvt_s32_u16(B32 <- a: RegB16) = "cvt.s32.u16" => to(S32, U16, EXACT);
    cvt_s32_s16(B32 <- a: RegB16) = "cvt.s32.s16" => to(S32, S16, EXACT);
    cvt_s32_u32(B32 <- a: RegB32) = "cvt.s32.u32" => to(S32, U32, EXACT);
    cvt_s32_u64(B32 <- a: RegB64) = "cvt.s32.u64" => to(S32, U64, EXACT);
    cvt_s32_s64(B32 <- a: RegB64) = "cvt.s32.s64" => to(S32, S64, EXACT);
    cvt_u64_u8(B64 <- a: RegB32) = "cvt.u64.u8" => to(U64, U8, EXACT);
    cvt_u64_s8(B64 <- a: RegB32) = "cvt.u64.s8" => to(U64, S8, EXACT);
    cvt_u64_u16(B64 <- a: RegB16) = "cvt.u64.u16" => to(U64, U16, EXACT);
    cvt_u64_s16(B64 <- a: RegB16) = "cvt.u64.s16" => to(U64, S16, EXACT);
    cvt_u64_u32(B64 <- a: RegB32) = "cvt.u64.u32" => to(U64, U32, EXACT);
    cvt_u64_s32(B64 <- a: RegB32) = "cvt.u64.s32" => to(U64, S32, EXACT);
    cvt_u64_s64(B64 <- a: RegB64) = "cvt.u64.s64" => to(U64, S64, EXACT);
    cvt_s64_u8(B64 <- a: RegB32) = "cvt.s64.u8" => to(S64, U8, EXACT);
    cvt_s64_s8(B64 <- a: RegB32) = "cvt.s64.s8" => to(S64, S8, EXACT);
    cvt_s64_u16(B64 <- a: RegB16) = "cvt.s64.u16" => to(S64, U16, EXACT);
    cvt_s64_s16(B64 <- a: RegB16) = "cvt.s64.s16" => to(S64, S16, EXACT);
    cvt_s64_u32(B64 <- a: RegB32) = "cvt.s64.u32" => to(S64, U32, EXACT);
    cvt_s64_s32(B64 <- a: RegB32) = "cvt.s64.s32" => to(S64, S32, EXACT);
    cvt_s64_u64(B64 <- a: RegB64) = "cvt.s64.u64" => to(S64, U64, EXACT);

    // Between integers, clamped to the range of the result.
    { "data-movement-and-conversion-instructions-cvt", Sequence, Pure, BASE }
    cvt_sat_s8_s32(B32 <- a: RegB32) = "cvt.sat.s8.s32" => clamped(S8, S32, EXACT, Clamp::Saturate);
    cvt_sat_u8_s32(B32 <- a: RegB32) = "cvt.sat.u8.s32" => clamped(U8, S32, EXACT, Clamp::Saturate);
    cvt_sat_u8_u32(B32 <- a: RegB32) = "cvt.sat.u8.u32" => clamped(U8, U32, EXACT, Clamp::Saturate);
    cvt_sat_s16_s32(B16 <- a: RegB32) = "cvt.sat.s16.s32" => clamped(S16, S32, EXACT, Clamp::Saturate);
    cvt_sat_u16_s32(B16 <- a: RegB32) = "cvt.sat.u16.s32" => clamped(U16, S32, EXACT, Clamp::Saturate);
    cvt_sat_u16_u32(B16 <- a: RegB32) = "cvt.sat.u16.u32" => clamped(U16, U32, EXACT, Clamp::Saturate);
    cvt_sat_s32_s64(B32 <- a: RegB64) = "cvt.sat.s32.s64" => clamped(S32, S64, EXACT, Clamp::Saturate);
    cvt_sat_u32_s64(B32 <- a: RegB64) = "cvt.sat.u32.s64" => clamped(U32, S64, EXACT, Clamp::Saturate);
    cvt_sat_u32_u64(B32 <- a: RegB64) = "cvt.sat.u32.u64" => clamped(U32, U64, EXACT, Clamp::Saturate);

    // Between integers and f16.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, BASE }
    cvt_f16_u8(B16 <- a: RegB32) = "cvt.rn.f16.u8" => to(F16, U8, RN);
    cvt_f16_s8(B16 <- a: RegB32) = "cvt.rn.f16.s8" => to(F16, S8, RN);
    cvt_f16_u16(B16 <- a: RegB16) = "cvt.rn.f16.u16" => to(F16, U16, RN);
    cvt_f16_s16(B16 <- a: RegB16) = "cvt.rn.f16.s16" => to(F16, S16, RN);
    cvt_f16_u32(B16 <- a: RegB32) = "cvt.rn.f16.u32" => to(F16, U32, RN);
    cvt_f16_s32(B16 <- a: RegB32) = "cvt.rn.f16.s32" => to(F16, S32, RN);
    cvt_f16_u64(B16 <- a: RegB64) = "cvt.rn.f16.u64" => to(F16, U64, RN);
    cvt_f16_s64(B16 <- a: RegB64) = "cvt.rn.f16.s64" => to(F16, S64, RN);
    cvt_u8_f16(B32 <- a: RegB16) = "cvt.rzi.u8.f16" => to(U8, F16, RZ);
    cvt_s8_f16(B32 <- a: RegB16) = "cvt.rzi.s8.f16" => to(S8, F16, RZ);
    cvt_u16_f16(B16 <- a: RegB16) = "cvt.rzi.u16.f16" => to(U16, F16, RZ);
    cvt_s16_f16(B16 <- a: RegB16) = "cvt.rzi.s16.f16" => to(S16, F16, RZ);
    cvt_u32_f16(B32 <- a: RegB16) = "cvt.rzi.u32.f16" => to(U32, F16, RZ);
    cvt_s32_f16(B32 <- a: RegB16) = "cvt.rzi.s32.f16" => to(S32, F16, RZ);
    cvt_u64_f16(B64 <- a: RegB16) = "cvt.rzi.u64.f16" => to(U64, F16, RZ);
    cvt_s64_f16(B64 <- a: RegB16) = "cvt.rzi.s64.f16" => to(S64, F16, RZ);
    cvt_rni_s8_f16(B32 <- a: RegB16) = "cvt.rni.s8.f16" => to(S8, F16, RN);
    cvt_rni_u8_f16(B32 <- a: RegB16) = "cvt.rni.u8.f16" => to(U8, F16, RN);
    cvt_rni_s32_f16(B32 <- a: RegB16) = "cvt.rni.s32.f16" => to(S32, F16, RN);
    cvt_rni_s64_f16(B64 <- a: RegB16) = "cvt.rni.s64.f16" => to(S64, F16, RN);

    // Between integers and f32.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, BASE }
    cvt_f32_u8(F32 <- a: RegB32) = "cvt.rn.f32.u8" => to(F32, U8, RN);
    cvt_f32_s8(F32 <- a: RegB32) = "cvt.rn.f32.s8" => to(F32, S8, RN);
    cvt_f32_u16(F32 <- a: RegB16) = "cvt.rn.f32.u16" => to(F32, U16, RN);
    cvt_f32_s16(F32 <- a: RegB16) = "cvt.rn.f32.s16" => to(F32, S16, RN);
    cvt_f32_u32(F32 <- a: RegB32) = "cvt.rn.f32.u32" => to(F32, U32, RN);
    cvt_f32_s32(F32 <- a: RegB32) = "cvt.rn.f32.s32" => to(F32, S32, RN);
    cvt_f32_u64(F32 <- a: RegB64) = "cvt.rn.f32.u64" => to(F32, U64, RN);
    cvt_f32_s64(F32 <- a: RegB64) = "cvt.rn.f32.s64" => to(F32, S64, RN);
    cvt_u8_f32(B32 <- a: RegF32) = "cvt.rzi.u8.f32" => to(U8, F32, RZ);
    cvt_s8_f32(B32 <- a: RegF32) = "cvt.rzi.s8.f32" => to(S8, F32, RZ);
    cvt_u16_f32(B16 <- a: RegF32) = "cvt.rzi.u16.f32" => to(U16, F32, RZ);
    cvt_s16_f32(B16 <- a: RegF32) = "cvt.rzi.s16.f32" => to(S16, F32, RZ);
    cvt_u32_f32(B32 <- a: RegF32) = "cvt.rzi.u32.f32" => to(U32, F32, RZ);
    cvt_s32_f32(B32 <- a: RegF32) = "cvt.rzi.s32.f32" => to(S32, F32, RZ);
    cvt_u64_f32(B64 <- a: RegF32) = "cvt.rzi.u64.f32" => to(U64, F32, RZ);
    cvt_s64_f32(B64 <- a: RegF32) = "cvt.rzi.s64.f32" => to(S64, F32, RZ);
    cvt_rni_s8_f32(B32 <- a: RegF32) = "cvt.rni.s8.f32" => to(S8, F32, RN);
    cvt_rni_u8_f32(B32 <- a: RegF32) = "cvt.rni.u8.f32" => to(U8, F32, RN);
    cvt_rni_s32_f32(B32 <- a: RegF32) = "cvt.rni.s32.f32" => to(S32, F32, RN);
    cvt_rni_s64_f32(B64 <- a: RegF32) = "cvt.rni.s64.f32" => to(S64, F32, RN);

    // Between integers and f64.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, BASE }
    cvt_f64_u8(F64 <- a: RegB32) = "cvt.rn.f64.u8" => to(F64, U8, RN);
    cvt_f64_s8(F64 <- a: RegB32) = "cvt.rn.f64.s8" => to(F64, S8, RN);
    cvt_f64_u16(F64 <- a: RegB16) = "cvt.rn.f64.u16" => to(F64, U16, RN);
    cvt_f64_s16(F64 <- a: RegB16) = "cvt.rn.f64.s16" => to(F64, S16, RN);
    cvt_f64_u32(F64 <- a: RegB32) = "cvt.rn.f64.u32" => to(F64, U32, RN);
    cvt_f64_s32(F64 <- a: RegB32) = "cvt.rn.f64.s32" => to(F64, S32, RN);
    cvt_f64_u64(F64 <- a: RegB64) = "cvt.rn.f64.u64" => to(F64, U64, RN);
    cvt_f64_s64(F64 <- a: RegB64) = "cvt.rn.f64.s64" => to(F64, S64, RN);
    cvt_u8_f64(B32 <- a: RegF64) = "cvt.rzi.u8.f64" => to(U8, F64, RZ);
    cvt_s8_f64(B32 <- a: RegF64) = "cvt.rzi.s8.f64" => to(S8, F64, RZ);
    cvt_u16_f64(B16 <- a: RegF64) = "cvt.rzi.u16.f64" => to(U16, F64, RZ);
    cvt_s16_f64(B16 <- a: RegF64) = "cvt.rzi.s16.f64" => to(S16, F64, RZ);
    cvt_u32_f64(B32 <- a: RegF64) = "cvt.rzi.u32.f64" => to(U32, F64, RZ);
    cvt_s32_f64(B32 <- a: RegF64) = "cvt.rzi.s32.f64" => to(S32, F64, RZ);
    cvt_u64_f64(B64 <- a: RegF64) = "cvt.rzi.u64.f64" => to(U64, F64, RZ);
    cvt_s64_f64(B64 <- a: RegF64) = "cvt.rzi.s64.f64" => to(S64, F64, RZ);
    cvt_rni_s8_f64(B32 <- a: RegF64) = "cvt.rni.s8.f64" => to(S8, F64, RN);
    cvt_rni_u8_f64(B32 <- a: RegF64) = "cvt.rni.u8.f64" => to(U8, F64, RN);
    cvt_rni_s32_f64(B32 <- a: RegF64) = "cvt.rni.s32.f64" => to(S32, F64, RN);
    cvt_rni_s64_f64(B64 <- a: RegF64) = "cvt.rni.s64.f64" => to(S64, F64, RN);

    // Between integers and bf16. `ptxas` has none for bytes: go through f32, which is exact.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, from(90, 7, 8) }
    cvt_bf16_u16(B16 <- a: RegB16) = "cvt.rn.bf16.u16" => to(Bf16, U16, RN);
    cvt_bf16_s16(B16 <- a: RegB16) = "cvt.rn.bf16.s16" => to(Bf16, S16, RN);
    cvt_bf16_u32(B16 <- a: RegB32) = "cvt.rn.bf16.u32" => to(Bf16, U32, RN);
    cvt_bf16_s32(B16 <- a: RegB32) = "cvt.rn.bf16.s32" => to(Bf16, S32, RN);
    cvt_bf16_u64(B16 <- a: RegB64) = "cvt.rn.bf16.u64" => to(Bf16, U64, RN);
    cvt_bf16_s64(B16 <- a: RegB64) = "cvt.rn.bf16.s64" => to(Bf16, S64, RN);
    cvt_u16_bf16(B16 <- a: RegB16) = "cvt.rzi.u16.bf16" => to(U16, Bf16, RZ);
    cvt_s16_bf16(B16 <- a: RegB16) = "cvt.rzi.s16.bf16" => to(S16, Bf16, RZ);
    cvt_u32_bf16(B32 <- a: RegB16) = "cvt.rzi.u32.bf16" => to(U32, Bf16, RZ);
    cvt_s32_bf16(B32 <- a: RegB16) = "cvt.rzi.s32.bf16" => to(S32, Bf16, RZ);
    cvt_u64_bf16(B64 <- a: RegB16) = "cvt.rzi.u64.bf16" => to(U64, Bf16, RZ);
    cvt_s64_bf16(B64 <- a: RegB16) = "cvt.rzi.s64.bf16" => to(S64, Bf16, RZ);

    // Between floats.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, BASE }
    cvt_f32_f16(F32 <- a: RegB16) = "cvt.f32.f16" => to(F32, F16, EXACT);
    cvt_f16_f32(B16 <- a: RegF32) = "cvt.rn.f16.f32" => to(F16, F32, RN);
    cvt_rz_f16_f32(B16 <- a: RegF32) = "cvt.rz.f16.f32" => to(F16, F32, RZ);
    cvt_f64_f32(F64 <- a: RegF32) = "cvt.f64.f32" => to(F64, F32, EXACT);
    cvt_f32_f64(F32 <- a: RegF64) = "cvt.rn.f32.f64" => to(F32, F64, RN);
    cvt_f64_f16(F64 <- a: RegB16) = "cvt.f64.f16" => to(F64, F16, EXACT);
    cvt_f16_f64(B16 <- a: RegF64) = "cvt.rn.f16.f64" => to(F16, F64, RN);
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(80, 7, 0) }
    cvt_bf16_f32(B16 <- a: RegF32) = "cvt.rn.bf16.f32" => to(Bf16, F32, RN);
    cvt_rz_bf16_f32(B16 <- a: RegF32) = "cvt.rz.bf16.f32" => to(Bf16, F32, RZ);
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(80, 7, 1) }
    cvt_f32_bf16(F32 <- a: RegB16) = "cvt.f32.bf16" => to(F32, Bf16, EXACT);
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(90, 7, 8) }
    cvt_f64_bf16(F64 <- a: RegB16) = "cvt.f64.bf16" => to(F64, Bf16, EXACT);
    cvt_bf16_f64(B16 <- a: RegF64) = "cvt.rn.bf16.f64" => to(Bf16, F64, RN);
    cvt_bf16_f16(B16 <- a: RegB16) = "cvt.rn.bf16.f16" => to(Bf16, F16, RN);
    cvt_f16_bf16(B16 <- a: RegB16) = "cvt.rn.f16.bf16" => to(F16, Bf16, RN);

    // Two f32 into one packed register: `high` is the upper half.
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(80, 7, 0) }
    cvt_f16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.f16x2.f32" => to(F16x2, F32, RN);
    cvt_bf16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.bf16x2.f32" => to(Bf16x2, F32, RN);
    cvt_relu_f16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.relu.f16x2.f32" => clamped(F16x2, F32, RN, Clamp::Relu);
    cvt_relu_bf16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.relu.bf16x2.f32" => clamped(Bf16x2, F32, RN, Clamp::Relu);
    cvt_tf32_f32(B32 <- a: RegF32) = "cvt.rna.tf32.f32" => to(Tf32, F32, Rounding::NearestAway);

    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(80, 8, 1) }
    cvt_satfinite_f16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.f16x2.f32" => clamped(F16x2, F32, RN, Clamp::Finite);
    cvt_satfinite_bf16x2_f32(B32 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.bf16x2.f32" => clamped(Bf16x2, F32, RN, Clamp::Finite);

    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(90, 7, 8) }
    cvt_rn_tf32_f32(B32 <- a: RegF32) = "cvt.rn.tf32.f32" => to(Tf32, F32, RN);

    // 8-bit floats, in pairs.
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, from(90, 7, 8) }
    cvt_e4m3x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.e4m3x2.f32" => clamped(E4m3x2, F32, RN, Clamp::Finite);
    cvt_e5m2x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.e5m2x2.f32" => clamped(E5m2x2, F32, RN, Clamp::Finite);
    cvt_relu_e4m3x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.relu.e4m3x2.f32" => clamped(E4m3x2, F32, RN, Clamp::FiniteRelu);
    cvt_relu_e5m2x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.relu.e5m2x2.f32" => clamped(E5m2x2, F32, RN, Clamp::FiniteRelu);
    cvt_e4m3x2_f16x2(B16 <- a: RegB32) = "cvt.rn.satfinite.e4m3x2.f16x2" => clamped(E4m3x2, F16x2, RN, Clamp::Finite);
    cvt_e5m2x2_f16x2(B16 <- a: RegB32) = "cvt.rn.satfinite.e5m2x2.f16x2" => clamped(E5m2x2, F16x2, RN, Clamp::Finite);
    cvt_f16x2_e4m3x2(B32 <- a: RegB16) = "cvt.rn.f16x2.e4m3x2" => to(F16x2, E4m3x2, RN);
    cvt_f16x2_e5m2x2(B32 <- a: RegB16) = "cvt.rn.f16x2.e5m2x2" => to(F16x2, E5m2x2, RN);

    // 6-bit floats and scales, in pairs.
    { "data-movement-and-conversion-instructions-cvt", Alu, Pure, with(Feature::NarrowFloatConvert, 8, 6) }
    cvt_e2m3x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.e2m3x2.f32" => clamped(E2m3x2, F32, RN, Clamp::Finite);
    cvt_e3m2x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.e3m2x2.f32" => clamped(E3m2x2, F32, RN, Clamp::Finite);
    cvt_f16x2_e2m3x2(B32 <- a: RegB16) = "cvt.rn.f16x2.e2m3x2" => to(F16x2, E2m3x2, RN);
    cvt_f16x2_e3m2x2(B32 <- a: RegB16) = "cvt.rn.f16x2.e3m2x2" => to(F16x2, E3m2x2, RN);
    cvt_rz_ue8m0x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rz.satfinite.ue8m0x2.f32" => clamped(Ue8m0x2, F32, RZ, Clamp::Finite);
    cvt_rp_ue8m0x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rp.satfinite.ue8m0x2.f32" => clamped(Ue8m0x2, F32, Rounding::Up, Clamp::Finite);
    cvt_e2m1x2_f32(B8 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.e2m1x2.f32" => clamped(E2m1x2, F32, RN, Clamp::Finite);
    cvt_relu_e2m1x2_f32(B8 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.relu.e2m1x2.f32" => clamped(E2m1x2, F32, RN, Clamp::FiniteRelu);
    cvt_relu_e2m3x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.relu.e2m3x2.f32" => clamped(E2m3x2, F32, RN, Clamp::FiniteRelu);
    cvt_relu_e3m2x2_f32(B16 <- high: RegF32, low: RegF32) = "cvt.rn.satfinite.relu.e3m2x2.f32" => clamped(E3m2x2, F32, RN, Clamp::FiniteRelu);
    cvt_f16x2_e2m1x2(B32 <- a: RegB8) = "cvt.rn.f16x2.e2m1x2" => to(F16x2, E2m1x2, RN);
    cvt_rz_ue8m0x2_bf16x2(B16 <- a: RegB32) = "cvt.rz.satfinite.ue8m0x2.bf16x2" => clamped(Ue8m0x2, Bf16x2, RZ, Clamp::Finite);
    cvt_rp_ue8m0x2_bf16x2(B16 <- a: RegB32) = "cvt.rp.satfinite.ue8m0x2.bf16x2" => clamped(Ue8m0x2, Bf16x2, Rounding::Up, Clamp::Finite);
    cvt_bf16x2_ue8m0x2(B32 <- a: RegB16) = "cvt.rn.bf16x2.ue8m0x2" => to(Bf16x2, Ue8m0x2, RN);

    // Rounded up or down by random bits. Of four values the first goes to the highest bits.
    { "data-movement-and-conversion-instructions-cvt", Special, Pure, with(Feature::StochasticRounding, 8, 7) }
    cvt_rs_f16x2_f32(B32 <- high: RegF32, low: RegF32, random: RegB32) = "cvt.rs.f16x2.f32" => to(F16x2, F32, Rounding::Stochastic);
    cvt_rs_bf16x2_f32(B32 <- high: RegF32, low: RegF32, random: RegB32) = "cvt.rs.bf16x2.f32" => to(Bf16x2, F32, Rounding::Stochastic);
    cvt_rs_e4m3x4_f32(B32 <- values: RegF32x4, random: RegB32) = "cvt.rs.satfinite.e4m3x4.f32" => clamped(E4m3x4, F32, Rounding::Stochastic, Clamp::Finite);
    cvt_rs_e5m2x4_f32(B32 <- values: RegF32x4, random: RegB32) = "cvt.rs.satfinite.e5m2x4.f32" => clamped(E5m2x4, F32, Rounding::Stochastic, Clamp::Finite);
    cvt_rs_e2m3x4_f32(B32 <- values: RegF32x4, random: RegB32) = "cvt.rs.satfinite.e2m3x4.f32" => clamped(E2m3x4, F32, Rounding::Stochastic, Clamp::Finite);
    cvt_rs_e3m2x4_f32(B32 <- values: RegF32x4, random: RegB32) = "cvt.rs.satfinite.e3m2x4.f32" => clamped(E3m2x4, F32, Rounding::Stochastic, Clamp::Finite);
    cvt_rs_e2m1x4_f32(B16 <- values: RegF32x4, random: RegB32) = "cvt.rs.satfinite.e2m1x4.f32" => clamped(E2m1x4, F32, Rounding::Stochastic, Clamp::Finite);
}
