//! From one floating-point format to another, and to integral values.
//!
//! `.ftz` of a conversion is about f32 alone, as source and as result, and not about sources of results that are f16. Results that
//! are NaN are the NaN of the format except where `keeps_payload` says otherwise. All of this was measured on an H200.

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
    let code = if clamping.flush && from == Format::F32 && to != Format::F16 { from.flush(code) } else { code };
    let overflow = if clamping.finite { Overflow::Saturate } else { Overflow::Infinity };
    let value = from.decode(code);
    if value == Value::Nan && !clamping.unit && keeps_payload(from, to) {
        // Flushing goes through an f32 operation, which leaves one NaN.
        return match (from, to, clamping.flush) {
            (Format::F32, _, true) => resize_nan(from.nan, from, to),
            (_, Format::F32, true) if from != Format::F64 => to.nan,
            _ => resize_nan(code, from, to),
        };
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

/// Whether a NaN keeps its bits: from and to f64, and from bf16 to f32, which is a shift.
fn keeps_payload(from: Format, to: Format) -> bool {
    from == Format::F64 || to == Format::F64 || (from, to) == (Format::BF16, Format::F32)
}

/// A NaN in another format with the same sign and leading bits; quiet where one of the formats is f64.
fn resize_nan(code: u64, from: Format, to: Format) -> u64 {
    let fraction = code & ((1 << from.fraction_bits) - 1);
    let fraction = match to.fraction_bits.checked_sub(from.fraction_bits) {
        Some(wider) => fraction << wider,
        None => fraction >> (from.fraction_bits - to.fraction_bits),
    };
    let sign = if code & from.sign_bit() != 0 { to.sign_bit() } else { 0 };
    let is_quiet = from == Format::F64 || to == Format::F64;
    let quiet = if is_quiet { 1 << (to.fraction_bits - 1) } else { 0 };
    sign | (((1 << to.exponent_bits) - 1) << to.fraction_bits) | fraction | quiet
}

/// f32 to a format of at most 16 bits or to tf32, to nearest even: what `convert` gives, quickly.
#[inline(always)]
pub fn narrow(code: u64, to: Format, clamping: Clamping) -> u64 {
    // What `.ftz` flushes rounds to zero in the formats that have it.
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
    let nan = || resize_nan(code, Format::F64, Format::F32);
    let bits = if rounded.is_nan() { nan() } else { u64::from(rounded.to_bits()) };
    clamp(bits, Format::F32, clamping)
}

/// `cvt.rna.tf32.f32`: the 32-bit word whose upper 19 bits are tf32, the rest zero.
///
/// The unit adds half of the last place to the word, infinity included; NaN is only cut, so that one whose payload is low
/// becomes infinity. With `.satfinite` infinity and NaN are taken down by one unit of tf32 and cut: a NaN of low payload becomes
/// a number. Measured on an H200.
#[inline(always)]
pub fn tf32_away(code: u64, clamping: Clamping) -> u64 {
    const DROPPED: u64 = 0x1fff;
    const INFINITY: u64 = 0x7f80_0000;
    let (sign, magnitude) = (code & 0x8000_0000, code & 0x7fff_ffff);
    let rounded = (magnitude + 0x1000) & !DROPPED;
    let largest = Format::TF32.largest() << 13;
    sign | match clamping.finite {
        false if magnitude > INFINITY => magnitude & !DROPPED,
        false => rounded,
        true if magnitude >= INFINITY => (magnitude - 0x2000) & !DROPPED,
        true => rounded.min(largest),
    }
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
        if value == Value::Nan {
            return clamp(format.quiet(code), format, clamping);
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
