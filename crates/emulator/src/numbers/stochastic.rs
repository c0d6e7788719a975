//! Stochastic rounding: away from zero with the chance that the dropped digits make.
//!
//! The random bits are added to as many of the first dropped digits; where the sum carries, the result is the next number away
//! from zero (PTX ISA, cvt, `.rs`). Open: nothing of this has run on hardware; how it treats results below the smallest normal
//! number, where more digits are dropped, and dropped digits beyond the random bits, which are ignored here.

use super::convert::{Clamping, clamp};
use super::exact::{Finite, Overflow, Value};
use super::{Format, Rounding};

/// Rounds an f32 to a narrower format with the low `bits` bits of `random`.
pub fn round(code: u64, to: Format, random: u64, bits: u32, clamping: Clamping) -> u64 {
    let overflow = if clamping.finite { Overflow::Saturate } else { Overflow::Infinity };
    let value = match Format::F32.decode(code & 0xffff_ffff) {
        Value::Finite(finite) if finite.significand != 0 => {
            // One unit of the last place of the result is 2^unit; the dropped digits count in units of 2^(unit - bits).
            let highest = finite.exponent + finite.significand.ilog2() as i32;
            let unit = highest.max(to.smallest_exponent()) - to.fraction_bits as i32;
            let below = unit - bits as i32 - finite.exponent;
            let digits = match below {
                0.. => finite.significand.checked_shr(below as u32).unwrap_or(0),
                _ => finite.significand << -below,
            };
            let carried = (digits + u128::from(random)) >> bits;
            Value::Finite(Finite { significand: carried, exponent: unit, ..finite })
        }
        other => other,
    };
    // The number has no more digits than the format: it is only beyond its range that rounding has something left to say.
    clamp(to.encode(value, Rounding::Nearest, overflow), to, clamping)
}
