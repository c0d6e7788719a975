//! `tcgen05.cp`: rows of shared memory to cells of tensor memory.
//!
//! | shape | rows | bytes a row | lanes of row `i` |
//! |---|---|---|---|
//! | 128x256b | 128 | 32 | i |
//! | 4x256b | 4 | 32 | 32 i |
//! | 128x128b | 128 | 16 | i |
//! | 64x128b.warpx2::02_13 | 64 | 16 | i and i + 64 |
//! | 64x128b.warpx2::01_23 | 64 | 16 | 64 (i / 32) + i % 32, and 32 more |
//! | 32x128b.warpx4 | 32 | 16 | i, i + 32, i + 64, i + 96 |
//!
//! Rows are those of a K-major matrix with the descriptor's layout. Which lanes a row of 4x256b goes to, and the lanes of the multicasts,
//! are from the names in the manual (PTX ISA `#tcgen05-instructions-tcgen05-cp`) and open code, not measured. Four bytes fill a cell.
//! Decompression takes 16 elements from the first 8 or 12 bytes of each chunk of 16 and gives each a byte.

use crate::tensor_core::descriptor::{DescriptorError, MatrixDescriptor};
use crate::tensor_core::operand::{Major, SharedOperand};
use crate::tensor_core::packing::Container;

/// A shape of a copy with its multicast.
#[expect(missing_docs, reason = "each is named like its PTX qualifiers")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyShape {
    L128x256b,
    L4x256b,
    L128x128b,
    L64x128bWarpx2_02_13,
    L64x128bWarpx2_01_23,
    L32x128bWarpx4,
}

/// What the source holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CopyFormat {
    /// Bytes, copied as they are.
    Plain,
    /// `.b8x16.b4x16_p64`: 16 codes of 4 bits in 8 bytes; each goes to bits 2-5 of a byte.
    FourBits,
    /// `.b8x16.b6x16_p32`: 16 codes of 6 bits in 12 bytes; each goes to bits 0-5 of a byte.
    SixBits,
}

impl CopyShape {
    /// Every shape.
    pub const ALL: [CopyShape; 6] = [
        CopyShape::L128x256b,
        CopyShape::L4x256b,
        CopyShape::L128x128b,
        CopyShape::L64x128bWarpx2_02_13,
        CopyShape::L64x128bWarpx2_01_23,
        CopyShape::L32x128bWarpx4,
    ];

    /// Rows of the source.
    pub const fn rows(self) -> u32 {
        match self {
            CopyShape::L128x256b | CopyShape::L128x128b => 128,
            CopyShape::L64x128bWarpx2_02_13 | CopyShape::L64x128bWarpx2_01_23 => 64,
            CopyShape::L32x128bWarpx4 => 32,
            CopyShape::L4x256b => 4,
        }
    }

    /// Columns that are written: four bytes of a row each.
    pub const fn columns(self) -> u32 {
        match self {
            CopyShape::L128x256b | CopyShape::L4x256b => 8,
            _ => 4,
        }
    }

    /// The lanes that a row goes to, from the lane of the address.
    pub fn lanes(self, row: u32) -> impl Iterator<Item = u32> {
        let (first, step, count) = match self {
            CopyShape::L128x256b | CopyShape::L128x128b => (row, 0, 1),
            CopyShape::L4x256b => (32 * row, 0, 1),
            CopyShape::L64x128bWarpx2_02_13 => (row, 64, 2),
            CopyShape::L64x128bWarpx2_01_23 => (row / 32 * 64 + row % 32, 32, 2),
            CopyShape::L32x128bWarpx4 => (row, 32, 4),
        };
        (0..count).map(move |copy| first + copy * step)
    }

    /// The source: bytes, K-major.
    ///
    /// # Errors
    /// When the descriptor does not go with rows of this length.
    pub fn source(self, descriptor: MatrixDescriptor) -> Result<SharedOperand, DescriptorError> {
        SharedOperand::new(descriptor, Major::K, Container::Bytes, self.rows(), 4 * self.columns())
    }
}

impl CopyFormat {
    /// Bytes of a chunk of 16 that are read.
    pub const fn used_bytes(self) -> u32 {
        match self {
            CopyFormat::Plain => 16,
            CopyFormat::FourBits => 8,
            CopyFormat::SixBits => 12,
        }
    }

    /// The four cells of a chunk of the source.
    pub fn cells(self, chunk: &[u8; 16]) -> [u32; 4] {
        let (container, shift) = match self {
            CopyFormat::Plain => (Container::Bytes, 0),
            CopyFormat::FourBits => (Container::PaddedNibbles, 2),
            CopyFormat::SixBits => (Container::PaddedSixes, 0),
        };
        let mut codes = [0; 16];
        container.unpack(chunk, &mut codes);
        let (cells, _) = codes.as_chunks::<4>();
        std::array::from_fn(|cell| (0..4).map(|byte| cells[cell][byte] << shift << (8 * byte)).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_core::descriptor::Format;
    use crate::tensor_core::packing::CellContainer;

    #[test]
    fn rows_go_to_lanes_that_do_not_overlap() {
        for shape in CopyShape::ALL {
            let mut lanes: Vec<u32> = (0..shape.rows()).flat_map(|row| shape.lanes(row)).collect();
            lanes.sort_unstable();
            let expected: Vec<u32> = if shape == CopyShape::L4x256b { vec![0, 32, 64, 96] } else { (0..128).collect() };
            assert_eq!(lanes, expected, "{shape:?}");
        }
        let lanes = |shape: CopyShape, row| shape.lanes(row).collect::<Vec<u32>>();
        assert_eq!(lanes(CopyShape::L64x128bWarpx2_02_13, 33), [33, 97]);
        assert_eq!(lanes(CopyShape::L64x128bWarpx2_01_23, 33), [65, 97]);
    }

    #[test]
    fn scale_atoms_are_512_bytes_in_order() {
        let descriptor =
            MatrixDescriptor::decode(0x0000_4008_0000_0000 | 0x100, Format::Blackwell { absolute_leading: false })
                .unwrap();
        let source = CopyShape::L32x128bWarpx4.source(descriptor).unwrap();
        let addresses: Vec<u32> = source.chunk_addresses().collect();
        assert_eq!(addresses, (0..32).map(|row| 4096 + 16 * row).collect::<Vec<u32>>());
    }

    #[test]
    fn decompressed_codes_are_where_a_multiply_looks_for_them() {
        let mut chunk = [0xee; 16];
        chunk[..8].copy_from_slice(&[0x10, 0x32, 0x54, 0x76, 0x98, 0xba, 0xdc, 0xfe]);
        let cells = CopyFormat::FourBits.cells(&chunk);
        let codes: Vec<u32> = (0..16).map(|i| CellContainer::NibbleBytes.code(cells[i / 4], i as u32 % 4)).collect();
        assert_eq!(codes, (0..16).collect::<Vec<u32>>());
        let sixes: u128 = (0..16u128).map(|code| (63 - code) << (6 * code)).sum();
        let cells = CopyFormat::SixBits.cells(&(sixes | 1 << 120).to_le_bytes());
        let codes: Vec<u32> = (0..16).map(|i| CellContainer::SixBytes.code(cells[i / 4], i as u32 % 4)).collect();
        assert_eq!(codes, (0..16).map(|code| 63 - code).collect::<Vec<u32>>());
        assert_eq!(
            CopyFormat::Plain.cells(&[1, 2, 3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]),
            [0x0403_0201, 0, 0, 0x0900_0000]
        );
    }
}
