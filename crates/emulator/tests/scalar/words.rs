//! What the tests run: an instruction by its modifiers, over lanes of bits that hit the edges.

use gable_emulator::scalar::{Compute, Register, compute};
use gable_ptx::grammar::{Modifier, Op};

/// A small generator (xorshift64*), so that every run tries the same bits.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// An edge of some width, a small number or any bits.
    pub fn word(&mut self) -> u64 {
        const EDGES: [u64; 12] =
            [0, 1, 2, 31, 32, 63, 64, 0x7fff, 0x8000, 0x7fff_ffff, 0x8000_0000, 0x7fff_ffff_ffff_ffff];
        let random = self.next();
        match random & 7 {
            0 => EDGES[(random >> 8) as usize % EDGES.len()],
            1 => !EDGES[(random >> 8) as usize % EDGES.len()],
            2 => random >> 8 & 0x7f,
            3 => self.next() >> (random >> 8 & 63),
            _ => self.next(),
        }
    }
}

/// Checks an instruction against a function of its sources in every lane of many registers. Only the low `width` bits of the
/// result count.
pub fn check(op: Op, modifiers: &[Modifier], width: u32, expected: impl Fn([u64; 4]) -> u64) {
    let compute = compute(op, modifiers).unwrap_or_else(|| panic!("{op:?} {modifiers:?} is not known"));
    let mask = u64::MAX >> (64 - width);
    let mut random = Random(0x1234_5678);
    for _ in 0..64 {
        let sources: [Register; 4] = std::array::from_fn(|_| std::array::from_fn(|_| random.word()));
        let [a, b, c, e] = &sources;
        let mut result = [0; 32];
        match compute {
            Compute::One(run) => run(&mut result, a),
            Compute::Two(run) => run(&mut result, a, b),
            Compute::Three(run) => run(&mut result, a, b, c),
            Compute::Four(run) => run(&mut result, a, b, c, e),
            Compute::Test(run) => result = std::array::from_fn(|lane| u64::from(run(a) >> lane & 1)),
            Compute::Compare(run) => result = std::array::from_fn(|lane| u64::from(run(a, b) >> lane & 1)),
        }
        for lane in 0..32 {
            let words = [a[lane], b[lane], c[lane], e[lane]];
            assert_eq!(result[lane] & mask, expected(words) & mask, "{op:?} {modifiers:?} {words:x?}");
        }
    }
}
