//! Where block scales lie in tensor memory.
//!
//! A scale is a byte. The scales of row `r` of A (or column `r` of B) are bytes `id`, `id + 1`, .. of the cell at lane `r % 32` and
//! column `r / 32`; bytes from 4 on are in the next group of columns, which follows after four columns for each 128 rows (only
//! K = 96 has them, and that layout is from open code, not from the manual's figures). All four quarters of the lanes hold the same,
//! except that with M = 128 of a CTA pair the lower two quarters hold the scales of the first half of N and the upper two those of the
//! second. Sources: PTX ISA `#tcgen05-block-scaling` and the copies that open kernels make; not measured.

/// Bits of an address of scales that name a place; the upper two may carry a scale factor id, which the descriptor has anyway.
pub const ADDRESS_MASK: u32 = 0x3fff_ffff;

/// How the scales of an operand are spread over the four quarters of the lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spread {
    /// Every quarter holds all of them.
    Replicated,
    /// Quarters 0 and 1 hold the first half, 2 and 3 the second.
    Halves,
}

/// The scales of one operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScaleLayout {
    /// Rows of A in the CTA, or columns of B.
    pub rows: u32,
    /// Scales of a row.
    pub per_row: u32,
    /// Byte of the first one.
    pub id: u32,
    /// How they are spread.
    pub spread: Spread,
}

impl ScaleLayout {
    const fn rows_of_a_quarter(&self) -> u32 {
        match self.spread {
            Spread::Replicated => self.rows,
            Spread::Halves => self.rows / 2,
        }
    }

    /// The quarters that hold the scales of a row.
    pub const fn quarters(&self, row: u32) -> [u32; 4] {
        match self.spread {
            Spread::Replicated => [0, 1, 2, 3],
            Spread::Halves if row < self.rows / 2 => [0, 1, 0, 1],
            Spread::Halves => [2, 3, 2, 3],
        }
    }

    /// Lane, column and byte of scale `index` of a row in a quarter, from the address of the scales.
    pub const fn cell(&self, row: u32, index: u32, quarter: u32) -> (u32, u32, u32) {
        let rows = self.rows_of_a_quarter();
        let row = row % rows;
        let byte = self.id + index;
        let group = byte / 4 * 4 * rows.div_ceil(128);
        (32 * quarter + row % 32, group + row / 32, byte % 4)
    }

    /// Columns from the address on that hold scales which are read.
    pub const fn columns(&self) -> u32 {
        let rows = self.rows_of_a_quarter();
        (self.id + self.per_row - 1) / 4 * 4 * rows.div_ceil(128) + rows.div_ceil(32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_atom_of_128_by_4_reads_back_as_it_was_copied() {
        // Byte (m % 32) * 16 + (m / 32) * 4 + k of the 512-byte atom; its copy puts row i of 16 bytes at lane i, four bytes a column.
        let layout = ScaleLayout { rows: 128, per_row: 4, id: 0, spread: Spread::Replicated };
        for row in 0..128 {
            for k in 0..4 {
                let atom_byte = row % 32 * 16 + row / 32 * 4 + k;
                for quarter in layout.quarters(row) {
                    let expected = (32 * quarter + atom_byte / 16, atom_byte % 16 / 4, atom_byte % 4);
                    assert_eq!(layout.cell(row, k, quarter), expected);
                }
            }
        }
        assert_eq!(layout.columns(), 4);
    }

    #[test]
    fn ids_select_bytes_and_larger_n_takes_more_columns() {
        let layout = ScaleLayout { rows: 256, per_row: 1, id: 3, spread: Spread::Replicated };
        assert_eq!(layout.cell(200, 0, 1), (32 + 200 % 32, 6, 3));
        assert_eq!(layout.columns(), 8);
    }

    #[test]
    fn six_scales_of_a_row_spill_into_the_next_columns() {
        let layout = ScaleLayout { rows: 128, per_row: 6, id: 2, spread: Spread::Replicated };
        assert_eq!(layout.cell(0, 1, 0), (0, 0, 3));
        assert_eq!(layout.cell(0, 2, 0), (0, 4, 0));
        assert_eq!(layout.cell(127, 5, 0), (31, 7, 3));
        assert_eq!(layout.columns(), 8);
        assert_eq!(ScaleLayout { rows: 256, ..layout }.cell(0, 2, 0), (0, 8, 0));
    }

    #[test]
    fn a_pair_with_m_128_splits_the_scales_of_b() {
        let layout = ScaleLayout { rows: 128, per_row: 1, id: 0, spread: Spread::Halves };
        assert_eq!((layout.quarters(63), layout.quarters(64)), ([0, 1, 0, 1], [2, 3, 2, 3]));
        assert_eq!(layout.cell(65, 0, 2), (64 + 1, 0, 0));
        assert_eq!(layout.columns(), 2);
    }
}
