//! How elements sit in registers while they are computed with.
//!
//! | element type | register | holds |
//! |---|---|---|
//! | bool | predicate | |
//! | i8, i16, i32 / u8, u16, u32 | 32 bits | the value, extended by sign or zeros |
//! | i64, u64 | 64 bits | the value |
//! | f64 | f64 | the value |
//! | every other float | f32 | a value of the element type, exactly |
//!
//! Narrow floats are computed in f32 and rounded to their own type after every op, because every value of the graph has
//! its rounding.

use crate::error::Fault;
use gable_ptx::meaning::{Clamp, Convert, Rounding};
use gable_ptx::{B32, Class, F32, KernelBuilder, Pred, R, Reg, ScalarType, Value};
use gable_tensor::{DType, Scalar};

/// The type that instructions on an element name.
pub fn compute_type(dtype: DType) -> Result<ScalarType, Fault> {
    Ok(match dtype {
        DType::Bool => ScalarType::Pred,
        DType::I8 | DType::I16 | DType::I32 => ScalarType::S32,
        DType::U8 | DType::U16 | DType::U32 => ScalarType::U32,
        DType::I64 => ScalarType::S64,
        DType::U64 => ScalarType::U64,
        DType::F64 => ScalarType::F64,
        DType::F32 | DType::Tf32 | DType::F16 | DType::BF16 | DType::E4M3 | DType::E5M2 => ScalarType::F32,
        DType::E2M1 | DType::E2M3 | DType::E3M2 | DType::UE8M0 => ScalarType::F32,
    })
}

/// A constant element. Predicates cannot be constants in instructions and come in a register.
pub fn constant(k: &mut KernelBuilder, dtype: DType, scalar: Scalar) -> Result<Value, Fault> {
    let ty = compute_type(dtype)?;
    let scalar = scalar.rounded(dtype);
    Ok(match ty {
        ScalarType::Pred => {
            let truth = i32::from(scalar.as_bool());
            k.setp_ne_u32(truth, 0).into()
        }
        ScalarType::F32 => (scalar.as_f64() as f32).into(),
        ScalarType::F64 => scalar.as_f64().into(),
        ScalarType::U64 => (scalar.as_i128() as u64).into(),
        _ => (scalar.as_i128() as i64).into(),
    })
}

/// The value in a register, which a constant is copied into.
pub fn register(k: &mut KernelBuilder, ty: ScalarType, value: Value) -> Result<Reg, Fault> {
    match (value, ty) {
        (Value::Reg(register), _) => Ok(register),
        (Value::Int(truth), ScalarType::Pred) => Ok(k.setp_ne_u32(truth as i32, 0).reg()),
        _ => Ok(k.copy(ty, value)?),
    }
}

/// The element as an f32 register.
pub fn f32_register(k: &mut KernelBuilder, value: Value) -> Result<R<F32>, Fault> {
    Ok(register(k, ScalarType::F32, value)?.typed().expect("floats under 64 bits are computed in f32"))
}

/// The element as a predicate.
pub fn predicate(k: &mut KernelBuilder, value: Value) -> Result<R<Pred>, Fault> {
    Ok(register(k, ScalarType::Pred, value)?.typed().expect("bool is computed in predicates"))
}

/// `a` where `cond` holds, else `b`.
pub fn select(k: &mut KernelBuilder, dtype: DType, cond: R<Pred>, a: Value, b: Value) -> Result<Value, Fault> {
    let ty = compute_type(dtype)?;
    if ty == ScalarType::Pred {
        let (a, b) = (predicate(k, a)?, predicate(k, b)?);
        let taken = k.and_pred(cond, a);
        let otherwise = k.not_pred(cond);
        let other = k.and_pred(otherwise, b);
        return Ok(k.or_pred(taken, other).into());
    }
    Ok(k.select(ty, a, b, cond)?.into())
}

/// An f32 rounded to nearest even to a float type of 32 bits or less, back in f32; 8-bit types saturate.
pub fn round_f32(k: &mut KernelBuilder, dtype: DType, value: Value) -> Result<Value, Fault> {
    if dtype == DType::F32 {
        return Ok(value);
    }
    let value = f32_register(k, value)?;
    Ok(match dtype {
        DType::BF16 => {
            // As the upper half of a pair it lies where an f32 has it; conversions of pairs run at four times the rate.
            let zero = k.mov_f32(0.0);
            let pair = k.cvt_bf16x2_f32(value, zero);
            k.f32_of_b32(pair).into()
        }
        DType::F16 => {
            let half = k.cvt_f16_f32(value);
            k.cvt_f32_f16(half).into()
        }
        DType::Tf32 => {
            let bits = k.cvt_rn_tf32_f32(value);
            k.f32_of_b32(bits).into()
        }
        DType::E4M3 | DType::E5M2 => {
            let byte = to_float8(k, dtype, value)?;
            from_float8(k, dtype, byte)?.into()
        }
        DType::UE8M0 => {
            let exponent = to_exponent(k, value);
            from_exponent(k, exponent).into()
        }
        DType::E2M1 => round_e2m1(k, value).into(),
        other => return Err(not_written(other)),
    })
}

/// The exponent of the nearest power of two of a magnitude, the larger of two as near, as ue8m0 has it.
fn to_exponent(k: &mut KernelBuilder, value: R<F32>) -> R<B32> {
    let bits = k.b32_of_f32(value);
    let size = k.and_b32(bits, 0x7fff_ffffu32);
    // Half of the fraction's range carries into the exponent. The smallest power is below f32's normal numbers.
    let carried = k.add_u32(size, 0x0040_0000u32);
    let nearest = k.shr_u32(carried, 23);
    let nearest = k.min_u32(nearest, 254);
    let smallest = k.setp_lt_u32(size, 0x0060_0000u32);
    let nearest = k.selp_b32(0, nearest, smallest);
    let nan = k.setp_gt_u32(size, 0x7f80_0000u32);
    k.selp_b32(255, nearest, nan)
}

/// The nearest of 0, 0.5, 1, 1.5, 2, 3, 4 and 6 with the sign, ties to even; NaN is 6.
fn round_e2m1(k: &mut KernelBuilder, value: R<F32>) -> R<F32> {
    let bits = k.b32_of_f32(value);
    let nan = k.setp_nan_f32(value, value);
    let sign = k.and_b32(bits, 0x8000_0000u32);
    let sign = k.selp_b32(0, sign, nan);
    let size = k.abs_f32(value);
    let size = k.min_f32(size, 6.0);
    // Where f32 has the steps of 0.5 below 2, of 1 below 4 and of 2 beyond, adding rounds to them.
    let (two, four) = (k.setp_ge_f32(size, 2.0), k.setp_ge_f32(size, 4.0));
    let coarse = k.selp_f32(2f32.powi(23), 2f32.powi(22), two);
    let coarse = k.selp_f32(2f32.powi(24), coarse, four);
    let sum = k.add_f32(size, coarse);
    let rounded = k.sub_f32(sum, coarse);
    let rounded = k.b32_of_f32(rounded);
    let signed = k.or_b32(rounded, sign);
    k.f32_of_b32(signed)
}

/// The bits of a value of e2m1 or ue8m0, in the low bits of a register.
pub fn to_small_float(k: &mut KernelBuilder, dtype: DType, value: R<F32>) -> Result<R<B32>, Fault> {
    Ok(match dtype {
        DType::UE8M0 => {
            let bits = k.b32_of_f32(value);
            k.shr_u32(bits, 23)
        }
        DType::E2M1 => {
            // With the exponent short by the difference of the biases, the code lies above the fraction's other bits.
            let small = k.mul_f32(value, 2f32.powi(1 - 127));
            let bits = k.b32_of_f32(small);
            let code = k.bfe_u32(bits, 22, 3);
            let sign = k.shr_u32(bits, 31);
            k.bfi_b32(sign, code, 3, 1)
        }
        other => return Err(not_written(other)),
    })
}

/// What is refused of types that no target converts to in general.
pub fn not_written(dtype: DType) -> Fault {
    Fault::unsupported("cast", format!("elements of type {dtype} are read, and written by tensor-core kernels only"))
}

/// An f32 as an 8-bit float in the low byte of a 16-bit register.
pub fn to_float8(k: &mut KernelBuilder, dtype: DType, value: R<F32>) -> Result<R<gable_ptx::B16>, Fault> {
    let zero = k.mov_f32(0.0);
    Ok(if dtype == DType::E4M3 { k.cvt_e4m3x2_f32(zero, value) } else { k.cvt_e5m2x2_f32(zero, value) })
}

/// An 8-bit float from the low byte of a 16-bit register.
pub fn from_float8(k: &mut KernelBuilder, dtype: DType, byte: R<gable_ptx::B16>) -> Result<R<F32>, Fault> {
    let pair = if dtype == DType::E4M3 { k.cvt_f16x2_e4m3x2(byte) } else { k.cvt_f16x2_e5m2x2(byte) };
    let [low, _high] = k.unpack_b32(pair);
    Ok(k.cvt_f32_f16(low))
}

/// A float of fewer than 8 bits, or a scale of exponents, from a register that is its bits.
pub fn from_small_float(k: &mut KernelBuilder, dtype: DType, bits: R<B32>) -> Result<R<F32>, Fault> {
    let (fraction, exponent, bias) = match dtype {
        DType::UE8M0 => return Ok(from_exponent(k, bits)),
        DType::E2M1 => (1, 2, 1),
        DType::E2M3 => (3, 2, 1),
        DType::E3M2 => (2, 3, 3),
        other => return Err(not_written(other)),
    };
    // With its fraction where f32 has it, the exponent is short by the difference of the biases, also below the normal
    // numbers.
    let magnitude = k.and_b32(bits, (1u32 << (fraction + exponent)) - 1);
    let magnitude = k.shl_b32(magnitude, 23 - fraction);
    let small = k.f32_of_b32(magnitude);
    let value = k.mul_f32(small, 2f32.powi(127 - bias));
    let sign = k.shr_u32(bits, fraction + exponent);
    let sign = k.shl_b32(sign, 31);
    let value = k.b32_of_f32(value);
    let value = k.or_b32(value, sign);
    Ok(k.f32_of_b32(value))
}

/// The exponent of f32, but for the smallest, which f32 has below its normal numbers, and for NaN.
fn from_exponent(k: &mut KernelBuilder, bits: R<B32>) -> R<F32> {
    let exponent = k.shl_b32(bits, 23);
    let smallest = k.setp_eq_u32(bits, 0);
    let value = k.selp_b32(0x0040_0000, exponent, smallest);
    let nan = k.setp_eq_u32(bits, 255);
    let value = k.selp_b32(0x7fff_ffff, value, nan);
    k.f32_of_b32(value)
}

/// A 32-bit integer cut to the width of `dtype` and extended again.
pub fn wrap(k: &mut KernelBuilder, dtype: DType, value: Value) -> Result<Value, Fault> {
    let (bits, signed): (u32, bool) = match dtype {
        DType::I8 => (8, true),
        DType::I16 => (16, true),
        DType::U8 => (8, false),
        DType::U16 => (16, false),
        _ => return Ok(value),
    };
    let register = register(k, ScalarType::S32, value)?.typed().expect("narrow integers are in 32-bit registers");
    Ok(if signed { k.bfe_s32(register, 0u32, bits).into() } else { k.and_b32(register, (1u32 << bits) - 1).into() })
}

/// Converts between compute types that a plain conversion joins.
pub fn convert(k: &mut KernelBuilder, to: ScalarType, from: ScalarType, value: Value) -> Result<Value, Fault> {
    if to == from {
        return Ok(value);
    }
    let value = register(k, from, value)?;
    // Integers of one width share their registers.
    if to.class() == from.class() && to.class() != Class::F32 && to.class() != Class::F64 {
        return Ok(value.into());
    }
    let rounding = match (to.is_float(), from.is_float()) {
        (true, true) if to == ScalarType::F64 => Rounding::Exact,
        (true, _) => Rounding::Nearest,
        (false, true) => Rounding::Zero,
        (false, false) => Rounding::Exact,
    };
    Ok(k.convert_with(Convert { to, from, rounding, clamp: Clamp::Off }, &[value])?.into())
}
