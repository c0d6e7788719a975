//! Codes of fewer bits than a byte that become floats of 8 bits in the stage that they have arrived in, by the warps that bring
//! scales.
//!
//! ```text
//!  a byte for each                                       two to a byte: rows of 64 bytes in the first half of the factor's part
//!  +-------------+  in place, 16 bytes by a thread       +------+------+  all read to registers | all threads meet |
//!  | rows of 128 |                                       |rows of 64   |  written as rows of 128 bytes, swizzled
//!  +-------------+                                       +------+------+
//! ```
//! The bytes of a stage are counted by barriers of their own, `arrivals`; the stage is full when all these warps have arrived.

use super::block_scaled::{ATOM_ROWS, Short};
use super::boxes::SPAN;
use super::problem::{ContractionError, Side};
use super::ring::{Position, Ring};
use super::schedule::Tile;
use super::short_codes;
use super::tile::{CHUNK, SharedTile, slot};
use gable_ptx::{B32, KernelBuilder, R};

/// Threads that change codes: those that bring scales.
const THREADS: u32 = ATOM_ROWS;

/// The named barrier at which they meet; 0 is the whole CTA's.
const MEETING: u32 = 1;

/// Chunks of a row where two elements share a byte.
const PACKED_CHUNKS: u32 = SPAN / 2 / CHUNK;

/// The change of the codes of a tile.
pub(super) struct Widening<'a> {
    arrivals: &'a Ring,
    /// The factors, and where each lies in a stage: the first byte, and how many rows.
    parts: Vec<(Short, u32, u32)>,
}

impl<'a> Widening<'a> {
    /// That of the factors `short` of what a round brings.
    pub fn of(short: impl Iterator<Item = Short>, arrivals: &'a Ring, brought: Tile) -> Widening<'a> {
        let part = |short: Short| match short.side {
            Side::A => (short, 0, brought.m),
            _ => (short, brought.m * SPAN, brought.n),
        };
        Widening { arrivals, parts: short.map(part).collect() }
    }

    /// Where its threads begin to wait.
    pub fn first(&self, k: &mut KernelBuilder) -> Position {
        self.arrivals.first_to_read(k)
    }

    /// Changes the share of one thread of a stage, when it has arrived.
    pub fn run(
        &self,
        k: &mut KernelBuilder,
        thread: R<B32>,
        stage: R<B32>,
        at: Position,
    ) -> Result<(), ContractionError> {
        self.arrivals.wait_full(k, at);
        for &(short, start, rows) in &self.parts {
            let part = k.add_u32(stage, start);
            if short.pairs {
                unpack(k, thread, part, rows);
            } else {
                widen(k, short, thread, part, rows * SPAN);
            }
        }
        self.arrivals.advance(k, at);
        Ok(())
    }
}

/// Changes codes in place.
fn widen(k: &mut KernelBuilder, short: Short, thread: R<B32>, part: R<B32>, bytes: u32) {
    const AT_ONCE: u32 = THREADS * CHUNK;
    let first = k.mad_lo_u32(thread, CHUNK, part);
    let together = [4, 2].into_iter().find(|count| (bytes / AT_ONCE).is_multiple_of(*count)).unwrap_or(1);
    k.no_unroll();
    k.for_u32(0, bytes, together * AT_ONCE, |k, offset| {
        let place = k.add_u32(first, offset);
        let chunks: Vec<_> = (0..together).map(|i| k.ld_shared_v4_b32(place.at((i * AT_ONCE) as i32))).collect();
        for (i, words) in (0..).zip(chunks) {
            let words = words.map(|word| short_codes::widened(k, short.element, word));
            k.st_shared_v4_b32(place.at((i * AT_ONCE) as i32), words);
        }
    });
}

/// Spreads rows of two codes to a byte over twice the room.
fn unpack(k: &mut KernelBuilder, thread: R<B32>, part: R<B32>, rows: u32) {
    // Rows that all threads read at once are whole patterns of the swizzle.
    const ROWS: u32 = THREADS / PACKED_CHUNKS;
    let from = k.mad_lo_u32(thread, CHUNK, part);
    let row = k.shr_u32(thread, PACKED_CHUNKS.trailing_zeros());
    let packed = k.and_b32(thread, PACKED_CHUNKS - 1);
    let turn = SharedTile { rows, row_bytes: SPAN }.turn(k, row);
    let line = k.mad_lo_u32(row, SPAN, part);
    let slots: [R<B32>; 2] = [0, 1].map(|half| {
        let chunk = k.mad_lo_u32(packed, 2, half);
        slot(k, chunk, turn, line)
    });
    let steps = rows.div_ceil(ROWS);
    let exists = |k: &mut KernelBuilder, step: u32| {
        let last = (step + 1) * ROWS;
        (last > rows).then(|| k.setp_lt_u32(row, rows - step * ROWS))
    };
    let mut read = Vec::with_capacity(steps as usize);
    for step in 0..steps {
        let place = from.at((step * ROWS * SPAN / 2) as i32);
        let words: [R<B32>; 4] = match exists(k, step) {
            None => k.ld_shared_v4_b32(place),
            Some(exists) => {
                let words = [(); 4].map(|()| k.mov_b32(0));
                k.if_(exists, |k| {
                    let found = k.ld_shared_v4_b32(place);
                    for (word, found) in words.into_iter().zip(found) {
                        k.set(word).mov_b32(found);
                    }
                });
                words
            }
        };
        read.push(words);
    }
    // What one thread writes others have read.
    k.bar_sync_count(MEETING, THREADS);
    for (step, words) in (0..steps).zip(read) {
        let at = (step * ROWS * SPAN) as i32;
        let put = |k: &mut KernelBuilder| {
            for (slot, pair) in slots.iter().zip(words.chunks(2)) {
                let [a, b] = short_codes::unpacked(k, pair[0]);
                let [c, d] = short_codes::unpacked(k, pair[1]);
                k.st_shared_v4_b32(slot.at(at), [a, b, c, d]);
            }
        };
        match exists(k, step) {
            None => put(k),
            Some(exists) => k.if_(exists, put),
        }
    }
}
