//! Pairs of four-bit elements by a table in shared memory: a byte of B, which is two elements, becomes a pair of the
//! factors' type by one look-up.
//!
//! ```text
//!             lane 0   lane 1  ..  lane 31
//!   byte 0   | pair   | pair  | .. | pair  |  128 bytes of no use  |
//!   byte 1   | pair   | pair  | .. | pair  |
//!    ..
//! ```
//!
//! Each lane has a column of its own in a bank of its own, so no two lanes of a warp meet in a bank, whatever bytes they look
//! up. Rows are 256 bytes apart: an address is a byte of the stored word beside the lane's number, which one `prmt` makes.

use super::super::problem::ContractionError;
use super::super::schedule::WARP;
use super::format::Format;
use gable_ptx::{B32, KernelBuilder, R};

/// Bytes from one row to the next.
const ROW_BYTES: u32 = 256;

/// Values of a byte.
const ROWS: u32 = 256;

/// Rows that a warp writes at once, so that none waits for the one before.
const TOGETHER: u32 = 4;

/// Bytes of shared memory; the last row ends with its last pair.
pub(super) const TABLE_BYTES: u32 = ROWS * ROW_BYTES - 128;

/// The table, as a lane sees it.
#[derive(Clone, Copy)]
pub(super) struct Table {
    /// Its start in shared memory.
    start: R<B32>,
    /// Bytes from a row's start to the lane's pair.
    lane: R<B32>,
}

impl Table {
    /// The table that begins at `start`, before it is written.
    pub fn at(k: &mut KernelBuilder, start: R<B32>, lane: R<B32>) -> Table {
        Table { start, lane: k.mul_lo_u32(lane, 4) }
    }

    /// Writes it, each of the CTA's warps some rows. A barrier of the CTA must follow.
    pub fn write(
        &self,
        k: &mut KernelBuilder,
        format: Format,
        warp: R<B32>,
        warps: u32,
    ) -> Result<(), ContractionError> {
        let first = k.mad_lo_u32(warp, TOGETHER * ROW_BYTES, self.start);
        let to = k.add_u32(first, self.lane);
        k.no_unroll();
        k.for_u32(warp, ROWS / TOGETHER, warps, |k, rows| {
            let byte = k.mul_lo_u32(rows, TOGETHER);
            for row in 0..TOGETHER {
                let byte = k.add_u32(byte, row);
                // The first element's code begins the low half, the second one's the high half.
                let second = k.shl_b32(byte, 12);
                let codes = k.or_b32(byte, second);
                let pair = format.pair_of_codes(k, codes, 0)?;
                k.st_shared_b32(to.at((row * ROW_BYTES) as i32), pair);
            }
            k.set(to).add_u32(to, warps * TOGETHER * ROW_BYTES);
            Ok(())
        })
    }

    /// The words of a chunk as pairs of neighbouring elements, in order.
    pub fn pairs(&self, k: &mut KernelBuilder, words: [R<B32>; 4]) -> Vec<R<B32>> {
        let look_up = |k: &mut KernelBuilder, word: R<B32>, byte: u32| {
            // The lane's offset is less than 128, so its other bytes are zero.
            let offset = k.prmt_b32(self.lane, word, 0x1100 | (4 + byte) << 4);
            let address = k.add_u32(offset, self.start);
            k.ld_shared_b32(address.at(0))
        };
        words
            .into_iter()
            .flat_map(|word| (0..4).map(move |byte| (word, byte)))
            .map(|(word, byte)| look_up(k, word, byte))
            .collect()
    }
}

const _: () = assert!(WARP * 4 <= ROW_BYTES / 2, "the bytes of a row that lanes use leave its upper half free");
