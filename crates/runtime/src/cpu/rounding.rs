//! Rounding of computed values to the element type of the result.
//!
//! Elements are computed in the class of their type (see [`super::data`]) and rounded once after each op: floats to
//! nearest even, integers wrap, as [`Scalar::store`](gable_tensor::Scalar::store) does.

use super::data::{Class, Lane};
use super::parallel;
use gable_tensor::{DType, Scalar, small_float};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// A type whose values can be rounded to the element types of its class.
pub(super) trait Round: Lane {
    /// Rounds to `dtype`, which is of this class.
    fn round_to(dtype: DType, values: &mut [Self]);
}

/// Elements converted at once: two stack buffers of this size stay in the first-level cache.
const CHUNK: usize = 512;

impl Round for f32 {
    fn round_to(dtype: DType, values: &mut [f32]) {
        match dtype {
            DType::F32 => {}
            DType::F16 => {
                let mut narrow = [f16::ZERO; CHUNK];
                for chunk in values.chunks_mut(CHUNK) {
                    let narrow = &mut narrow[..chunk.len()];
                    narrow.convert_from_f32_slice(chunk);
                    narrow.convert_to_f32_slice(chunk);
                }
            }
            DType::BF16 => values.iter_mut().for_each(|x| *x = round_bf16(*x)),
            DType::Tf32 => values.iter_mut().for_each(|x| *x = small_float::tf32_round(*x)),
            small => values.iter_mut().for_each(|x| {
                *x = small_float::decode(small, small_float::encode(small, f64::from(*x))) as f32;
            }),
        }
    }
}

/// To the upper 16 bits, to nearest even; NaN stays NaN.
fn round_bf16(x: f32) -> f32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + (bits >> 16 & 1)) & 0xFFFF_0000;
    f32::from_bits(if x.is_nan() { bits | 0x0040_0000 } else { rounded })
}

impl Round for f64 {
    fn round_to(_dtype: DType, _values: &mut [f64]) {}
}

impl Round for i64 {
    fn round_to(dtype: DType, values: &mut [i64]) {
        macro_rules! wrap {
            ($t:ty) => {
                values.iter_mut().for_each(|x| *x = i64::from(*x as $t))
            };
        }
        match dtype {
            DType::I8 => wrap!(i8),
            DType::I16 => wrap!(i16),
            DType::I32 => wrap!(i32),
            DType::U8 => wrap!(u8),
            DType::U16 => wrap!(u16),
            DType::U32 => wrap!(u32),
            _ => {}
        }
    }
}

impl Round for u64 {
    fn round_to(_dtype: DType, _values: &mut [u64]) {}
}

impl Round for bool {
    fn round_to(_dtype: DType, _values: &mut [bool]) {}
}

/// Whether values of `dtype`'s class need rounding at all.
pub(super) fn rounds(dtype: DType) -> bool {
    !matches!(dtype, DType::F32 | DType::F64 | DType::I64 | DType::U64 | DType::Bool)
}

/// Rounds a whole result.
pub(super) fn round_all<T: Round>(dtype: DType, values: &mut [T]) {
    if rounds(dtype) {
        parallel::for_each_chunk(values, 1, 1, |_, chunk| T::round_to(dtype, chunk));
    }
}

/// A conversion from `f64` to a type held as `f32`, rounding once.
pub(super) fn narrow(dtype: DType) -> fn(f64) -> f32 {
    match dtype {
        DType::F32 => |x| x as f32,
        DType::F16 => |x| f16::from_f64(x).to_f32(),
        DType::BF16 => |x| bf16::from_f64(x).to_f32(),
        DType::Tf32 => |x| small_float::tf32_round(x as f32),
        DType::E4M3 => |x| Scalar::F(x).rounded(DType::E4M3).as_f64() as f32,
        DType::E5M2 => |x| Scalar::F(x).rounded(DType::E5M2).as_f64() as f32,
        DType::E2M1 => |x| Scalar::F(x).rounded(DType::E2M1).as_f64() as f32,
        DType::E2M3 => |x| Scalar::F(x).rounded(DType::E2M3).as_f64() as f32,
        DType::E3M2 => |x| Scalar::F(x).rounded(DType::E3M2).as_f64() as f32,
        DType::UE8M0 => |x| Scalar::F(x).rounded(DType::UE8M0).as_f64() as f32,
        other => unreachable!("{other} is not held as f32"),
    }
}

/// Whether every value of `from` is a value of `to` held in the same way, so that the cast changes nothing.
pub(super) fn is_exact(from: DType, to: DType) -> bool {
    if Class::of(from) != Class::of(to) {
        return false;
    }
    let wider = |dtype: DType| match dtype {
        // Significant bits, least exponent of a subnormal, greatest exponent.
        DType::F32 => (24, -149, 127),
        DType::Tf32 => (11, -149 + 13, 127),
        DType::F16 => (11, -24, 15),
        DType::BF16 => (8, -133, 127),
        DType::E4M3 => (4, -9, 8),
        DType::E5M2 => (3, -16, 15),
        DType::E2M1 => (2, -1, 2),
        DType::E2M3 => (4, -3, 2),
        DType::E3M2 => (3, -4, 4),
        DType::UE8M0 => (1, -127, 127),
        other => unreachable!("{other} is not held as f32"),
    };
    match (from.int_range(), to.int_range()) {
        // A cast saturates e5m2's infinity.
        _ if from == to => to != DType::E5M2,
        (Some((from_low, from_high)), Some((low, high))) => low <= from_low && from_high <= high,
        // 8-, 6- and 4-bit types lack infinities and differ in how they write NaN: only wider types take them as is.
        _ if to.bits() < 16 || (from.bits() >= to.bits() && to != DType::F32) => false,
        _ => {
            let (from, to) = (wider(from), wider(to));
            from.0 <= to.0 && from.1 >= to.1 && from.2 <= to.2
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_agrees_with_storing() {
        let mut random = gable_tensor::random::Random::new(1);
        let mut values: Vec<f32> = (0..4000).map(|_| f32::from_bits(random.next_u64() as u32)).collect();
        values.extend([0.0, -0.0, f32::INFINITY, f32::NAN, 65504.0, 65519.9, 65520.0, 1.0 + 1.0 / 256.0, 448.0, 1e-8]);
        for &dtype in DType::ALL.iter().filter(|&&dtype| Class::of(dtype) == Class::F32) {
            let mut rounded = values.clone();
            f32::round_to(dtype, &mut rounded);
            for (&x, &found) in values.iter().zip(&rounded) {
                let expected = Scalar::F(x.into()).rounded(dtype).as_f64() as f32;
                assert!(found == expected || (found.is_nan() && expected.is_nan()), "{dtype} {x}: {found} {expected}");
                assert!(!is_exact(DType::F32, dtype) || dtype == DType::F32);
            }
        }
    }

    #[test]
    fn exact_casts_are_the_ones_that_keep_every_value() {
        // Exhaustive over the codes of every type of up to 16 bits.
        for &from in DType::ALL.iter().filter(|dtype| dtype.bits() <= 16) {
            for &to in DType::ALL.iter().filter(|&&to| Class::of(to) == Class::of(from)) {
                let kept = (0..=u16::MAX >> (16 - from.bits())).all(|code| {
                    let value = Scalar::load(from, &code.to_le_bytes());
                    let cast = gable_ir::ops::scalar_map(&gable_ir::ops::Cast { to }.into(), from, &[value]);
                    let cast = cast.expect("cast is a map").rounded(to);
                    value == cast || (value.as_f64().is_nan() && cast.as_f64().is_nan())
                });
                assert!(kept || !is_exact(from, to), "{from} to {to}");
            }
        }
        assert!(is_exact(DType::F16, DType::F32) && is_exact(DType::I32, DType::I64));
        assert!(is_exact(DType::BF16, DType::F32) && is_exact(DType::E4M3, DType::F16));
        assert!(!is_exact(DType::BF16, DType::F16) && !is_exact(DType::I8, DType::U8));
    }
}
