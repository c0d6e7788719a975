//! The approximate instructions: here the exact value computed in f64 and rounded once, so that it is off by half a unit in the
//! last place at most (plus the error of the host's f64 functions, which is below 2^-50).
//!
//! The hardware may differ from this by as much as the manual allows it: `ex2` 2 ulp, `rcp` and `sqrt` 1 ulp, `rsqrt` 2^-22.9
//! relative, `lg2` 2^-22 absolute in (0.5, 2) and relative elsewhere, `sin` and `cos` 2^-20.5 absolute in [-2 pi, 2 pi], `tanh`
//! 2^-11 relative, `div.approx` and `div.full` 2 ulp; of the half types `ex2` 2^-9.9 (f16) and 2^-7 (bf16), `tanh` 2^-10.987 and
//! 2^-8 absolute. Infinities, zeros, NaN, negative numbers and flushing are exact.

use super::Format;
use super::float::single::{result, source};
use super::float::{Bf16, F16, F32, mode};

/// A function of one f32 that is computed in f64.
#[inline(always)]
fn by_double<const MODE: u8>(a: u64, function: impl Fn(f64) -> f64) -> u64 {
    result::<MODE>(function(f64::from(source::<MODE>(a))) as f32)
}

/// `ex2.approx.f32`
pub fn exp2<const MODE: u8>(a: u64) -> u64 {
    by_double::<MODE>(a, f64::exp2)
}

/// `lg2.approx.f32`: -infinity for zeros, NaN below.
pub fn log2<const MODE: u8>(a: u64) -> u64 {
    by_double::<MODE>(a, f64::log2)
}

/// `sin.approx.f32`: NaN for infinities.
pub fn sin<const MODE: u8>(a: u64) -> u64 {
    by_double::<MODE>(a, f64::sin)
}

/// `cos.approx.f32`: NaN for infinities.
pub fn cos<const MODE: u8>(a: u64) -> u64 {
    by_double::<MODE>(a, f64::cos)
}

/// `tanh.approx.f32`
pub fn tanh(a: u64) -> u64 {
    by_double::<0>(a, f64::tanh)
}

/// `rsqrt.approx.f32`: infinity of the same sign for zeros.
pub fn rsqrt<const MODE: u8>(a: u64) -> u64 {
    by_double::<MODE>(a, |x| 1.0 / x.sqrt())
}

/// `rcp.approx.f32`
pub fn rcp<const MODE: u8>(a: u64) -> u64 {
    F32::rcp::<MODE>(a)
}

/// `sqrt.approx.f32`
pub fn sqrt<const MODE: u8>(a: u64) -> u64 {
    F32::sqrt::<MODE>(a)
}

/// `div.full.f32`
pub fn div_full<const MODE: u8>(a: u64, b: u64) -> u64 {
    F32::div::<MODE>(a, b)
}

/// `div.approx.f32`: zero for divisors beyond 2^126, and NaN where the dividend is infinite as well (PTX ISA, div).
pub fn div_approx<const MODE: u8>(a: u64, b: u64) -> u64 {
    let divisor = source::<MODE>(b);
    if divisor.is_finite() && divisor.abs() > 2f32.powi(126) {
        return result::<MODE>(source::<MODE>(a) * 0f32.copysign(divisor));
    }
    F32::div::<MODE>(a, b)
}

/// `rsqrt.approx.f64`
pub fn rsqrt_double(a: u64) -> u64 {
    quiet(a, |x| 1.0 / x.sqrt())
}

/// `rcp.approx.ftz.f64`: from the upper word of the source to the upper word of the result; the lower one is zero.
pub fn rcp_upper_word(a: u64) -> u64 {
    upper_word(a, |x| 1.0 / x)
}

/// `rsqrt.approx.ftz.f64`: from the upper word of the source to the upper word of the result; the lower one is zero.
pub fn rsqrt_upper_word(a: u64) -> u64 {
    upper_word(a, |x| 1.0 / x.sqrt())
}

const UPPER_WORD: u64 = 0xffff_ffff << 32;

fn upper_word(a: u64, function: impl Fn(f64) -> f64) -> u64 {
    Format::F64.flush(quiet(Format::F64.flush(a) & UPPER_WORD, function)) & UPPER_WORD
}

fn quiet(a: u64, function: impl Fn(f64) -> f64) -> u64 {
    let x = f64::from_bits(a);
    if x.is_nan() {
        return a | 1 << 51;
    }
    let y = function(x);
    if y.is_nan() { Format::F64.nan } else { y.to_bits() }
}

/// `ex2.approx.f16`
pub fn exp2_f16(a: u64) -> u64 {
    F16::result::<0>(F16::source::<0>(a).exp2())
}

/// `tanh.approx.f16`
pub fn tanh_f16(a: u64) -> u64 {
    F16::result::<0>(F16::source::<0>(a).tanh())
}

/// `ex2.approx.ftz.bf16`
pub fn exp2_bf16(a: u64) -> u64 {
    Bf16::result::<{ mode::FTZ }>(Bf16::source::<{ mode::FTZ }>(a).exp2())
}

/// `tanh.approx.bf16`
pub fn tanh_bf16(a: u64) -> u64 {
    Bf16::result::<0>(Bf16::source::<0>(a).tanh())
}
