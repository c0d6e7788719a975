//! Where D, A and sparsity metadata lie in tensor memory: the seven data path layouts.
//!
//! | layout | instruction | lane of row `r` of a CTA | columns |
//! |---|---|---|---|
//! | A | M = 256, pair | r | n |
//! | B | M = 128, pair, dense | 64 b + r | n - b N/2, where b = n / (N/2) |
//! | C | M = 128, pair, sparse | 32 (r / 16) + r % 16 | n |
//! | D | M = 128 | r | n |
//! | E | M = 64, `.ws` | 64 b + r | n - b N/2, where b = n / (N/2) |
//! | F | M = 64 | 32 (r / 16) + r % 16 | n |
//! | G | M = 32, `.ws` | 32 b + r | n - b N/4, where b = n / (N/4) |
//!
//! The table of layouts is PTX ISA `#tcgen05-data-path-layout-organization`, whose figures the notes at hand lack: lanes are those of
//! open kernels, not measured. In layouts with banks (B, E, G) the lanes of a bank read the A of their own bank, so A in tensor memory
//! is there once for each bank; that too was not measured.

use super::instruction_descriptor::{InstructionDescriptor, Kind};

/// A data path layout, by the manual's letter.
#[expect(missing_docs, reason = "the table of the module says what each is")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DataPath {
    A,
    B,
    C,
    D,
    E,
    F,
    G,
}

impl DataPath {
    /// The layout of an instruction.
    pub fn of(instruction: &InstructionDescriptor) -> DataPath {
        let form = instruction.form;
        match (instruction.m, form.cta_group, form.weight_stationary) {
            (256, ..) => DataPath::A,
            (128, 2, _) if form.sparse => DataPath::C,
            (128, 2, _) => DataPath::B,
            (128, ..) => DataPath::D,
            (64, _, true) => DataPath::E,
            (64, _, false) => DataPath::F,
            _ => DataPath::G,
        }
    }

    /// Rows of D in each CTA.
    pub const fn rows(self) -> u32 {
        match self {
            DataPath::A | DataPath::D => 128,
            DataPath::B | DataPath::C | DataPath::E | DataPath::F => 64,
            DataPath::G => 32,
        }
    }

    /// Parts of N that lie in different lanes.
    pub const fn banks(self) -> u32 {
        match self {
            DataPath::B | DataPath::E => 2,
            DataPath::G => 4,
            DataPath::A | DataPath::C | DataPath::D | DataPath::F => 1,
        }
    }

    /// Whether an address may start at this lane.
    pub const fn starts_at(self, lane: u32) -> bool {
        lane == 0 || (lane == 16 && matches!(self, DataPath::C | DataPath::F))
    }

    /// The lane of a row in a bank, from the lane of the address.
    pub const fn lane(self, row: u32, bank: u32) -> u32 {
        match self {
            DataPath::A | DataPath::D => row,
            DataPath::B | DataPath::E => 64 * bank + row,
            DataPath::C | DataPath::F => 32 * (row / 16) + row % 16,
            DataPath::G => 32 * bank + row,
        }
    }

    /// Columns of tensor memory that D of `n` columns takes.
    pub const fn d_columns(self, n: u32) -> u32 {
        n / self.banks()
    }

    /// Lane and column of an element of D, from those of its address.
    pub const fn d_cell(self, row: u32, column: u32, n: u32) -> (u32, u32) {
        let width = self.d_columns(n);
        (self.lane(row, column / width), column % width)
    }
}

/// Where the 4-bit metadata code of a chunk of a sparse row is: lane and column from those of the metadata's address, and which nibble
/// of the cell. A chunk is 2 elements of tf32, 8 of the packed 4-bit kinds and 4 of the others, before compression.
///
/// f16 and tf32: a cell has eight codes, four each of rows `r` and `r + 8`, and the selector is its column; the others: eight codes of
/// one row in each of two columns. Figures of the manual were not at hand: this is how open kernels write it, not measured.
pub const fn metadata_cell(
    instruction: &InstructionDescriptor,
    data_path: DataPath,
    row: u32,
    chunk: u32,
) -> (u32, u32, u32) {
    match instruction.form.kind {
        Kind::F16 | Kind::Tf32 => {
            let lane = data_path.lane(row / 16 * 16, 0) + chunk / 4 * 8 + row % 8;
            (lane, instruction.sparsity_selector, row % 16 / 8 * 4 + chunk % 4)
        }
        _ => (data_path.lane(row, 0), chunk / 8, chunk % 8),
    }
}

/// Columns of metadata that a sparse instruction may read.
pub const METADATA_COLUMNS: u32 = 2;

/// Chunks of a sparse row, each with one code.
pub const fn metadata_chunks(instruction: &InstructionDescriptor) -> u32 {
    match instruction.form.kind {
        Kind::Tf32 => instruction.k / 2,
        Kind::Mxf4 | Kind::Mxf4nvf4 => instruction.k / 8,
        _ => instruction.k / 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tensor_core::tcgen05::instruction_descriptor::Form;

    fn decoded(bits: u32, cta_group: u32, sparse: bool, weight_stationary: bool) -> InstructionDescriptor {
        let form = Form { kind: Kind::F16, cta_group, sparse, weight_stationary, scale_vector: None, k96: false };
        InstructionDescriptor::decode(bits, form).unwrap()
    }

    /// bf16 into f32, N = 128.
    fn with_m(m: u32, cta_group: u32, sparse: bool, weight_stationary: bool) -> InstructionDescriptor {
        decoded(0x0020_0490 | m >> 4 << 24 | u32::from(sparse) << 2, cta_group, sparse, weight_stationary)
    }

    #[test]
    fn the_layout_follows_from_the_instruction() {
        assert_eq!(DataPath::of(&with_m(256, 2, false, false)), DataPath::A);
        assert_eq!(DataPath::of(&with_m(128, 2, false, false)), DataPath::B);
        assert_eq!(DataPath::of(&with_m(128, 2, true, false)), DataPath::C);
        assert_eq!(DataPath::of(&with_m(128, 1, false, false)), DataPath::D);
        assert_eq!(DataPath::of(&with_m(128, 1, false, true)), DataPath::D);
        assert_eq!(DataPath::of(&with_m(64, 1, false, true)), DataPath::E);
        assert_eq!(DataPath::of(&with_m(64, 1, true, false)), DataPath::F);
        assert_eq!(DataPath::of(&with_m(32, 1, false, true)), DataPath::G);
    }

    #[test]
    fn every_element_of_d_has_a_cell_of_its_own() {
        let all = [DataPath::A, DataPath::B, DataPath::C, DataPath::D, DataPath::E, DataPath::F, DataPath::G];
        for data_path in all {
            let n = 128;
            let mut cells = std::collections::BTreeSet::new();
            for row in 0..data_path.rows() {
                for column in 0..n {
                    let (lane, column) = data_path.d_cell(row, column, n);
                    assert!(lane < 128 && column < data_path.d_columns(n), "{data_path:?}");
                    assert!(cells.insert((lane, column)), "{data_path:?}");
                }
            }
            // The layouts that use all lanes fill their columns.
            if !matches!(data_path, DataPath::C | DataPath::F) {
                assert_eq!(cells.len() as u32, 128 * data_path.d_columns(n), "{data_path:?}");
            }
        }
    }

    #[test]
    fn half_layouts_use_sixteen_lanes_of_each_quarter() {
        let lanes = [0, 15, 16, 31, 48, 63].map(|row| DataPath::F.lane(row, 0));
        assert_eq!(lanes, [0, 15, 32, 47, 96, 111]);
        assert!(DataPath::F.starts_at(16) && !DataPath::D.starts_at(16) && !DataPath::F.starts_at(32));
    }

    #[test]
    fn metadata_of_sixteen_bit_rows_shares_cells_between_rows_eight_apart() {
        let instruction = with_m(128, 1, true, false);
        assert_eq!(metadata_chunks(&instruction), 8);
        let mut codes = std::collections::BTreeSet::new();
        for row in 0..128 {
            for chunk in 0..8 {
                assert!(codes.insert(metadata_cell(&instruction, DataPath::D, row, chunk)));
            }
        }
        assert_eq!(codes.len(), 128 * 8);
        assert_eq!(metadata_cell(&instruction, DataPath::D, 8, 0), (0, 0, 4));
        assert_eq!(metadata_cell(&instruction, DataPath::D, 17, 5), (16 + 8 + 1, 0, 1));
    }
}
