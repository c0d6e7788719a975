//! Division of indices by constants: a product's high half and a shift, where `ptxas` would write a reciprocal.

use gable_ptx::{B32, KernelBuilder, R};

/// `index / divisor`, for an index below 2^31 and a divisor from 1 to 2^31.
///
/// With `l = ceil(log2 divisor)` and `m = floor(2^(31 + l) / divisor) + 1`, which is below 2^32, the quotient of every index
/// below 2^31 is `index * m / 2^(31 + l)`, rounded down (Granlund and Montgomery, "Division by invariant integers using
/// multiplication", theorem 4.2 with 31 bits).
pub(crate) fn quotient(k: &mut KernelBuilder, index: R<B32>, divisor: u32) -> R<B32> {
    match multiplier(divisor) {
        None => k.shr_u32(index, divisor.trailing_zeros()),
        Some((multiplier, shift)) => {
            let high = k.mul_hi_u32(index, multiplier);
            if shift == 0 { high } else { k.shr_u32(high, shift) }
        }
    }
}

/// The multiplier and the shift after the high half; `None` for powers of two.
fn multiplier(divisor: u32) -> Option<(u32, u32)> {
    if divisor.is_power_of_two() {
        return None;
    }
    let log = u32::BITS - (divisor - 1).leading_zeros();
    let multiplier = (1u64 << (31 + log)) / u64::from(divisor) + 1;
    Some((multiplier as u32, log - 1))
}

#[cfg(test)]
mod tests {
    use super::multiplier;

    #[test]
    fn quotients_are_exact_at_every_multiple_and_before_it() {
        let divisors = (3..2000u32).chain([4095, 65_537, 1 << 20 | 1, (1 << 30) - 1, (1 << 30) + 1, i32::MAX as u32]);
        for divisor in divisors.filter(|divisor| !divisor.is_power_of_two()) {
            let (m, shift) = multiplier(divisor).expect("not a power of two");
            let largest = i32::MAX as u32;
            let multiples = (1..50).chain((1..50).map(|n| largest / divisor - n.min(largest / divisor)));
            let around = multiples.filter_map(|n| n.checked_mul(divisor)).flat_map(|n| [n.saturating_sub(1), n]);
            for index in around.chain([0, 1, largest - 1, largest]).filter(|&index| index <= largest) {
                let found = ((u64::from(index) * u64::from(m)) >> 32 >> shift) as u32;
                assert_eq!(found, index / divisor, "{index} / {divisor}");
            }
        }
    }
}
