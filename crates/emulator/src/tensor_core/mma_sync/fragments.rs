//! Where the elements of A, B, C and D are: lanes and registers of a warp.
//!
//! With `g = lane / 4` and `t = lane % 4`, `e` elements in a register, and 8 rows a half:
//!
//! | matrix | register | row (of B: column) | k, or column of C |
//! |---|---|---|---|
//! | A | `i` | `g + 8 * (i % halves)` | `4e * (i / halves) + e * t ..+e` |
//! | B | `i` | `g` | `4e * i + e * t ..+e` |
//! | C, D of 32 or 64 bits | `i` | `g + 8 * (i / 2)` | `2t + i % 2` |
//! | C, D of f16 | `i` | `g + 8 * i` | `2t, 2t + 1` |
//!
//! All shapes of PTX ISA `#warp-level-matrix-instructions-for-mma` follow it but m8n8k4 on f16, which has a file of its own.

use crate::scalar::Register;

/// A matrix whose rows are spread over lanes along k.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rows {
    /// 8 or 16.
    pub rows: usize,
    /// Elements of a row.
    pub k: usize,
    /// Bits of an element in its register: 4, 8, 16, 32 or 64.
    pub bits: usize,
}

impl Rows {
    fn per_register(self) -> usize {
        (if self.bits == 64 { 64 } else { 32 }) / self.bits
    }

    /// Registers of a lane.
    pub fn registers(self) -> usize {
        self.rows / 8 * (self.k / (4 * self.per_register()))
    }

    /// The elements, row after row.
    ///
    /// # Panics
    /// When `registers` are fewer than there must be.
    pub fn gather<T: Copy + Default>(self, registers: &[Register], element: impl Fn(u64) -> T) -> Vec<T> {
        let mut elements = vec![T::default(); self.rows * self.k];
        let (halves, count) = (self.rows / 8, self.per_register());
        for (index, register) in registers[..self.registers()].iter().enumerate() {
            let chunk = 4 * count * (index / halves);
            for (lane, &word) in register.iter().enumerate() {
                let row = lane / 4 + 8 * (index % halves);
                let from = row * self.k + chunk + count * (lane % 4);
                for (place, value) in elements[from..from + count].iter_mut().enumerate() {
                    *value = element(word >> (place * self.bits));
                }
            }
        }
        elements
    }

    /// The lane and the register that hold an element, and its lowest bit there.
    pub fn place(self, row: usize, k: usize) -> (usize, usize, usize) {
        let (halves, count) = (self.rows / 8, self.per_register());
        let lane = row % 8 * 4 + k % (4 * count) / count;
        (lane, row / 8 + halves * (k / (4 * count)), k % count * self.bits)
    }
}

/// The accumulators of a matrix of 8 columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Accumulators {
    /// 8 or 16.
    pub rows: usize,
    /// Whether a register holds two f16.
    pub packed: bool,
}

/// Columns of C and D.
pub const COLUMNS: usize = 8;

impl Accumulators {
    /// Registers of a lane.
    pub fn registers(self) -> usize {
        self.rows / 8 * if self.packed { 1 } else { 2 }
    }

    /// The words, row after row.
    ///
    /// # Panics
    /// When `registers` are fewer than there must be.
    pub fn gather(self, registers: &[Register]) -> Vec<u64> {
        let mut words = vec![0; self.rows * COLUMNS];
        for (index, register) in registers[..self.registers()].iter().enumerate() {
            for (lane, &word) in register.iter().enumerate() {
                let (row, column) = (lane / 4, 2 * (lane % 4));
                if self.packed {
                    let from = (row + 8 * index) * COLUMNS + column;
                    words[from] = word & 0xffff;
                    words[from + 1] = word >> 16 & 0xffff;
                } else {
                    words[(row + 8 * (index / 2)) * COLUMNS + column + index % 2] = word;
                }
            }
        }
        words
    }

    /// The registers, from words row after row.
    pub fn scatter(self, words: &[u64]) -> Vec<Register> {
        let word = |index: usize, lane: usize| {
            let (row, column) = (lane / 4, 2 * (lane % 4));
            if self.packed {
                let from = (row + 8 * index) * COLUMNS + column;
                words[from] | words[from + 1] << 16
            } else {
                words[(row + 8 * (index / 2)) * COLUMNS + column + index % 2]
            }
        };
        (0..self.registers()).map(|index| std::array::from_fn(|lane| word(index, lane))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The manual's tables, as (row, k) of element `i` of a lane, for the shapes that it gives in full.
    #[test]
    fn fragments_are_those_of_the_manual() {
        // Shape, bits, elements of a lane, then row and k of an element.
        type Place = fn(usize, usize, usize) -> (usize, usize);
        let cases: [(Rows, Place); 10] = [
            (Rows { rows: 16, k: 8, bits: 16 }, |g, t, i| (g + 8 * (i / 2), 2 * t + i % 2)),
            (Rows { rows: 16, k: 16, bits: 16 }, |g, t, i| {
                (if i < 2 || (4..6).contains(&i) { g } else { g + 8 }, 2 * t + (i & 1) + if i < 4 { 0 } else { 8 })
            }),
            (Rows { rows: 16, k: 4, bits: 32 }, |g, t, i| (g + 8 * i, t)),
            (Rows { rows: 16, k: 8, bits: 32 }, |g, t, i| (g + 8 * (i % 2), t + 4 * (i / 2))),
            (Rows { rows: 16, k: 16, bits: 64 }, |g, t, i| {
                (g + 8 * (i % 2), t + if i % 2 == 0 { i * 2 } else { i * 2 - 2 })
            }),
            (Rows { rows: 16, k: 16, bits: 8 }, |g, t, i| (if i < 4 { g } else { g + 8 }, 4 * t + (i & 3))),
            (Rows { rows: 16, k: 32, bits: 8 }, |g, t, i| {
                (if i < 4 || (8..12).contains(&i) { g } else { g + 8 }, 4 * t + (i & 3) + if i < 8 { 0 } else { 16 })
            }),
            (Rows { rows: 16, k: 64, bits: 4 }, |g, t, i| {
                (if i < 8 || (16..24).contains(&i) { g } else { g + 8 }, 8 * t + (i & 7) + if i < 16 { 0 } else { 32 })
            }),
            (Rows { rows: 8, k: 32, bits: 8 }, |g, t, i| (g, 4 * t + (i & 3) + 16 * (i / 4))),
            (Rows { rows: 8, k: 32, bits: 4 }, |g, t, i| (g, 8 * t + i)),
        ];
        for (rows, place) in cases {
            let per_lane = rows.rows * rows.k / 32;
            for lane in 0..32 {
                for i in 0..per_lane {
                    let (row, k) = place(lane / 4, lane % 4, i);
                    let count = if rows.bits == 64 { 1 } else { 32 / rows.bits };
                    assert_eq!(rows.place(row, k), (lane, i / count, i % count * rows.bits), "{rows:?}");
                }
            }
        }
    }

    #[test]
    fn gathering_follows_the_places() {
        for (rows, k, bits) in [(16, 16, 16), (8, 64, 4), (16, 32, 8), (8, 8, 32), (16, 8, 64), (16, 64, 4)] {
            let layout = Rows { rows, k, bits };
            let registers: Vec<Register> = (0..layout.registers() as u64)
                .map(|index| {
                    std::array::from_fn(|lane| (index * 32 + lane as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15))
                })
                .collect();
            let mask = if bits == 64 { u64::MAX } else { (1 << bits) - 1 };
            let elements = layout.gather(&registers, |word| word & mask);
            for (index, &element) in elements.iter().enumerate() {
                let (lane, register, bit) = layout.place(index / k, index % k);
                assert_eq!(element, registers[register][lane] >> bit & mask);
            }
        }
    }

    #[test]
    fn accumulators_survive_the_way_to_a_matrix_and_back() {
        for (rows, packed) in [(8, false), (16, false), (16, true), (8, true)] {
            let accumulators = Accumulators { rows, packed };
            let registers: Vec<Register> = (0..accumulators.registers() as u64)
                .map(|index| std::array::from_fn(|lane| index << 20 | lane as u64))
                .collect();
            assert_eq!(accumulators.scatter(&accumulators.gather(&registers)), registers);
        }
        // c2 of lane 13 is in row 3 + 8 and column 2.
        let mut registers = [[0; 32]; 4];
        registers[2][13] = 5;
        let words = Accumulators { rows: 16, packed: false }.gather(&registers);
        assert_eq!(words[11 * COLUMNS + 2], 5);
    }
}
