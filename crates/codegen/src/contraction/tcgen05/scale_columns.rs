//! Block scales in tensor memory: where a round's lie, and how they get there.
//!
//! ```text
//!  columns of a round: atoms of A, then for each four scales along k the atoms of all columns of B
//!
//!  an atom takes four columns: its row r is lane r % 32 (of every quarter) and column r / 32
//! ```

use super::super::block_scaled::{ATOM, ATOM_SCALES, BlockScaled, blocks};
use super::super::short_codes;
use super::TensorAddress;
use super::schedule::Tcgen05Schedule;
use gable_ptx::meaning::{TensorCopy, TensorCopyShape, TensorKind, TensorUnpack};
use gable_ptx::{B32, EmitError, KernelBuilder, R};
use gable_tensor::DType;

/// Columns of an atom in tensor memory.
pub(super) const ATOM_COLUMNS: u32 = 4;

/// How descriptors of shared memory say that eight rows of 16 bytes follow each other without a swizzle, and their version.
const ATOM_DESCRIPTOR: u64 = 1 << 46 | (8 * 16 / 16) << 32;

/// The kind of the multiply, and the factors' codes in instruction descriptors.
pub(super) fn kind(scaled: &BlockScaled) -> (TensorKind, [u32; 2]) {
    let kind = match (scaled.packed, scaled.block) {
        (true, 16) => TensorKind::Mxf4nvf4Block16,
        (true, _) => TensorKind::Mxf4,
        (false, _) => TensorKind::Mxf8f6f4,
    };
    // Packed e2m1 is named by 1. Other codes of fewer bits than a byte have been made floats of 8.
    let is_e4m3 = |element| !scaled.packed && short_codes::float8(element).0 == DType::E4M3;
    (kind, scaled.elements.map(|element| u32::from(!is_e4m3(element))))
}

/// Where a round's scales go in tensor memory, and their copies.
pub(super) struct ScaleColumns<'a> {
    pub scaled: &'a BlockScaled,
    pub schedule: &'a Tcgen05Schedule,
}

impl ScaleColumns<'_> {
    /// Bits that the instruction descriptor of a step of 32 bytes of k has beside those of every kind: which byte of an atom's
    /// words is its first scale, and the scales' type.
    pub fn descriptor(&self, step: u32) -> u32 {
        let (_, first) = self.scaled.of_step(step);
        let ue8m0 = u32::from(self.scaled.scale == DType::UE8M0);
        first << 29 | first << 4 | ue8m0 << 23
    }

    /// Begins to copy the scales of the stage at a shared address to the columns at `to`.
    pub fn copy(&self, k: &mut KernelBuilder, stage: R<B32>, to: TensorAddress) -> Result<(), EmitError> {
        let cta_pair = self.schedule.ctas_per_tile == 2;
        let copy = TensorCopy { shape: TensorCopyShape::Lanes32Bits128, unpack: TensorUnpack::None, cta_pair };
        let first = k.add_u32(stage, self.schedule.operand_bytes());
        let first = k.shr_u32(first, 4);
        let first = k.and_b32(first, 0x3fff);
        let first = k.cvt_u64_u32(first);
        let first = k.or_b64(first, ATOM_DESCRIPTOR);
        let (along_k, blocks) = (self.scaled.per_round() / ATOM_SCALES, blocks(self.schedule.tile.n));
        for block in 0..=blocks {
            for atom in 0..along_k {
                let column = match block {
                    0 => atom * ATOM_COLUMNS,
                    _ => (along_k + atom * blocks + block - 1) * ATOM_COLUMNS,
                };
                let from = k.add_u64(first, (block * along_k + atom) * (ATOM / 16));
                k.tcgen05_cp(copy, to.at(column as i32), from)?;
            }
        }
        Ok(())
    }

    /// Where a step's scales of A and of B begin, in the columns at `from`.
    pub fn of_step(&self, k: &mut KernelBuilder, from: TensorAddress, step: u32) -> (TensorAddress, TensorAddress) {
        let (atom, _) = self.scaled.of_step(step);
        let (along_k, blocks) = (self.scaled.per_round() / ATOM_SCALES, blocks(self.schedule.tile.n));
        let a = k.add_u32(from, atom * ATOM_COLUMNS);
        let b = k.add_u32(from, (along_k + atom * blocks) * ATOM_COLUMNS);
        (a, b)
    }
}
