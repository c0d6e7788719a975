//! Accumulators of `L` columns: taken apart before a sum, rounded after it.

use super::accumulate::{Rounding, round};
use super::panel::ZERO_EXPONENT;

/// Accumulators taken apart like operands.
pub(super) struct Accumulators<const L: usize> {
    /// With their signs, in units of `2^(exponent - fraction_bits)`.
    pub(super) significands: [i32; L],
    pub(super) fraction_bits: u32,
    pub(super) exponents: [i32; L],
    /// Whether all of them are numbers.
    pub(super) finite: bool,
}

#[inline(always)]
pub(super) fn split_accumulators<const L: usize>(rounding: Rounding, c: &[u32; L]) -> Accumulators<L> {
    let (exponent_bits, fraction_bits) = match rounding {
        Rounding::TowardZero { .. } => (8, 23),
        Rounding::NearestF16 => (5, 10),
    };
    let bias = (1i32 << (exponent_bits - 1)) - 1;
    let last_field = (1u32 << exponent_bits) - 1;
    let mut accumulators = Accumulators { significands: [0; L], fraction_bits, exponents: [0; L], finite: true };
    let mut largest_field = 0;
    for lane in 0..L {
        let field = (c[lane] >> fraction_bits) & last_field;
        let fraction = c[lane] & ((1 << fraction_bits) - 1);
        let significand = fraction | if field == 0 { 0 } else { 1 << fraction_bits };
        let negative = -((c[lane] >> (exponent_bits + fraction_bits)) as i32);
        accumulators.significands[lane] = (significand as i32 ^ negative) - negative;
        let exponent = (field as i32).max(1) - bias;
        accumulators.exponents[lane] = if significand == 0 { ZERO_EXPONENT } else { exponent };
        largest_field = largest_field.max(field);
    }
    accumulators.finite = largest_field < last_field;
    accumulators
}

/// Cuts significands to the fraction bits of a sum.
#[derive(Clone, Copy)]
pub(super) struct Cut {
    left: i32,
    right: i32,
}

impl Cut {
    /// Of significands that have `from` fraction bits; the sum keeps `to` below the largest exponent.
    pub(super) fn new(from: u32, to: u32) -> Cut {
        let left = to as i32 - from as i32;
        Cut { left: left.max(0), right: (-left).max(0) }
    }

    /// The significand cut toward zero, where its exponent is `below` less than the largest.
    #[inline(always)]
    pub(super) fn apply(self, significand: i32, below: i32) -> i32 {
        // Not by an arithmetic shift, which would round toward minus infinity.
        let negative = significand >> 31;
        let magnitude = ((significand ^ negative) - negative) << self.left;
        ((magnitude >> (below + self.right).min(31)) ^ negative) - negative
    }
}

#[inline(always)]
pub(super) fn is_finite(rounding: Rounding, bits: u32) -> bool {
    match rounding {
        Rounding::TowardZero { .. } => bits & 0x7f80_0000 != 0x7f80_0000,
        Rounding::NearestF16 => bits & 0x7c00 != 0x7c00,
    }
}

/// `total * 2^(largest - fraction_bits)`, rounded. The totals are whole and below 2^53.
#[inline(always)]
pub(super) fn round_sums<const L: usize>(
    rounding: Rounding,
    total: &[f64; L],
    largest: &[i32; L],
    fraction_bits: i32,
) -> [u32; L] {
    let mut result = [0; L];
    match rounding {
        Rounding::TowardZero { fraction_bits: kept } => {
            let mask = !0u64 << (52 - kept);
            for lane in 0..L {
                let scale = f64::from_bits(((1023 + largest[lane] - fraction_bits) as u64) << 52);
                let cut = f64::from_bits((total[lane] * scale).to_bits() & mask);
                // Exact, except for subnormal results, which are cut as well, and for those that are too large.
                let rounded = cut as f32;
                let too_far = f64::from(rounded.abs()) > cut.abs() && rounded.abs() < f32::INFINITY;
                let bits = rounded.to_bits() - u32::from(too_far);
                result[lane] = if bits << 1 == 0 { 0 } else { bits };
            }
        }
        Rounding::NearestF16 => {
            for lane in 0..L {
                result[lane] = round(rounding, total[lane] as i64, largest[lane] - fraction_bits);
            }
        }
    }
    result
}
