//! Integers: their ranges, their conversions among each other and with floating point.

use super::convert;
use super::exact::{Finite, Overflow, Value};
use super::{Format, Rounding};

/// An integer type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Integer {
    /// Whether it has a sign.
    pub signed: bool,
    /// How wide it is: 8, 16, 32 or 64.
    pub bits: u32,
}

impl Integer {
    /// Every integer type.
    pub const ALL: [Integer; 8] = [
        Integer::unsigned(8),
        Integer::unsigned(16),
        Integer::unsigned(32),
        Integer::unsigned(64),
        Integer::signed(8),
        Integer::signed(16),
        Integer::signed(32),
        Integer::signed(64),
    ];

    /// The unsigned integer of a width.
    pub const fn unsigned(bits: u32) -> Self {
        Integer { signed: false, bits }
    }

    /// The signed integer of a width.
    pub const fn signed(bits: u32) -> Self {
        Integer { signed: true, bits }
    }

    /// The smallest value.
    pub const fn smallest(self) -> i128 {
        if self.signed { -1 << (self.bits - 1) } else { 0 }
    }

    /// The largest value.
    pub const fn largest(self) -> i128 {
        (1 << (self.bits - self.signed as u32)) - 1
    }

    /// The low bits of a lane, extended as the type says.
    #[inline(always)]
    pub const fn extend(self, lane: u64) -> u64 {
        let unused = 64 - self.bits;
        if self.signed { ((lane << unused) as i64 >> unused) as u64 } else { lane << unused >> unused }
    }

    /// The value of the low bits of a lane.
    #[inline(always)]
    pub const fn value(self, lane: u64) -> i128 {
        let extended = self.extend(lane);
        if self.signed { extended as i64 as i128 } else { extended as i128 }
    }
}

/// Integer to integer: the low bits, extended as the result's type says; with `saturate` the nearest value of that type.
#[inline(always)]
pub fn resize(lane: u64, from: Integer, to: Integer, saturate: bool) -> u64 {
    if saturate {
        return from.value(lane).clamp(to.smallest(), to.largest()) as u64;
    }
    to.extend(from.extend(lane))
}

/// Integer to floating point.
pub fn to_float(lane: u64, from: Integer, to: Format, rounding: Rounding, clamping: convert::Clamping) -> u64 {
    let value = from.value(lane);
    let finite = Value::Finite(Finite::integer(value < 0, value.unsigned_abs()));
    convert::clamp(to.encode(finite, rounding, Overflow::Infinity), to, clamping)
}

/// The f64 of a code of any other format, which is exact; NaN stays NaN.
#[inline(always)]
pub(super) fn widen(code: u64, from: Format) -> f64 {
    match from {
        Format::F64 => f64::from_bits(code),
        Format::F32 => f64::from(f32::from_bits(code as u32)),
        _ => f64::from_bits(Format::F64.encode(from.decode(code), Rounding::Nearest, Overflow::Infinity)),
    }
}

/// Floating point to integer: the integral value, then the nearest one of the type.
///
/// NaN becomes 0 where the source is not f64 and the result not 64 bits wide, else the bit of the sign alone (PTX ISA 9.0, cvt).
#[inline(always)]
pub fn from_float(code: u64, from: Format, to: Integer, rounding: Rounding, flush: bool) -> u64 {
    let code = if flush && from == Format::F32 { from.flush(code & 0xffff_ffff) } else { code };
    from_double(widen(code, from), from == Format::F64 || to.bits == 64, to, rounding)
}

/// `from_float` of a number that is an f64 already; `nan_is_sign_bit` says what NaN becomes.
#[inline(always)]
pub fn from_double(x: f64, nan_is_sign_bit: bool, to: Integer, rounding: Rounding) -> u64 {
    if x.is_nan() {
        return if nan_is_sign_bit { to.extend(1 << (to.bits - 1)) } else { 0 };
    }
    let integral = convert::round(x, rounding);
    match (to.signed, to.bits) {
        // `as` saturates.
        (true, 64) => integral as i64 as u64,
        (false, 64) => integral as u64,
        (true, _) => integral.clamp(to.smallest() as f64, to.largest() as f64) as i64 as u64,
        (false, _) => integral.clamp(0.0, to.largest() as f64) as u64,
    }
}
