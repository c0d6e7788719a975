//! The way of B's columns and scales from memory into the rings of the warps.
//!
//! ```text
//!  a slot of the ring: the halves of the tiles, 8 columns each, then the scales of the same columns
//!  +----------------+----------------+--   --+------------------+
//!  | columns 0 - 7  | columns 8 - 15 |  ..   | scales, a column |
//!  | product 0      | product 0 or 1 |       | after the other  |
//!  +----------------+----------------+--   --+------------------+
//! ```
//!
//! A copy of a warp brings whole lines of four columns. Two products share the halves: which columns a half has, and of which
//! product, is [`half_of_tile`]. Of odd columns the halves of a line change places, so that eight lanes that read together meet
//! no bank twice.

use super::super::super::problem::Problem;
use super::super::super::schedule::WARP;
use super::super::format::Format;
use super::super::scales::Scales;
use super::super::schedule::{STEP_BYTES, TILE_COLUMNS, half_of_tile};
use super::super::source::CHUNK_BYTES;
use super::schedule::StreamedSchedule;
use gable_ptx::{B32, B64, KernelBuilder, Pred, R};

/// Bytes along k that the four lanes of a column read at once.
pub(super) const HALF_BYTES: u32 = STEP_BYTES / 2;

/// Columns of a half of a tile.
const HALF_COLUMNS: u32 = TILE_COLUMNS / 2;

/// Chunks of a column in a step, and columns that a warp copies at once.
const CHUNKS: u32 = STEP_BYTES / CHUNK_BYTES;
const COPIED_COLUMNS: u32 = WARP / CHUNKS;

/// Bytes of a column's scales in a step, if they can be copied so; 0 where there are none.
pub(in super::super) fn scale_bytes(problem: &Problem) -> Option<u32> {
    let format = Format::of(problem);
    let Some(quantised) = problem.quantised.as_ref().filter(|_| format.bits() < 16) else { return Some(0) };
    let Some(memory) = &quantised.scales else { return Some(0) };
    let bits = format.bits();
    let scales = Scales::of(quantised, CHUNK_BYTES * 8 / bits)?;
    let bytes = scales.bytes_of(STEP_BYTES * 8 / bits)?;
    (matches!(bytes, 4 | 8 | 16) && scales.is_aligned(memory, bytes)).then_some(bytes)
}

/// The warp's ring, and where the lane is among those that read it.
#[derive(Clone, Copy)]
pub(super) struct Place {
    /// Lane of the warp.
    pub lane: R<B32>,
    /// The warp's number in its cluster.
    pub warp: R<B32>,
    /// Address of the warp's ring.
    pub ring: R<B32>,
}

/// The scales of B and where they are.
pub(super) struct Scaling {
    pub scales: Scales,
    /// Bytes of a column's in a step.
    pub bytes: u32,
    /// Bytes of a column's altogether.
    of_column: u32,
    /// Start of the batch entry's, of the product whose column the lane copies.
    start: R<B64>,
    /// The column of a group whose scales the lane copies.
    column: R<B32>,
    /// Bytes from the start of a column's scales to those of the warp's first step.
    first: R<B32>,
    /// Whether the lane copies a column's; absent where all do.
    copies: Option<R<Pred>>,
    /// Where the lane's copy goes in a step of the ring.
    to: R<B32>,
    /// Where the scales of the lane's first chunk of column `g` lie in a step of the ring, for each half.
    pub from: [R<B32>; 2],
}

/// What brings the columns: constant for the whole kernel.
pub(super) struct Copies {
    schedule: StreamedSchedule,
    /// Columns of the result.
    columns: u32,
    /// Bytes of a column of B along k, and from one to the next.
    k_bytes: u32,
    column_bytes: u32,
    slot_bytes: u32,
    /// Bytes along k of all steps of a group.
    group_bytes: u32,
    /// Clusters of a batch entry, and groups of columns.
    clusters: u32,
    groups: u32,
    /// The first of the columns of a group that the lane copies.
    copied_column: R<B32>,
    /// The bytes of k that the lane copies in the warp's first step.
    copied_bytes: R<B32>,
    /// For each product, start of the batch entry of B at those.
    starts: Vec<R<B64>>,
    /// Where they go in the first step of the warp's ring.
    to: R<B32>,
    pub scaling: Option<Scaling>,
}

/// Where the next copies come from.
pub(super) struct Cursor {
    group: R<B32>,
    /// Bytes along k, without the warp's and the lane's.
    along: R<B32>,
    /// Of the columns that the lane copies: where none is past the last, of the first one of each product only.
    columns: Vec<R<B64>>,
    /// Of the scales of the column whose scales the lane copies.
    scales: Option<R<B64>>,
    /// Whether the group is one of the CTA's.
    more: R<Pred>,
    /// The step of the ring that they go to, in bytes from its start.
    slot: R<B32>,
}

/// Where 16 bytes at `bytes` of the line of a column lie in the ring's first slot.
pub(super) fn place_in_slot(k: &mut KernelBuilder, ring: R<B32>, column: R<B32>, bytes: R<B32>) -> R<B32> {
    let odd = k.and_b32(column, 1);
    let turned = k.mul_lo_u32(odd, HALF_BYTES);
    let bytes = k.xor_b32(bytes, turned);
    let within = k.mad_lo_u32(column, STEP_BYTES, bytes);
    k.add_u32(ring, within)
}

impl Scaling {
    /// The scales of a problem that has some which can be copied. `starts` are those of the batch entry's scales, for each
    /// product.
    pub fn new(
        k: &mut KernelBuilder,
        (scales, bytes): (Scales, u32),
        (problem, schedule): (&Problem, &StreamedSchedule),
        place: Place,
        starts: &[R<B64>],
    ) -> Scaling {
        let bits = Format::of(problem).bits();
        let columns = schedule.tiles * TILE_COLUMNS;
        let area = k.add_u32(place.ring, schedule.step_bytes());
        let (quarter, lane_column) = (k.and_b32(place.lane, 3), k.shr_u32(place.lane, 2));
        let of_chunk = |k: &mut KernelBuilder, half: u32| {
            let chunk = k.add_u32(quarter, half * HALF_BYTES / CHUNK_BYTES);
            let element = k.mul_lo_u32(chunk, CHUNK_BYTES * 8 / bits);
            let within = scales.place_of(k, element);
            let within = k.mad_lo_u32(lane_column, bytes, within);
            k.add_u32(area, within)
        };
        let from = [of_chunk(k, 0), of_chunk(k, 1)];
        // Lanes have the columns of the slot in order: which of a group those are depends on the products.
        let within = k.and_b32(place.lane, HALF_COLUMNS - 1);
        let half = k.shr_u32(place.lane, HALF_COLUMNS.trailing_zeros());
        let distance = k.shr_u32(half, (schedule.products - 1).min(1));
        let column = k.mad_lo_u32(distance, HALF_COLUMNS, within);
        let start = match *starts {
            [first, second] => {
                let odd = k.and_b32(half, 1);
                let is_first = k.setp_eq_u32(odd, 0);
                k.selp_b64(first, second, is_first)
            }
            _ => starts[0],
        };
        Scaling {
            bytes,
            of_column: scales.bytes_of_all(problem.k as u32),
            start,
            column,
            first: k.mul_lo_u32(place.warp, bytes),
            copies: (columns < WARP).then(|| k.setp_lt_u32(place.lane, columns)),
            to: k.mad_lo_u32(place.lane, bytes, area),
            from,
            scales,
        }
    }
}

impl Copies {
    /// The copies of a warp. `starts` are those of the batch entry of B, for each product; `column_bytes` lie between columns.
    pub fn new(
        k: &mut KernelBuilder,
        (problem, schedule): (&Problem, &StreamedSchedule),
        place: Place,
        (starts, column_bytes): (&[R<B64>], u32),
        scaling: Option<Scaling>,
    ) -> Copies {
        let chunk = k.and_b32(place.lane, CHUNKS - 1);
        let chunk_bytes = k.mul_lo_u32(chunk, CHUNK_BYTES);
        let copied_bytes = k.mad_lo_u32(place.warp, STEP_BYTES, chunk_bytes);
        let wide = k.cvt_u64_u32(copied_bytes);
        let starts = starts.iter().map(|&start| k.add_u64(start, wide)).collect();
        let copied_column = k.shr_u32(place.lane, CHUNKS.trailing_zeros());
        Copies {
            schedule: *schedule,
            columns: problem.n as u32,
            k_bytes: (problem.k as u64 * u64::from(Format::of(problem).bits()) / 8) as u32,
            column_bytes,
            slot_bytes: schedule.slot_bytes(problem),
            group_bytes: schedule.group_steps(problem) * schedule.all_warps() * STEP_BYTES,
            clusters: schedule.clusters(),
            groups: schedule.groups(problem),
            copied_column,
            copied_bytes,
            starts,
            to: place_in_slot(k, place.ring, copied_column, chunk_bytes),
            scaling,
        }
    }

    /// Bytes of a column of B along k.
    pub fn k_bytes(&self) -> u32 {
        self.k_bytes
    }

    /// Whether some warp has a step past the end of k, or half inside.
    pub fn is_ragged_k(&self) -> bool {
        self.k_bytes != self.group_bytes
    }

    /// Whether some group has columns past the last.
    fn is_ragged_n(&self) -> bool {
        !self.columns.is_multiple_of(self.schedule.columns())
    }

    /// Copies of a step, of a warp.
    fn count(&self) -> u32 {
        self.schedule.tiles * TILE_COLUMNS / COPIED_COLUMNS
    }

    /// The product of a copy, and the first of its columns in the group.
    fn columns_of(&self, copy: u32) -> (u32, u32) {
        let first = copy * COPIED_COLUMNS;
        let (product, distance) = half_of_tile(first / HALF_COLUMNS, self.schedule.products);
        (product, distance + first % HALF_COLUMNS)
    }

    /// A cursor at the first step of a group.
    pub fn cursor(&self, k: &mut KernelBuilder, group: R<B32>) -> Cursor {
        let columns = if self.is_ragged_n() { self.count() } else { self.schedule.products };
        let cursor = Cursor {
            group: k.mov_b32(group),
            along: k.mov_b32(0),
            columns: (0..columns).map(|_| k.fresh()).collect(),
            scales: self.scaling.is_some().then(|| k.fresh()),
            more: k.setp_lt_u32(group, self.groups),
            slot: k.mov_b32(0),
        };
        self.set_columns(k, &cursor);
        cursor
    }

    /// Writes the addresses of the cursor's group.
    fn set_columns(&self, k: &mut KernelBuilder, cursor: &Cursor) {
        let last = self.columns - 1;
        let group = k.mul_lo_u32(cursor.group, self.schedule.columns());
        let first = k.add_u32(group, self.copied_column);
        for (i, &address) in (0..).zip(&cursor.columns) {
            let (product, column) = if self.is_ragged_n() {
                let (product, distance) = self.columns_of(i);
                let column = k.add_u32(first, distance);
                (product, k.min_u32(column, last))
            } else {
                (i, first)
            };
            k.set(address).mad_wide_u32(column, self.column_bytes, self.starts[product as usize]);
        }
        if let (Some(address), Some(scaling)) = (cursor.scales, &self.scaling) {
            let column = k.add_u32(group, scaling.column);
            let column = k.min_u32(column, last);
            scaling.scales.set_column(k, address, column, scaling.start);
        }
    }

    /// Starts copies of the cursor's step, one group of copies, and moves it on.
    pub fn start(&self, k: &mut KernelBuilder, cursor: &Cursor) {
        let to = k.add_u32(self.to, cursor.slot);
        let along = k.cvt_u64_u32(cursor.along);
        let columns: Vec<R<B64>> = cursor.columns.iter().map(|&column| k.add_u64(column, along)).collect();
        let read = self.is_ragged_k().then(|| {
            let position = k.add_u32(cursor.along, self.copied_bytes);
            let inside = k.setp_lt_u32(position, self.k_bytes);
            k.selp_b32(CHUNK_BYTES, 0, inside)
        });
        for i in 0..self.count() {
            let (base, offset) = if self.is_ragged_n() {
                (columns[i as usize], 0)
            } else {
                let (product, distance) = self.columns_of(i);
                (columns[product as usize], u64::from(distance) * u64::from(self.column_bytes))
            };
            // The offset of an address has 31 bits.
            let source = match i32::try_from(offset) {
                Ok(offset) => base.at(offset),
                Err(_) => k.add_u64(base, offset).at(0),
            };
            let to = to.at((i * COPIED_COLUMNS * STEP_BYTES) as i32);
            k.when(cursor.more, |k| match read {
                Some(read) => k.cp_async_cg_zfill(to, source, CHUNK_BYTES, read),
                None => k.cp_async_cg(to, source, CHUNK_BYTES),
            });
        }
        self.start_scales(k, cursor);
        k.cp_async_commit_group();

        self.next_slot(k, cursor.slot);
        k.set(cursor.along).add_u32(cursor.along, self.schedule.all_warps() * STEP_BYTES);
        let ends = k.setp_eq_u32(cursor.along, self.group_bytes);
        k.when(ends, |k| {
            k.set(cursor.along).mov_b32(0);
            k.set(cursor.group).add_u32(cursor.group, self.clusters);
            k.set(cursor.more).setp_lt_u32(cursor.group, self.groups);
            self.set_columns(k, cursor);
        });
    }

    /// From a slot of the ring to the one after it.
    pub fn next_slot(&self, k: &mut KernelBuilder, slot: R<B32>) {
        k.set(slot).add_u32(slot, self.slot_bytes);
        let ends = k.setp_eq_u32(slot, self.schedule.steps * self.slot_bytes);
        k.when(ends, |k| k.set(slot).mov_b32(0));
    }

    /// Starts the copy of the scales of the lane's column.
    fn start_scales(&self, k: &mut KernelBuilder, cursor: &Cursor) {
        let (Some(scaling), Some(column)) = (&self.scaling, cursor.scales) else { return };
        // The warp's steps are so many times as far apart in bytes of scales as in bytes of elements.
        let along = k.shr_u32(cursor.along, STEP_BYTES.trailing_zeros());
        let place = k.mad_lo_u32(along, scaling.bytes, scaling.first);
        let wide = k.cvt_u64_u32(place);
        let source = k.add_u64(column, wide);
        let to = k.add_u32(scaling.to, cursor.slot);
        let active = match scaling.copies {
            Some(copies) => k.and_pred(copies, cursor.more),
            None => cursor.more,
        };
        let read = self.is_ragged_k().then(|| {
            // What is past the last scale of the column belongs to another one and might be no number.
            let all = scaling.of_column;
            let place = k.min_u32(place, all);
            let left = k.sub_u32(all, place);
            k.min_u32(left, scaling.bytes)
        });
        k.when(active, |k| match (scaling.bytes, read) {
            (CHUNK_BYTES, Some(read)) => k.cp_async_cg_zfill(to.at(0), source.at(0), CHUNK_BYTES, read),
            (CHUNK_BYTES, None) => k.cp_async_cg(to.at(0), source.at(0), CHUNK_BYTES),
            (bytes, Some(read)) => k.cp_async_ca_zfill(to.at(0), source.at(0), bytes, read),
            (bytes, None) => k.cp_async_ca(to.at(0), source.at(0), bytes),
        });
    }
}
