//! f32: native where it rounds to nearest, through f64 where it does not.

use super::{Float, choices, mode, sum_for};
use crate::numbers::Format;

/// Single precision.
pub struct F32;

/// The f32 of some bits, flushed where the mode says so.
#[inline(always)]
pub(crate) fn source<const MODE: u8>(bits: u64) -> f32 {
    let bits = if mode::has(MODE, mode::FTZ) { Format::F32.flush(bits & 0xffff_ffff) } else { bits };
    f32::from_bits(bits as u32)
}

/// The bits of a result: one NaN, flushed and clamped where the mode says so.
#[inline(always)]
pub(crate) fn result<const MODE: u8>(x: f32) -> u64 {
    let bits = u64::from(x.to_bits());
    let bits = if mode::has(MODE, mode::FTZ) { Format::F32.flush(bits) } else { bits };
    if mode::has(MODE, mode::SAT) {
        // NaN, negative numbers and both zeros fail the comparison; the zero is positive, as measured on an H200.
        return if x > 0.0 { bits.min(0x3f80_0000) } else { 0 };
    }
    if x.is_nan() { Format::F32.nan } else { bits }
}

/// Rounds an f64 that is exact or was rounded to odd.
#[inline(always)]
pub fn round_to_f32<const MODE: u8>(x: f64) -> f32 {
    let nearest = x as f32;
    let down_in_magnitude = f64::from(nearest).abs() > x.abs();
    let up_in_magnitude = f64::from(nearest).abs() < x.abs();
    let bits = nearest.to_bits();
    let step = match MODE & 3 {
        mode::RZ => -i32::from(down_in_magnitude),
        mode::RM if x < 0.0 => i32::from(up_in_magnitude),
        mode::RP if x > 0.0 => i32::from(up_in_magnitude),
        mode::RM | mode::RP => -i32::from(down_in_magnitude),
        _ => 0,
    };
    f32::from_bits(bits.wrapping_add_signed(step))
}

impl F32 {
    /// `a / b`
    #[inline(always)]
    pub fn div<const MODE: u8>(a: u64, b: u64) -> u64 {
        let (a, b) = (source::<MODE>(a), source::<MODE>(b));
        match MODE & 3 {
            mode::RN => result::<MODE>(a / b),
            _ => result::<MODE>(round_to_f32::<MODE>(f64::from(a) / f64::from(b))),
        }
    }

    /// `1 / a`
    #[inline(always)]
    pub fn rcp<const MODE: u8>(a: u64) -> u64 {
        Self::div::<MODE>(u64::from(1f32.to_bits()), a)
    }

    /// The square root.
    #[inline(always)]
    pub fn sqrt<const MODE: u8>(a: u64) -> u64 {
        let a = source::<MODE>(a);
        match MODE & 3 {
            mode::RN => result::<MODE>(a.sqrt()),
            _ => result::<MODE>(round_to_f32::<MODE>(f64::from(a).sqrt())),
        }
    }

    /// `a * b + c` of f64 that hold numbers of at most 24 digits in the range of f32, rounded once to f32.
    #[inline(always)]
    pub(crate) fn fma_wide<const MODE: u8>(a: f64, b: f64, c: f64) -> u64 {
        // The product of two numbers of 24 digits has 48: exact.
        result::<MODE>(round_to_f32::<MODE>(sum_for::<MODE>(a * b, c)))
    }

    /// `a + b` of f64 that hold numbers in the range of f32, rounded once to f32.
    #[inline(always)]
    pub(crate) fn add_wide<const MODE: u8>(a: f64, b: f64) -> u64 {
        result::<MODE>(round_to_f32::<MODE>(sum_for::<MODE>(a, b)))
    }
}

impl Float for F32 {
    const BITS: u32 = 32;
    const ELEMENT_BITS: u32 = 32;

    #[inline(always)]
    fn add<const MODE: u8>(a: u64, b: u64) -> u64 {
        let (a, b) = (source::<MODE>(a), source::<MODE>(b));
        match MODE & 3 {
            mode::RN => result::<MODE>(a + b),
            _ => Self::add_wide::<MODE>(f64::from(a), f64::from(b)),
        }
    }

    #[inline(always)]
    fn sub<const MODE: u8>(a: u64, b: u64) -> u64 {
        Self::add::<MODE>(a, b ^ 1 << 31)
    }

    #[inline(always)]
    fn mul<const MODE: u8>(a: u64, b: u64) -> u64 {
        let (a, b) = (source::<MODE>(a), source::<MODE>(b));
        match MODE & 3 {
            mode::RN => result::<MODE>(a * b),
            _ => result::<MODE>(round_to_f32::<MODE>(f64::from(a) * f64::from(b))),
        }
    }

    #[inline(always)]
    fn fma<const MODE: u8>(a: u64, b: u64, c: u64) -> u64 {
        let (a, b, c) = (source::<MODE>(a), source::<MODE>(b), source::<MODE>(c));
        Self::fma_wide::<MODE>(f64::from(a), f64::from(b), f64::from(c))
    }

    choices!(Format::F32);
}
