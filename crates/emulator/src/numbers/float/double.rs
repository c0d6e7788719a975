//! f64: native where it rounds to nearest, exact integers where it does not.

use super::{Float, choices, mode};
use crate::numbers::Format;
use crate::numbers::exact::{self, Overflow, Value};

/// Double precision.
///
/// The NaN of a result whose source is NaN is the first source that is NaN, made quiet; an operation that is invalid by itself gives
/// the NaN of the format. Measured on an H200.
pub struct F64;

/// The result where a source is NaN, else what `otherwise` gives, with one NaN.
#[inline(always)]
fn with_nan(sources: &[u64], otherwise: impl FnOnce() -> u64) -> u64 {
    for &source in sources {
        if f64::from_bits(source).is_nan() {
            return Format::F64.quiet(source);
        }
    }
    let bits = otherwise();
    if f64::from_bits(bits).is_nan() { Format::F64.nan } else { bits }
}

fn exactly<const MODE: u8>(value: Value) -> u64 {
    Format::F64.encode(value, mode::rounding(MODE), Overflow::Infinity)
}

fn decode(bits: u64) -> Value {
    Format::F64.decode(bits)
}

impl F64 {
    /// `a / b`
    #[inline(always)]
    pub fn div<const MODE: u8>(a: u64, b: u64) -> u64 {
        with_nan(&[a, b], || match MODE & 3 {
            mode::RN => (f64::from_bits(a) / f64::from_bits(b)).to_bits(),
            _ => exactly::<MODE>(exact::divide(decode(a), decode(b))),
        })
    }

    /// `1 / a`
    #[inline(always)]
    pub fn rcp<const MODE: u8>(a: u64) -> u64 {
        Self::div::<MODE>(1f64.to_bits(), a)
    }

    /// The square root.
    #[inline(always)]
    pub fn sqrt<const MODE: u8>(a: u64) -> u64 {
        with_nan(&[a], || match MODE & 3 {
            mode::RN => f64::from_bits(a).sqrt().to_bits(),
            _ => exactly::<MODE>(exact::square_root(decode(a))),
        })
    }
}

impl Float for F64 {
    const BITS: u32 = 64;
    const ELEMENT_BITS: u32 = 64;

    #[inline(always)]
    fn add<const MODE: u8>(a: u64, b: u64) -> u64 {
        with_nan(&[a, b], || match MODE & 3 {
            mode::RN => (f64::from_bits(a) + f64::from_bits(b)).to_bits(),
            _ => exactly::<MODE>(exact::add(decode(a), decode(b), mode::rounding(MODE))),
        })
    }

    #[inline(always)]
    fn sub<const MODE: u8>(a: u64, b: u64) -> u64 {
        // A NaN keeps its sign: the minus belongs to the operation.
        let b = if f64::from_bits(b).is_nan() { b } else { b ^ 1 << 63 };
        Self::add::<MODE>(a, b)
    }

    #[inline(always)]
    fn mul<const MODE: u8>(a: u64, b: u64) -> u64 {
        with_nan(&[a, b], || match MODE & 3 {
            mode::RN => (f64::from_bits(a) * f64::from_bits(b)).to_bits(),
            _ => exactly::<MODE>(exact::multiply(decode(a), decode(b))),
        })
    }

    #[inline(always)]
    fn fma<const MODE: u8>(a: u64, b: u64, c: u64) -> u64 {
        with_nan(&[a, b, c], || match MODE & 3 {
            mode::RN => f64::from_bits(a).mul_add(f64::from_bits(b), f64::from_bits(c)).to_bits(),
            _ => {
                let product = exact::multiply(decode(a), decode(b));
                exactly::<MODE>(exact::add(product, decode(c), mode::rounding(MODE)))
            }
        })
    }

    choices!(Format::F64);
}
