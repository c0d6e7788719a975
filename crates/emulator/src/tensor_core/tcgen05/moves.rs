//! `tcgen05.ld`, `tcgen05.st`, `tcgen05.shift`: which cell of tensor memory each register of each thread is, and which cells move.
//!
//! With thread `t` of the warp and register `i` of the list, lanes and columns from the address (PTX ISA `#tcgen05-data-movement-shape`;
//! the shapes are those of open kernels' fragments, not measured):
//!
//! | shape | registers of `.xN` | lane | column |
//! |---|---|---|---|
//! | 32x32b | N | t | i |
//! | 16x64b | N | t / 4 + 8 (t % 2) | 2 i + t / 2 % 2 |
//! | 16x128b | 2 N | t / 4 + 8 (i % 2) | 4 (i / 2) + t % 4 |
//! | 16x256b | 4 N | t / 4 + 8 (i / 2 % 2) | 8 (i / 4) + 2 (t % 4) + i % 2 |
//! | 16x32bx2 | N | t % 16 | i, and for threads 16 to 31 the split offset more |
//!
//! With `.pack::16b` and `.unpack::16b` a register is the low halves of two neighbouring columns, 2 c and 2 c + 1 where the table says c.

/// A shape of a load or store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MoveShape {
    /// `.32x32b`
    L32x32b,
    /// `.16x64b`
    L16x64b,
    /// `.16x128b`
    L16x128b,
    /// `.16x256b`
    L16x256b,
    /// `.16x32bx2`, with how many columns the second half is away.
    L16x32bx2 {
        /// The immediate of the instruction.
        split: u32,
    },
}

impl MoveShape {
    /// Registers of each thread for every repetition.
    pub const fn registers(self) -> u32 {
        match self {
            MoveShape::L32x32b | MoveShape::L16x64b | MoveShape::L16x32bx2 { .. } => 1,
            MoveShape::L16x128b => 2,
            MoveShape::L16x256b => 4,
        }
    }

    /// Whether `.x{repetitions}` exists: a power of two with at most 128 registers.
    pub const fn allows(self, repetitions: u32) -> bool {
        repetitions.is_power_of_two() && repetitions * self.registers() <= 128
    }

    /// Lanes that the warp reads or writes from the one of the address.
    pub const fn lanes(self) -> u32 {
        if matches!(self, MoveShape::L32x32b) { 32 } else { 16 }
    }

    /// Lane and column of a register of a thread, from those of the address; with packing, the first of its two columns.
    pub const fn cell(self, thread: u32, register: u32, packed: bool) -> (u32, u32) {
        let (lane, column, split) = match self {
            MoveShape::L32x32b => (thread, register, 0),
            MoveShape::L16x64b => (thread / 4 + 8 * (thread % 2), 2 * register + thread / 2 % 2, 0),
            MoveShape::L16x128b => (thread / 4 + 8 * (register % 2), register / 2 * 4 + thread % 4, 0),
            MoveShape::L16x256b => {
                (thread / 4 + 8 * (register / 2 % 2), register / 4 * 8 + 2 * (thread % 4) + register % 2, 0)
            }
            MoveShape::L16x32bx2 { split } => (thread % 16, register, thread / 16 * split),
        };
        (lane, if packed { 2 * column } else { column } + split)
    }

    /// Columns from the address to behind the last one that is touched.
    pub const fn columns(self, repetitions: u32, packed: bool) -> u32 {
        let (width, split) = match self {
            MoveShape::L32x32b => (1, 0),
            MoveShape::L16x64b => (2, 0),
            MoveShape::L16x128b => (4, 0),
            MoveShape::L16x256b => (8, 0),
            MoveShape::L16x32bx2 { split } => (1, split),
        };
        width * repetitions * if packed { 2 } else { 1 } + split
    }
}

/// Two cells as one register: the low half of each.
pub const fn pack(first: u32, second: u32) -> u32 {
    first & 0xffff | second << 16
}

/// One register as two cells. The manual says that the halves are written to neighbouring columns; the upper halves of the cells are
/// taken to become zero, which was not measured.
pub const fn unpack(register: u32) -> (u32, u32) {
    (register & 0xffff, register >> 16)
}

/// Columns that `tcgen05.shift.down` moves: 32 bytes.
pub const SHIFT_COLUMNS: u32 = 8;
/// Lanes that it works on, from an address aligned to as many: each but the last takes the value of the next. The manual says
/// "downwards", "for a warp" and "except the last"; that row i takes row i + 1 is how open code reads it, not measured.
pub const SHIFT_LANES: u32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SHAPES: [MoveShape; 5] = [
        MoveShape::L32x32b,
        MoveShape::L16x64b,
        MoveShape::L16x128b,
        MoveShape::L16x256b,
        MoveShape::L16x32bx2 { split: 256 },
    ];

    #[test]
    fn every_shape_covers_its_lanes_and_columns_once() {
        for shape in SHAPES {
            for repetitions in [1, 2, 4, 8, 16, 32, 64, 128].into_iter().filter(|&n| shape.allows(n)) {
                for packed in [false, true] {
                    let mut cells = BTreeSet::new();
                    for thread in 0..32 {
                        for register in 0..shape.registers() * repetitions {
                            let (lane, column) = shape.cell(thread, register, packed);
                            assert!(lane < shape.lanes() && column < shape.columns(repetitions, packed), "{shape:?}");
                            assert!(cells.insert((lane, column)), "{shape:?} x{repetitions}");
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn register_counts_stop_at_128() {
        let largest = SHAPES.map(|shape| (0..9).map(|power| 1 << power).filter(|&n| shape.allows(n)).max());
        assert_eq!(largest, [Some(128), Some(128), Some(64), Some(32), Some(128)]);
        assert!(!MoveShape::L32x32b.allows(3) && !MoveShape::L32x32b.allows(0));
    }

    #[test]
    fn a_load_of_256_bits_is_the_fragment_of_a_matrix_multiply() {
        // Element i of lane l of an accumulator tile of 8 columns: row l / 4 + 8 (i / 2), column 2 (l % 4) + i % 2.
        for thread in 0..32 {
            for element in 0..4 {
                let fragment = (thread / 4 + 8 * (element / 2), 2 * (thread % 4) + element % 2);
                assert_eq!(MoveShape::L16x256b.cell(thread, element, false), fragment);
            }
        }
    }

    #[test]
    fn packing_joins_the_low_halves_of_neighbours() {
        assert_eq!(MoveShape::L32x32b.cell(5, 3, true), (5, 6));
        assert_eq!(pack(0xdead_1234, 0xbeef_5678), 0x5678_1234);
        assert_eq!(unpack(0x5678_1234), (0x1234, 0x5678));
        assert_eq!(MoveShape::L16x32bx2 { split: 8 }.cell(20, 1, false), (4, 9));
    }
}
