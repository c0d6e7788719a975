//! `ldmatrix`, `stmatrix`, `movmatrix`: which byte of which row of shared memory is which byte of which register.
//!
//! Lanes give the addresses of rows of 16 bytes; a row is the unit of both directions. Maps: PTX ISA `#warp-level-matrix-instructions-ldmatrix`
//! for b16 (measured on an H200); for the 8-bit shapes, whose figures the text of the manual does not give, the layouts that
//! CUTLASS declares for the same instructions (`cute/atom/copy_traits_sm100.hpp`), not measured.

use crate::scalar::Register;

/// Bytes of a row.
pub const ROW_BYTES: usize = 16;

/// The shape and type of the matrices.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tile {
    /// `.m8n8 .b16`: 8 rows.
    Words {
        /// `.trans`
        transpose: bool,
    },
    /// `.m8n16 .b8x16`: 8 rows of 16 elements, spread to a byte each.
    Spread,
    /// `ldmatrix.m16n16.trans`: 16 rows of 16 bytes; two registers.
    Square,
    /// `stmatrix.m16n8.trans`: 8 rows of 16 bytes.
    Tall,
}

/// How elements lie in a row of shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RowFormat {
    /// As in the register.
    Plain,
    /// `.b4x16_p64`: 16 elements of 4 bits, then 8 bytes that are not read; an element comes to bits 3:0 of its byte.
    Nibbles,
    /// `.b6x16_p32`: 16 elements of 6 bits, then 4 bytes that are not read; an element comes to bits 5:0 of its byte.
    Sixes,
}

/// One instruction: some matrices of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MatrixMove {
    /// The kind.
    pub tile: Tile,
    /// Their number: 1, 2 or 4.
    pub count: usize,
    /// How a row lies in shared memory.
    pub format: RowFormat,
}

/// A row of shared memory, by the lane that gives its address.
pub type Rows = [[u8; ROW_BYTES]; 32];

impl Tile {
    /// Rows of a matrix.
    pub const fn rows(self) -> usize {
        match self {
            Tile::Square => 16,
            Tile::Words { .. } | Tile::Spread | Tile::Tall => 8,
        }
    }

    /// Registers of a matrix.
    pub const fn registers(self) -> usize {
        self.rows() / 8
    }

    /// The lane whose row holds byte `byte` of register `register` of `lane`, and which byte of the row it is.
    const fn source(self, register: usize, lane: usize, byte: usize) -> (usize, usize) {
        let (group, in_group) = (lane / 4, lane % 4);
        match self {
            Tile::Words { transpose: false } | Tile::Spread => (8 * register + group, 4 * in_group + byte),
            Tile::Words { transpose: true } => (8 * register + 2 * in_group + byte / 2, 2 * group + byte % 2),
            Tile::Square => {
                (16 * (register / 2) + 4 * in_group + 2 * (register % 2) + byte % 2, group + 8 * (byte / 2))
            }
            Tile::Tall => (8 * register + 2 * in_group + byte % 2, group + 8 * (byte / 2)),
        }
    }
}

impl RowFormat {
    /// Bytes of a row that are read.
    pub const fn bytes(self) -> usize {
        match self {
            RowFormat::Plain => 16,
            RowFormat::Nibbles => 8,
            RowFormat::Sixes => 12,
        }
    }

    /// The row with an element in each byte.
    pub fn spread(self, row: [u8; ROW_BYTES]) -> [u8; ROW_BYTES] {
        let bits = u128::from_le_bytes(row);
        match self {
            RowFormat::Plain => row,
            RowFormat::Nibbles => std::array::from_fn(|index| (bits >> (4 * index)) as u8 & 0xf),
            RowFormat::Sixes => std::array::from_fn(|index| (bits >> (6 * index)) as u8 & 0x3f),
        }
    }
}

impl MatrixMove {
    /// Registers that the instruction names.
    pub const fn registers(&self) -> usize {
        self.count * self.tile.registers()
    }

    /// The lanes that give addresses: lane `i` that of row `i`.
    pub const fn address_lanes(&self) -> u32 {
        let rows = self.count * self.tile.rows();
        if rows >= 32 { u32::MAX } else { (1 << rows) - 1 }
    }

    /// The registers that a load gives, from the rows by lane.
    pub fn load(&self, rows: &Rows) -> Vec<Register> {
        let rows = rows.map(|row| self.format.spread(row));
        let word = |register: usize, lane: usize| {
            let bytes = std::array::from_fn(|byte| {
                let (row, column) = self.tile.source(register, lane, byte);
                rows[row][column]
            });
            u32::from_le_bytes(bytes).into()
        };
        (0..self.registers()).map(|register| std::array::from_fn(|lane| word(register, lane))).collect()
    }

    /// The rows that a store writes, by lane; those of other lanes than `address_lanes` are zero.
    pub fn store(&self, registers: &[Register]) -> Rows {
        let mut rows = [[0; ROW_BYTES]; 32];
        for (index, register) in registers.iter().enumerate().take(self.registers()) {
            for (lane, &word) in register.iter().enumerate() {
                for (byte, value) in (word as u32).to_le_bytes().into_iter().enumerate() {
                    let (row, column) = self.tile.source(index, lane, byte);
                    rows[row][column] = value;
                }
            }
        }
        rows
    }
}

/// `movmatrix.m8n8.trans.b16`: the matrix that the lanes hold a row by four, transposed.
pub fn transpose(source: &Register) -> Register {
    let matrix = MatrixMove { tile: Tile::Words { transpose: false }, count: 1, format: RowFormat::Plain };
    let transposed = MatrixMove { tile: Tile::Words { transpose: true }, ..matrix };
    transposed.load(&matrix.store(&[*source]))[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows whose 16-bit elements say where they are: row * 256 + column.
    fn words() -> Rows {
        let mut rows = [[0; ROW_BYTES]; 32];
        for (row, bytes) in rows.iter_mut().enumerate() {
            for column in 0..8 {
                bytes[2 * column..][..2].copy_from_slice(&[column as u8, row as u8]);
            }
        }
        rows
    }

    #[test]
    fn words_come_to_the_lanes_of_the_table() {
        for count in [1, 2, 4] {
            for transpose in [false, true] {
                let load = MatrixMove { tile: Tile::Words { transpose }, count, format: RowFormat::Plain };
                let registers = load.load(&words());
                assert_eq!((registers.len(), load.address_lanes().count_ones() as usize), (count, 8 * count));
                for (matrix, register) in registers.iter().enumerate() {
                    for (lane, &word) in register.iter().enumerate() {
                        let (row, column) = (lane / 4, 2 * (lane % 4));
                        let element = |row: usize, column: usize| ((8 * matrix + row) * 256 + column) as u64;
                        let expected = match transpose {
                            false => element(row, column) | element(row, column + 1) << 16,
                            true => element(column, row) | element(column + 1, row) << 16,
                        };
                        assert_eq!(word, expected);
                    }
                }
            }
        }
    }

    #[test]
    fn a_store_is_the_inverse_of_a_load() {
        let mut rows = [[0; ROW_BYTES]; 32];
        rows.iter_mut().flatten().enumerate().for_each(|(index, byte)| *byte = (index * 7 + index / 256) as u8);
        let tiles = [Tile::Words { transpose: false }, Tile::Words { transpose: true }, Tile::Tall, Tile::Square];
        for tile in tiles {
            for count in [1, 2, 4].into_iter().filter(|count| count * tile.rows() <= 32) {
                let matrix = MatrixMove { tile, count, format: RowFormat::Plain };
                let stored = matrix.store(&matrix.load(&rows));
                for lane in 0..32 {
                    let expected = if matrix.address_lanes() >> lane & 1 == 1 { rows[lane] } else { [0; ROW_BYTES] };
                    assert_eq!(stored[lane], expected, "{tile:?}, lane {lane}");
                }
            }
        }
    }

    #[test]
    fn narrow_elements_are_spread_to_bytes() {
        let mut row = [0xff; ROW_BYTES];
        row[..8].copy_from_slice(&0xfedc_ba98_7654_3210u64.to_le_bytes());
        assert_eq!(RowFormat::Nibbles.spread(row), std::array::from_fn(|index| index as u8));
        let sixes = (0..16u128).fold(0xffff_ffffu128 << 96, |bits, index| bits | (63 - index) << (6 * index));
        assert_eq!(RowFormat::Sixes.spread(sixes.to_le_bytes()), std::array::from_fn(|index| 63 - index as u8));
        let load = MatrixMove { tile: Tile::Spread, count: 2, format: RowFormat::Nibbles };
        let mut rows = [[0; ROW_BYTES]; 32];
        rows[9] = row;
        // Lane 5 holds row 1: elements 4 to 7.
        assert_eq!(load.load(&rows)[1][5], 0x0706_0504);
    }

    #[test]
    fn movmatrix_transposes() {
        let source: Register = std::array::from_fn(|lane| {
            let (row, column) = (lane as u64 / 4, 2 * (lane as u64 % 4));
            (row * 8 + column) | (row * 8 + column + 1) << 16
        });
        let result = transpose(&source);
        for (lane, &word) in result.iter().enumerate() {
            let (row, column) = (lane as u64 / 4, 2 * (lane as u64 % 4));
            assert_eq!(word, (column * 8 + row) | ((column + 1) * 8 + row) << 16);
        }
        assert_eq!(transpose(&result), source);
    }
}
