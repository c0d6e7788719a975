//! Few rows on the tensor cores, with columns of B on their way through shared memory.
//!
//! ```text
//!   a warp's ring                            B, columns of a group            A, rows of the lane
//!  +--------+--------+--   --+--------+       |  cp.async, steps ahead         |  held in registers for the
//!  | step i | i + 1  |  ..   | i + n-1| <-----+                               |  whole kernel, or loaded
//!  +---+----+--------+--   --+--------+                                       |  when their step is due
//!      |  its words, unpacked in registers                                    |
//!      +--------------------------> mma.sync <--------------------------------+
//! ```
//!
//! Fragments are those of [`super::fragments`]: 16 neighbouring bytes of a column are the fragments of a lane as they come. Here
//! a warp copies its step to shared memory, whole lines of four columns at once, and reads it back as fragments, so that no
//! other warp is waited for, and what is under way takes no registers: a warp has steps ahead across the borders of groups of
//! columns. Of odd columns the halves of a line change places, so that eight lanes that read together meet no bank twice. Scales
//! of B come beside them, a column's by one lane for the whole warp.
//!
//! Where a warp's steps are the same for every group of columns and few, it loads its rows of A once (*held*). Partial sums are
//! added by [`super::join`], two slabs in turn as in `fragments`.
//!
//! Past the end of k both factors are zero. Rows and columns past the last read the last one and are not stored.

use super::super::cta::{Cta, digits};
use super::super::gather::entry_start;
use super::super::problem::{ContractionError, Operand, Part, Problem, Side};
use super::super::schedule::WARP;
use super::super::surround::Surround;
use super::format::Format;
use super::fragments::multiply_add;
use super::join::Slabs;
use super::scales::Scales;
use super::schedule::{FragmentsSchedule, GROUP_ROWS, STEP_BYTES, StreamedSchedule, TILE_COLUMNS};
use super::source::{CHUNK_BYTES, Chunk, Source};
use super::table::Table;
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R};

/// Halves of a step, and bytes along k that the four lanes of a column load at once.
const HALVES: u32 = 2;
const HALF_BYTES: u32 = STEP_BYTES / HALVES;

/// Chunks of a column in a step, and columns that a warp copies at once.
const CHUNKS: u32 = STEP_BYTES / CHUNK_BYTES;
const COPIED_COLUMNS: u32 = WARP / CHUNKS;

/// Bytes of a step's columns in a warp's ring.
pub(super) const fn step_bytes(tiles: u32) -> u32 {
    tiles * TILE_COLUMNS * STEP_BYTES
}

/// Bytes of a column's scales in a step, if they can be copied so; 0 where there are none.
pub(super) fn scale_bytes(problem: &Problem) -> Option<u32> {
    let format = Format::of(problem);
    let Some(quantised) = problem.quantised.as_ref().filter(|_| format.bits() < 16) else { return Some(0) };
    let Some(memory) = &quantised.scales else { return Some(0) };
    let bits = format.bits();
    let scales = Scales::of(quantised, CHUNK_BYTES * 8 / bits)?;
    let bytes = scales.bytes_of(STEP_BYTES * 8 / bits)?;
    (matches!(bytes, 4 | 8 | 16) && scales.is_aligned(memory, bytes)).then_some(bytes)
}

/// The scales of B and where they are.
struct Scaling {
    scales: Scales,
    /// Bytes of a column's in a step.
    bytes: u32,
    /// Bytes of a column's altogether.
    of_column: u32,
    /// Start of the batch entry's.
    start: R<B64>,
    /// Bytes from the start of a column's scales to those of the warp's first step.
    first: R<B32>,
    /// Whether the lane copies a column's; absent where all do.
    copies: Option<R<Pred>>,
    /// Where the lane's copy goes in a step of the ring.
    to: R<B32>,
    /// Where the scales of the lane's first chunk of column `g` lie in a step of the ring, for each half.
    from: [R<B32>; 2],
}

/// Where the next copies come from.
struct Cursor {
    group: R<B32>,
    /// Bytes along k, without the warp's and the lane's.
    along: R<B32>,
    /// Of the columns that the lane copies: where none is past the last, of the first one only.
    columns: Vec<R<B64>>,
    /// Of the scales of the column whose scales the lane copies.
    scales: Option<R<B64>>,
    /// Whether the group is one of the CTA's.
    more: R<Pred>,
    /// The step of the ring that they go to, in bytes from its start.
    slot: R<B32>,
}

struct Streamed<'a> {
    problem: &'a Problem,
    schedule: StreamedSchedule,
    format: Format,
    a: Source,
    b: Source,
    table: Option<Table>,
    scaling: Option<Scaling>,
    /// The lane's bytes of k of B in the warp's first step.
    lane_bytes: R<B32>,
    /// The lane's row of each group of rows, at the lane's k.
    rows: Vec<R<B64>>,
    /// The first of the columns of a group that the lane copies.
    copied_column: R<B32>,
    /// The bytes of k that the lane copies in the warp's first step.
    copied_bytes: R<B32>,
    /// Start of the batch entry of B at those.
    b_start: R<B64>,
    /// Where they go in the first step of the warp's ring.
    to: R<B32>,
    /// Where the lane's chunks of column `g` lie there, for each half.
    from: [R<B32>; 2],
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &StreamedSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let stored = match (&problem.b, &problem.quantised) {
        (Operand::Memory(b), _) => Some(b),
        (_, quantised) => quantised.as_ref().map(|quantised| &quantised.stored),
    };
    let (Operand::Memory(a), Some(b)) = (&problem.a, stored) else {
        return Err(ContractionError::NotTiled(format!("{problem}: fragments are loaded from memory")));
    };
    let threads = schedule.warps * WARP;
    k.required_threads(threads, 1, 1);
    // One CTA has a multiprocessor: registers are not saved for more.
    k.min_ctas_per_sm(1);
    let groups = schedule.groups(problem);
    let thread = k.tid_x();
    let lane = k.and_b32(thread, WARP - 1);
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let number = k.ctaid_x();
    let split = digits(k, number, &[problem.batches(), schedule.ctas as usize]);
    let (entry, group) = (split[0], k.mov_b32(split[1]));
    let batch = digits(k, entry, &problem.batch);

    let shared = k.dynamic_shared(128);
    let shared = k.address_of_shared(&shared);
    let format = Format::of(problem);
    let per_byte = 16 / format.bits();
    let lane_column = k.shr_u32(lane, 2);
    let quarter = k.and_b32(lane, 3);
    let quarter_bytes = k.mul_lo_u32(quarter, CHUNK_BYTES);
    let lane_bytes = k.mad_lo_u32(warp, STEP_BYTES, quarter_bytes);

    let b_start = match &problem.b {
        Operand::Memory(_) => surround.pointer(k, Side::B, &batch)?,
        Operand::Expression { .. } => surround.quantised(k, Side::B, Part::Stored, &batch)?,
    };
    let b_start = entry_start(k, b, b_start);
    let chunk = k.and_b32(lane, CHUNKS - 1);
    let chunk_bytes = k.mul_lo_u32(chunk, CHUNK_BYTES);
    let copied_bytes = k.mad_lo_u32(warp, STEP_BYTES, chunk_bytes);
    let wide = k.cvt_u64_u32(copied_bytes);
    let b_start = k.add_u64(b_start, wide);
    let a_start = surround.pointer(k, Side::A, &batch)?;
    let a_start = entry_start(k, a, a_start);
    let a_start = k.mad_wide_u32(lane_bytes, per_byte, a_start);
    let (a, b) = (Source::new(a, 16, Side::A), Source::new(b, format.bits(), Side::B));
    let rows = (0..FragmentsSchedule::row_groups(problem)).map(|group| {
        let row = k.add_u32(lane_column, group * GROUP_ROWS);
        let row = k.min_u32(row, problem.m as u32 - 1);
        k.mad_wide_u32(row, a.row_bytes, a_start)
    });
    let rows = rows.collect();

    let rings = k.add_u32(shared, schedule.slabs_bytes(problem));
    let own = k.mad_lo_u32(warp, schedule.steps * schedule.slot_bytes(problem), rings);
    let scaling = match &problem.quantised {
        Some(quantised) if quantised.scales.is_some() && format.bits() < 16 => {
            let unfit = || ContractionError::NotTiled(format!("{problem}: groups of scales do not fit a step"));
            let bits = format.bits();
            let scales = Scales::of(quantised, CHUNK_BYTES * 8 / bits).ok_or_else(unfit)?;
            let bytes = scale_bytes(problem).ok_or_else(unfit)?;
            let columns = schedule.columns();
            let start = surround.quantised(k, Side::B, Part::Scales, &batch)?;
            let area = k.add_u32(own, step_bytes(schedule.tiles));
            let of_chunk = |k: &mut KernelBuilder, half: u32| {
                let chunk = k.add_u32(quarter, half * HALF_BYTES / CHUNK_BYTES);
                let element = k.mul_lo_u32(chunk, CHUNK_BYTES * 8 / bits);
                let place = scales.place_of(k, element);
                let place = k.mad_lo_u32(lane_column, bytes, place);
                k.add_u32(area, place)
            };
            Some(Scaling {
                bytes,
                of_column: scales.bytes_of_all(problem.k as u32),
                start,
                first: k.mul_lo_u32(warp, bytes),
                copies: (columns < WARP).then(|| k.setp_lt_u32(lane, columns)),
                to: k.mad_lo_u32(lane, bytes, area),
                from: [of_chunk(k, 0), of_chunk(k, 1)],
                scales,
            })
        }
        _ => None,
    };
    let copied_column = k.shr_u32(lane, CHUNKS.trailing_zeros());
    let place = |k: &mut KernelBuilder, column: R<B32>, bytes: R<B32>| {
        let odd = k.and_b32(column, 1);
        let turned = k.mul_lo_u32(odd, HALF_BYTES);
        let bytes = k.xor_b32(bytes, turned);
        let within = k.mad_lo_u32(column, STEP_BYTES, bytes);
        k.add_u32(own, within)
    };
    let second = k.add_u32(quarter_bytes, HALF_BYTES);
    let table = (format.bits() == 4).then(|| {
        let start = k.add_u32(rings, schedule.warps * schedule.steps * schedule.slot_bytes(problem));
        Table::at(k, start, lane)
    });
    let kernel = Streamed {
        problem,
        schedule: *schedule,
        format,
        a,
        b,
        table,
        scaling,
        lane_bytes,
        rows,
        copied_column,
        copied_bytes,
        b_start,
        to: place(k, copied_column, chunk_bytes),
        from: [place(k, lane_column, quarter_bytes), place(k, lane_column, second)],
    };
    kernel.walk(k, (thread, lane, warp), (group, groups), (shared, &batch), surround)
}

impl Streamed<'_> {
    /// All groups of columns of the CTA.
    fn walk(
        &self,
        k: &mut KernelBuilder,
        (thread, lane, warp): (R<B32>, R<B32>, R<B32>),
        (group, groups): (R<B32>, u32),
        (shared, batch): (R<B32>, &[R<B32>]),
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let (problem, schedule) = (self.problem, self.schedule);
        let scaled = self.scaling.is_some();
        let columns = if self.is_ragged_n() { schedule.columns() / COPIED_COLUMNS } else { 1 };
        let cursor = Cursor {
            group: k.mov_b32(group),
            along: k.mov_b32(0),
            columns: (0..columns).map(|_| k.fresh()).collect(),
            scales: scaled.then(|| k.fresh()),
            more: k.setp_lt_u32(group, groups),
            slot: k.mov_b32(0),
        };
        // Rows first: they would wait behind everything that is under way. A warp's steps of a group:
        let count = schedule.group_steps(problem);
        let held = if schedule.held {
            let along = k.mov_b32(0);
            (0..count).map(|step| self.load_rows(k, along, step)).collect::<Result<Vec<_>, ContractionError>>()?
        } else {
            Vec::new()
        };
        self.set_columns(k, &cursor);
        for _ in 0..schedule.steps {
            self.copy(k, &cursor, groups);
        }
        let sums: Vec<Vec<[R<F32>; 4]>> = (0..schedule.tiles)
            .map(|_| self.rows.iter().map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect())
            .collect();
        // The first copies are on their way meanwhile.
        if let Some(table) = &self.table {
            table.write(k, self.format, warp, schedule.warps)?;
            k.bar_sync(0u32);
        }
        let slabs =
            Slabs { warps: schedule.warps, columns: schedule.columns(), products: 1, pitch: schedule.slab_pitch() };
        let slab = k.mov_b32(shared);
        let high = k.add_u32(shared, schedule.slabs_bytes(problem) / 2);
        let both = k.add_u32(shared, high);
        let read = k.mov_b32(0);
        let (loop_head, done) = (k.label("groups"), k.label("done"));
        k.no_unroll();
        k.place(&loop_head);
        if schedule.held {
            for rows in &held {
                self.step(k, rows, read, &sums)?;
                self.copy(k, &cursor, groups);
            }
        } else {
            let along = k.mov_b32(0);
            k.no_unroll();
            k.for_u32(0u32, count, 1u32, |k, _| -> Result<(), ContractionError> {
                let rows = self.load_rows(k, along, 0)?;
                self.step(k, &rows, read, &sums)?;
                self.copy(k, &cursor, groups);
                k.set(along).add_u32(along, schedule.warps * STEP_BYTES);
                Ok(())
            })?;
        }
        slabs.write(k, problem, (warp, lane), slab, &sums);
        // Every warp's partial sums are there before any are added. A slab is written again two groups later, past another
        // barrier, which no thread reaches before it has read this one.
        k.bar_sync(0u32);
        let column = k.mul_lo_u32(group, schedule.columns());
        let cta = Cta { thread, lane, warp, batch: batch.to_vec(), row: k.mov_b32(0), column, end: None };
        slabs.join(k, problem, &cta, (slab, schedule.warps * WARP), surround)?;
        k.set(group).add_u32(group, schedule.ctas);
        let goes_on = k.setp_lt_u32(group, groups);
        k.bra_unless(goes_on, &done);
        for &sum in sums.iter().flatten().flatten() {
            k.set(sum).mov_f32(0.0);
        }
        k.set(slab).sub_u32(both, slab);
        k.bra(loop_head);
        k.place(&done);
        k.exit();
        Ok(())
    }

    /// Bytes of a column of B along k.
    fn k_bytes(&self) -> u32 {
        (self.problem.k as u64 * u64::from(self.format.bits()) / 8) as u32
    }

    /// Whether some warp has a step past the end of k, or half inside.
    fn is_ragged_k(&self) -> bool {
        self.k_bytes() != STEP_BYTES * self.schedule.warps * self.schedule.group_steps(self.problem)
    }

    /// Whether some group has columns past the last.
    fn is_ragged_n(&self) -> bool {
        !self.problem.n.is_multiple_of(self.schedule.columns() as usize)
    }

    /// Writes the addresses of the cursor's group.
    fn set_columns(&self, k: &mut KernelBuilder, cursor: &Cursor) {
        let last = self.problem.n as u32 - 1;
        let first = k.mul_lo_u32(cursor.group, self.schedule.columns());
        for (i, &address) in (0..).zip(&cursor.columns) {
            let column = k.add_u32(first, self.copied_column);
            let column = k.add_u32(column, i * COPIED_COLUMNS);
            let column = if self.is_ragged_n() { k.min_u32(column, last) } else { column };
            k.set(address).mad_wide_u32(column, self.b.row_bytes, self.b_start);
        }
        if let (Some(address), Some(scaling)) = (cursor.scales, &self.scaling) {
            let lane = k.laneid();
            let column = k.add_u32(first, lane);
            let column = k.min_u32(column, last);
            scaling.scales.set_column(k, address, column, scaling.start);
        }
    }

    /// Starts copies of the cursor's step, one group of copies, and moves it on.
    fn copy(&self, k: &mut KernelBuilder, cursor: &Cursor, groups: u32) {
        let to = k.add_u32(self.to, cursor.slot);
        let along = k.cvt_u64_u32(cursor.along);
        let columns: Vec<R<B64>> = cursor.columns.iter().map(|&column| k.add_u64(column, along)).collect();
        let read = self.is_ragged_k().then(|| {
            let position = k.add_u32(cursor.along, self.copied_bytes);
            let inside = k.setp_lt_u32(position, self.k_bytes());
            k.selp_b32(CHUNK_BYTES, 0, inside)
        });
        for i in 0..self.schedule.columns() / COPIED_COLUMNS {
            let (base, rows) = match columns[..] {
                [first] => (first, i * COPIED_COLUMNS),
                _ => (columns[i as usize], 0),
            };
            let offset = u64::from(rows) * u64::from(self.b.row_bytes);
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
        self.copy_scales(k, cursor);
        k.cp_async_commit_group();

        let slots = self.schedule.steps * self.schedule.slot_bytes(self.problem);
        self.next_slot(k, cursor.slot, slots);
        k.set(cursor.along).add_u32(cursor.along, self.schedule.warps * STEP_BYTES);
        let end = self.schedule.group_steps(self.problem) * self.schedule.warps * STEP_BYTES;
        let ends = k.setp_eq_u32(cursor.along, end);
        k.when(ends, |k| {
            k.set(cursor.along).mov_b32(0);
            k.set(cursor.group).add_u32(cursor.group, self.schedule.ctas);
            k.set(cursor.more).setp_lt_u32(cursor.group, groups);
            self.set_columns(k, cursor);
        });
    }

    /// The slot after this one of so many bytes of slots.
    fn next_slot(&self, k: &mut KernelBuilder, slot: R<B32>, slots: u32) {
        k.set(slot).add_u32(slot, self.schedule.slot_bytes(self.problem));
        let ends = k.setp_eq_u32(slot, slots);
        k.when(ends, |k| k.set(slot).mov_b32(0));
    }

    /// Starts the copy of the scales of the lane's column.
    fn copy_scales(&self, k: &mut KernelBuilder, cursor: &Cursor) {
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

    /// Loads the rows of A of a step, `along` bytes of B and `step` steps of the warp on: for each half and group of rows its
    /// words.
    fn load_rows(
        &self,
        k: &mut KernelBuilder,
        along: R<B32>,
        step: u32,
    ) -> Result<Vec<Vec<Vec<R<B32>>>>, ContractionError> {
        let per_byte = 16 / self.format.bits();
        let ahead = step * self.schedule.warps * STEP_BYTES;
        let starts: Vec<R<B64>> = self.rows.iter().map(|&row| k.mad_wide_u32(along, per_byte, row)).collect();
        let mut halves = Vec::new();
        for half in 0..HALVES {
            let bytes = ahead + half * HALF_BYTES;
            let inside = self.is_ragged_k().then(|| {
                let position = k.add_u32(along, self.lane_bytes);
                let position = k.add_u32(position, bytes);
                k.setp_lt_u32(position, self.k_bytes())
            });
            let mut groups = Vec::new();
            for &start in &starts {
                let mut words = Vec::new();
                for c in 0..per_byte {
                    let chunk: Chunk = self.a.chunk(k);
                    let offset = u64::from(bytes) * u64::from(per_byte) + u64::from(c * CHUNK_BYTES);
                    self.a.load(k, (start, offset), &chunk, inside.is_some(), |_, _| inside)?;
                    words.extend(self.a.words(k, &chunk));
                }
                groups.push(words);
            }
            halves.push(groups);
        }
        Ok(halves)
    }

    /// Waits for the step in the ring at `read`, adds its products to the sums, and moves on.
    fn step(
        &self,
        k: &mut KernelBuilder,
        rows: &[Vec<Vec<R<B32>>>],
        read: R<B32>,
        sums: &[Vec<[R<F32>; 4]>],
    ) -> Result<(), ContractionError> {
        k.cp_async_wait_group(self.schedule.steps - 1);
        // Other lanes' copies too.
        k.bar_warp_sync(-1);
        for (half, rows) in (0..).zip(rows) {
            let from = k.add_u32(self.from[half as usize], read);
            let scales = self.scaling.as_ref().map(|scaling| k.add_u32(scaling.from[half as usize], read));
            let mut columns = Vec::new();
            for i in 0..2 * self.schedule.tiles {
                let at = from.at((i * TILE_COLUMNS / 2 * STEP_BYTES) as i32);
                let words = k.ld_shared_v4_b32(at);
                let pairs = match &self.table {
                    Some(table) => table.pairs(k, words),
                    None => self.format.pairs(k, words)?,
                };
                columns.push(match (&self.scaling, scales) {
                    (Some(scaling), Some(scales)) => {
                        let of_column = k.add_u32(scales, i * TILE_COLUMNS / 2 * scaling.bytes);
                        scaling.scales.apply_shared(k, self.format, of_column, &pairs)?
                    }
                    _ => pairs,
                });
            }
            for (group, row) in rows.iter().enumerate() {
                for (tile, sums) in columns.chunks(2).zip(sums) {
                    multiply_add(k, self.problem.element, [&tile[0], &tile[1]], row, sums[group]);
                }
            }
        }
        // Every lane has read the step before it is overwritten.
        k.bar_warp_sync(-1);
        self.next_slot(k, read, self.schedule.steps * self.schedule.slot_bytes(self.problem));
        Ok(())
    }
}
