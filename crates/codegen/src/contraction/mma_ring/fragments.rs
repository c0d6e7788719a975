//! Fragments of `mma.sync` from a stage that the copy engine has filled.
//!
//! ```text
//! k-major: rows of 128 bytes of k               outer-major (16 bits): boxes of 64 outer indices by 64 k, k by k
//!   `ldmatrix`: a lane names 16 bytes of a row     `ldmatrix.trans`: a lane names eight outer indices of a k
//! ```
//! The four matrices of a load are the halves of 16 outer indices by the halves of a step, ordered so that the registers are
//! A's fragment, or B's fragments of eight columns twice.

use super::super::boxes::SPAN;
use super::super::mma_sync::fragment_offsets;
use super::super::operands::STEP;
use super::super::problem::{Major, Side};
use super::super::tile::{CHUNK, SharedTile};
use gable_ptx::{B32, KernelBuilder, R};

/// Outer indices of a box whose rows run along them, and its bytes: 64 k of so many.
const BOX_OUTER: u32 = 64;
const BOX: u32 = BOX_OUTER * SPAN;

/// k of a step, where rows run along the outer index.
const STEP_ROWS: u32 = STEP / 2;

/// Where a lane reads the fragments of one operand.
pub(super) struct Fragments {
    major: Major,
    /// Offsets in a stage: for each step of k, or for each 16 outer indices.
    offsets: Vec<R<B32>>,
}

impl Fragments {
    /// Those of `outer` outer indices from `origin` on, of the operand that begins `start` bytes after its stage.
    pub fn new(
        k: &mut KernelBuilder,
        side: Side,
        major: Major,
        (origin, outer): (R<B32>, u32),
        lane: R<B32>,
        start: u32,
    ) -> Fragments {
        let offsets = match major {
            Major::K => {
                let tile = SharedTile { rows: outer, row_bytes: SPAN };
                fragment_offsets(k, &tile, major, side, (origin, outer), lane)
            }
            Major::Outer => across(k, side, (origin, outer), lane),
        };
        let offsets = offsets.into_iter().map(|offset| k.add_u32(offset, start)).collect();
        Fragments { major, offsets }
    }

    /// Addresses in the stage at `stage`.
    pub fn at_stage(&self, k: &mut KernelBuilder, stage: R<B32>) -> Vec<R<B32>> {
        self.offsets.iter().map(|&offset| k.add_u32(offset, stage)).collect()
    }

    /// The fragments of the 16 outer indices of that number at a step, from a stage's addresses.
    pub fn load(&self, k: &mut KernelBuilder, addresses: &[R<B32>], fragment: u32, step: u32) -> [R<B32>; 4] {
        match self.major {
            Major::K => k.ldmatrix_x4(addresses[step as usize].at((fragment * 16 * SPAN) as i32)),
            Major::Outer => k.ldmatrix_x4_trans(addresses[fragment as usize].at((step * STEP_ROWS * SPAN) as i32)),
        }
    }
}

/// Offsets where rows run along the outer index.
fn across(k: &mut KernelBuilder, side: Side, (origin, outer): (R<B32>, u32), lane: R<B32>) -> Vec<R<B32>> {
    let tile = SharedTile { rows: BOX_OUTER, row_bytes: SPAN };
    let in_eight = k.and_b32(lane, 7);
    let eighth = k.shr_u32(lane, 3);
    let (low, high) = (k.and_b32(eighth, 1), k.shr_u32(eighth, 1));
    // Of the matrix's number, A counts outer halves fastest, B counts k halves fastest.
    let (outer_half, k_half) = match side {
        Side::A => (low, high),
        _ => (high, low),
    };
    let row = k.mad_lo_u32(k_half, 8, in_eight);
    let first = k.mad_lo_u32(outer_half, 8, origin);
    (0..outer / 16)
        .map(|fragment| {
            let index = k.add_u32(first, fragment * 16);
            let (number, within) = (k.shr_u32(index, BOX_OUTER.trailing_zeros()), k.and_b32(index, BOX_OUTER - 1));
            let chunk = k.shr_u32(within, (CHUNK / 2).trailing_zeros());
            let offset = tile.offset(k, row, chunk);
            k.mad_lo_u32(number, BOX, offset)
        })
        .collect()
}
