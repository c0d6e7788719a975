//! From one floating-point format to another, and to integral values.
//!
//! `.ftz` of a conversion is about f32 alone, as source and as result. Results that are NaN are the NaN of the format except
//! where `widen` says otherwise.

use super::exact::{Overflow, Value};
use super::float::{self, nearest_from_f64, round_to_f32};
use super::{Format, Rounding};

/// What a conversion does besides rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clamping {
    /// `.ftz`
    pub flush: bool,
    /// `.sat`: to [0, 1], NaN to 0.
    pub unit: bool,
    /// `.satfinite`: the largest finite number in place of infinity and of numbers beyond.
    pub finite: bool,
    /// `.relu`: negative results become 0, NaN stays.
    pub relu: bool,
}

/// Converts a code. Takes any two formats; the definition that shorter ways are tested against.
pub fn convert(code: u64, from: Format, to: Format, rounding: Rounding, clamping: Clamping) -> u64 {
    let code = if clamping.flush && from == Format::F32 { from.flush(code) } else { code };
    let overflow = if clamping.finite { Overflow::Saturate } else { Overflow::Infinity };
    let value = from.decode(code);
    if value == Value::Nan && !clamping.unit && keeps_payload(from, to) {
        return widen(code, from, to);
    }
    clamp(to.encode(value, rounding, overflow), to, clamping)
}

/// Clamps a code that was rounded already.
#[inline(always)]
pub fn clamp(code: u64, format: Format, clamping: Clamping) -> u64 {
    let code = if clamping.flush && format == Format::F32 { format.flush(code) } else { code };
    let negative = code & format.sign_bit() != 0;
    if clamping.unit {
        let one = (format.bias as u64) << format.fraction_bits;
        return if negative || format.is_nan(code) { 0 } else { code.min(one) };
    }
    if clamping.relu && negative && !format.is_nan(code) { 0 } else { code }
}

/// Whether a NaN keeps its bits: bf16 to f32, which is a shift, and everything to f64.
///
/// Open, both: so it follows from how other conversions of the same unit behave, and has not been measured.
fn keeps_payload(from: Format, to: Format) -> bool {
    to == Format::F64 || (from, to) == (Format::BF16, Format::F32)
}

/// A NaN in a wider format with the same leading bits, quiet in f64.
fn widen(code: u64, from: Format, to: Format) -> u64 {
    let magnitude = code & ((1 << from.magnitude_bits()) - 1);
    let fraction = (magnitude & ((1 << from.fraction_bits) - 1)) << (to.fraction_bits - from.fraction_bits);
    let sign = if code & from.sign_bit() != 0 { to.sign_bit() } else { 0 };
    let quiet = if to == Format::F64 { 1 << 51 } else { 0 };
    sign | (((1 << to.exponent_bits) - 1) << to.fraction_bits) | fraction | quiet
}

/// f32 to a format of at most 16 bits or to tf32, to nearest even: what `convert` gives, quickly.
#[inline(always)]
pub fn narrow(code: u64, to: Format, clamping: Clamping) -> u64 {
    let code = if clamping.flush { Format::F32.flush(code & 0xffff_ffff) } else { code };
    clamp(nearest_from_f64(f64::from(f32::from_bits(code as u32)), to, clamping.finite), to, clamping)
}

/// f16 to f32, which is exact.
#[inline(always)]
pub fn widen_half(code: u64, clamping: Clamping) -> u64 {
    let wide = float::F16::source::<0>(code) as f32;
    clamp(if wide.is_nan() { Format::F32.nan } else { u64::from(wide.to_bits()) }, Format::F32, clamping)
}

/// f64 to f32.
#[inline(always)]
pub fn narrow_double<const MODE: u8>(code: u64, clamping: Clamping) -> u64 {
    let rounded = round_to_f32::<MODE>(f64::from_bits(code));
    let bits = if rounded.is_nan() { Format::F32.nan } else { u64::from(rounded.to_bits()) };
    clamp(bits, Format::F32, clamping)
}

/// `cvt.rna.tf32.f32`: the 32-bit word whose upper 19 bits are tf32, the rest zero.
///
/// The unit adds half of the last place to the word, infinity included; NaN is only cut, so that one whose payload is low
/// becomes infinity. Measured on an H200. Open: NaN with `.satfinite`, here cut as well.
#[inline(always)]
pub fn tf32_away(code: u64, clamping: Clamping) -> u64 {
    const DROPPED: u64 = 0x1fff;
    let code = code & 0xffff_ffff;
    if Format::F32.is_nan(code) {
        return code & !DROPPED;
    }
    let rounded = (code + 0x1000) & !DROPPED;
    if !clamping.finite {
        return rounded;
    }
    let largest = Format::TF32.largest() << 13;
    rounded & 0x8000_0000 | (rounded & 0x7fff_ffff).min(largest)
}

/// `cvt.rn.tf32.f32` and `.rz`: the 32-bit word.
#[inline(always)]
pub fn tf32(code: u64, rounding: Rounding, clamping: Clamping) -> u64 {
    convert(code & 0xffff_ffff, Format::F32, Format::TF32, rounding, clamping) << 13
}

/// To the integral value that the rounding gives, in the same format: `.rni`, `.rzi`, `.rmi`, `.rpi`. The sign stays, also
/// that of a zero.
pub fn to_integral(code: u64, format: Format, rounding: Rounding, clamping: Clamping) -> u64 {
    let code = if clamping.flush && format == Format::F32 { format.flush(code) } else { code };
    let value = format.decode(code);
    let Value::Finite(finite) = value else {
        if value == Value::Nan && format == Format::F64 {
            return clamp(code | 1 << 51, format, clamping);
        }
        return clamp(format.encode(value, rounding, Overflow::Infinity), format, clamping);
    };
    // Every finite f64 with a fraction is below 2^53 in magnitude.
    if finite.exponent >= 0 {
        return clamp(code, format, clamping);
    }
    let x = Format::F64.encode(value, Rounding::Nearest, Overflow::Infinity);
    let integral = round(f64::from_bits(x), rounding);
    let value = Format::F64.decode(integral.to_bits());
    clamp(format.encode(value, Rounding::Nearest, Overflow::Infinity), format, clamping)
}

/// An f64 to an integral value.
#[inline(always)]
pub(super) fn round(x: f64, rounding: Rounding) -> f64 {
    match rounding {
        Rounding::Nearest => x.round_ties_even(),
        Rounding::Zero => x.trunc(),
        Rounding::Down => x.floor(),
        Rounding::Up => x.ceil(),
        Rounding::NearestAway => x.round(),
    }
}
