//! The words that every instruction gets: special ones of every format, bits near them, and random ones.

/// Threads: each has four words.
pub const THREADS: u32 = 256;

/// A small generator (xorshift64*), so that every run writes the same words.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn pick(&mut self, list: &[u64]) -> u64 {
        list[self.next() as usize % list.len()]
    }

    /// Bits of an IEEE number whose exponent is near that of one for the most part.
    fn float(&mut self, exponent_bits: u32, fraction_bits: u32) -> u64 {
        let random = self.next();
        let bias = (1 << (exponent_bits - 1)) - 1;
        let exponent = match random >> 60 {
            0 => 0,
            1 => 1,
            2..5 => random >> 32 & ((1 << exponent_bits) - 1),
            5..7 => 2 * bias - (random >> 32 & 3),
            _ => bias - 8 + (random >> 32 & 15),
        };
        let fraction = self.next() & ((1 << fraction_bits) - 1);
        let fraction = if random & 3 == 0 { fraction & fraction << (fraction_bits / 2) } else { fraction };
        (random >> 16 & 1) << (exponent_bits + fraction_bits)
            | exponent << fraction_bits
            | fraction & ((1 << fraction_bits) - 1)
    }
}

const F64: [u64; 14] = [
    0,
    1 << 63,
    0x3ff0_0000_0000_0000,
    0xbff8_0000_0000_0000,
    0x7ff0_0000_0000_0000,
    0xfff0_0000_0000_0000,
    0x7ff8_0000_0000_0001,
    0xfff0_0000_1234_5678,
    0x7fef_ffff_ffff_ffff,
    0x0010_0000_0000_0000,
    0x000f_ffff_ffff_ffff,
    0x8000_0000_0000_0001,
    0x41df_ffff_ffc0_0000,
    0x43e0_0000_0000_0000,
];

const F32: [u64; 20] = [
    0,
    0x8000_0000,
    0x3f80_0000,
    0xbfc0_0000,
    0x7f80_0000,
    0xff80_0000,
    0x7fc0_0000,
    0xffc1_2345,
    0x7f80_0001,
    0xff80_2000,
    0x7f7f_ffff,
    0xff7f_ffff,
    0x0080_0000,
    0x007f_ffff,
    0x8000_0001,
    0x3f7f_ffff,
    0x4f00_0000,
    0xcf00_0001,
    0x5f00_0000,
    0x7e80_0001,
];

const F16: [u64; 14] =
    [0, 0x8000, 0x3c00, 0xbe00, 0x7c00, 0xfc00, 0x7e00, 0xfe01, 0x7c01, 0x7ff7, 0x7bff, 0x0400, 0x03ff, 0x8001];

const BF16: [u64; 14] =
    [0, 0x8000, 0x3f80, 0xbfc0, 0x7f80, 0xff80, 0x7fc0, 0xffc1, 0x7f81, 0x7ff7, 0x7f7f, 0x0080, 0x007f, 0x8001];

const INTEGERS: [u64; 16] = [
    0,
    1,
    2,
    7,
    31,
    32,
    33,
    63,
    64,
    0xff,
    0x7fff,
    0xffff_8000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x8000_0000_0000_0000,
];

/// The words of the four sources, all threads of the first, then of the second and so on.
pub fn words() -> Vec<u64> {
    let mut random = Random(0x600d_5eed);
    let mut sources = vec![Vec::new(); 4];
    for thread in 0..THREADS {
        for source in &mut sources {
            // A kind for each run of threads, so that all four sources are numbers of one format. Every third word is special.
            let special = random.next().is_multiple_of(3);
            let mut halves = |of: &mut dyn FnMut(&mut Random) -> u64, width: u32| {
                (0..64 / width).fold(0, |word, i| word | of(&mut random) << (width * i))
            };
            source.push(match thread / 32 {
                0 if special => random.pick(&F64),
                0 => random.float(11, 52),
                1 | 2 if special => halves(&mut |random| random.pick(&F32), 32),
                1 | 2 => halves(&mut |random| random.float(8, 23), 32),
                3 if special => halves(&mut |random| random.pick(&F16), 16),
                3 => halves(&mut |random| random.float(5, 10), 16),
                4 if special => halves(&mut |random| random.pick(&BF16), 16),
                4 => halves(&mut |random| random.float(8, 7), 16),
                5 => random.pick(&INTEGERS),
                6 => random.next() >> (random.next() & 63),
                _ => random.next(),
            });
        }
    }
    sources.concat()
}
