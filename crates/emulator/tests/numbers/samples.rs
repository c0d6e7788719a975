//! Bits to try: all of the special ones and pseudo-random ones that are spread over every exponent.

/// A small generator (xorshift64*), so that every run tries the same bits.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Bits of an IEEE number: any exponent, and digits that are random, all zeros or all ones above a random point.
    pub fn float(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let random = self.next();
        let all = (1u64 << fraction_bits) - 1;
        let few = all << (random >> 40 & 63).min(u64::from(fraction_bits)) & all;
        let fraction = match random & 7 {
            0 => 0,
            1 => all,
            2 => few,
            3 => all & !few,
            4 => random >> 8 & few,
            _ => random >> 8 & all,
        };
        let exponent = self.next();
        let sign = exponent >> 63;
        // Half of the exponents lie close to each other, where sums cancel.
        let bias = (1u64 << (exponent_bits - 1)) - 1;
        let field = match exponent & 15 {
            0 => 0,
            1 => (1 << exponent_bits) - 1,
            2..=8 => bias - 4 + (exponent >> 8 & 7),
            9 => exponent >> 8 & 3,
            _ => exponent >> 8 & ((1 << exponent_bits) - 1),
        };
        (sign << exponent_bits | field) << fraction_bits | fraction
    }
}

/// f32 bits in strata: the first of every `step` consecutive codes plus a pseudo-random distance.
pub fn strata(count: u64) -> impl Iterator<Item = u32> {
    let step = (1u64 << 32) / count;
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    (0..count).map(move |i| (i * step + random.next() % step) as u32)
}
