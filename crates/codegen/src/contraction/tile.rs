//! Tiles in shared memory: rows of 16-byte chunks, swizzled so that eight rows of one chunk column lie in all 32 banks.
//!
//! ```text
//! rows of 64 bytes             rows of 128 bytes
//! row 0  0 1 2 3               row 0  0 1 2 3 4 5 6 7
//! row 1  0 1 2 3               row 1  1 0 3 2 5 4 7 6
//! row 2  1 0 3 2               row 2  2 3 0 1 6 7 4 5
//! row 3  1 0 3 2               ...                        chunk c of a row lies in slot c ^ (row's number mod slots)
//! ```
//!
//! `ldmatrix` reads eight rows of a chunk column at once, and a store of neighbouring chunks writes whole rows: neither
//! meets a bank twice. The pattern repeats every eight rows, so rows a multiple of that apart differ by a constant offset.

use super::schedule::WARP;
use gable_ptx::{B32, KernelBuilder, Pred, R, Src};

/// Bytes of a chunk: the most that one access moves.
pub(super) const CHUNK: u32 = 16;

/// Bytes of shared memory that all banks together deliver at once.
const BANKS: u32 = 128;

/// Rows after which the pattern repeats, whatever their length: chunks of a row times rows of a line of banks.
pub(super) const PERIOD: u32 = BANKS / CHUNK;

/// A swizzled tile.
#[derive(Clone, Copy, Debug)]
pub(super) struct SharedTile {
    /// Rows.
    pub rows: u32,
    /// Bytes of a row, a power of two from 32 up.
    pub row_bytes: u32,
}

impl SharedTile {
    /// Chunks of a row.
    pub fn chunks(&self) -> u32 {
        self.row_bytes / CHUNK
    }

    /// Byte offset of a chunk.
    pub fn offset(&self, k: &mut KernelBuilder, row: R<B32>, chunk: R<B32>) -> R<B32> {
        let turn = self.turn(k, row);
        let start = k.mul_lo_u32(row, self.row_bytes);
        slot(k, chunk, turn, start)
    }

    /// What the chunks of a row are turned by.
    pub fn turn(&self, k: &mut KernelBuilder, row: R<B32>) -> R<B32> {
        // Rows shorter than the banks share a line: only every second or fourth row turns the pattern.
        let rows_of_line = BANKS / self.row_bytes.min(BANKS);
        let line = if rows_of_line == 1 { row } else { k.shr_u32(row, rows_of_line.trailing_zeros()) };
        k.and_b32(line, self.chunks().min(BANKS / CHUNK) - 1)
    }
}

/// Where a chunk of a row lies that begins at `start` and is turned so.
pub(super) fn slot(k: &mut KernelBuilder, chunk: R<B32>, turn: impl Into<Src<B32>>, start: R<B32>) -> R<B32> {
    let slot = k.xor_b32(chunk, turn);
    k.mad_lo_u32(slot, CHUNK, start)
}

/// Which chunks of a tile a thread moves: `count` of them, in one column, `row_step` rows apart.
pub(super) struct Share {
    /// Chunks of the thread.
    pub count: u32,
    /// Rows between them.
    pub row_step: u32,
    /// Row of the first.
    pub row: R<B32>,
    /// Column of all.
    pub column: R<B32>,
    /// Which threads have one, where there are fewer chunks than threads.
    pub active: Option<R<Pred>>,
}

impl Share {
    /// Divides `rows` of `columns` chunks among `threads`; neighbouring threads take neighbouring columns.
    pub fn of(k: &mut KernelBuilder, thread: R<B32>, rows: u32, columns: u32, threads: u32) -> Share {
        let total = rows * columns;
        assert!(columns.is_power_of_two() && threads.is_multiple_of(WARP), "tiles are cut at powers of two");
        let row = k.shr_u32(thread, columns.trailing_zeros());
        let column = k.and_b32(thread, columns - 1);
        if total < threads {
            let active = k.setp_lt_u32(thread, total);
            return Share { count: 1, row_step: rows, row, column, active: Some(active) };
        }
        assert!(total.is_multiple_of(threads) && threads >= columns, "a tile divides evenly among the threads");
        Share { count: total / threads, row_step: threads / columns, row, column, active: None }
    }
}
