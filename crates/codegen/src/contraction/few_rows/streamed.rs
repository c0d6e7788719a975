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
//! columns ([`copies`]). Scales of B come beside them, a column's by one lane for the whole warp.
//!
//! Where a warp's steps are the same for every group of columns and few, it loads its rows of A once (*held*). A long k is split
//! between the CTAs of a cluster as between the warps of one: the warps of all of them take turns along k. Partial sums are
//! added by [`super::join`], two slabs in turn as in `fragments`; by further warps ([`joiners`]), if there are any, so that
//! those that multiply never wait for each other.
//!
//! Past the end of k both factors are zero. Rows and columns past the last read the last one and are not stored.

mod copies;
mod joiners;
pub(super) mod rule;
pub(super) mod schedule;

use super::super::cta::{Cta, digits};
use super::super::gather::entry_start;
use super::super::problem::{ContractionError, Operand, Part, Problem, Side};
use super::super::schedule::WARP;
use super::super::surround::Surround;
use super::format::Format;
use super::fragments::multiply_add;
use super::scales::Scales;
use super::schedule::{FragmentsSchedule, GROUP_ROWS, STEP_BYTES, TILE_COLUMNS};
use super::source::{CHUNK_BYTES, Chunk, Source};
use super::table::Table;
pub(super) use copies::scale_bytes;
use copies::{Copies, HALF_BYTES, Place, Scaling, place_in_slot};
use gable_ptx::{B32, B64, F32, KernelBuilder, R};
use joiners::Joiners;
use schedule::StreamedSchedule;

/// Halves of a step.
const HALVES: u32 = STEP_BYTES / HALF_BYTES;

/// What a warp that multiplies has for the whole kernel.
struct Streamed<'a> {
    problem: &'a Problem,
    schedule: StreamedSchedule,
    format: Format,
    a: Source,
    copies: Copies,
    table: Option<Table>,
    /// The lane's bytes of k of B in the warp's first step.
    lane_bytes: R<B32>,
    /// The lane's row of each group of rows, at the lane's k.
    rows: Vec<R<B64>>,
    /// Where the lane's chunks of column `g` lie in the first step of the warp's ring, for each half.
    from: [R<B32>; 2],
}

/// Who the thread is.
#[derive(Clone, Copy)]
struct Thread {
    /// In the CTA.
    number: R<B32>,
    lane: R<B32>,
    /// In the CTA.
    warp: R<B32>,
}

/// What a CTA has to do.
struct Work {
    batch: Vec<R<B32>>,
    /// The first group of columns, and how many the batch entry has.
    group: R<B32>,
    groups: u32,
    /// Start of dynamic shared memory.
    shared: R<B32>,
    /// Of elements of four bits.
    table: Option<Table>,
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &StreamedSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    k.required_threads(schedule.threads(), 1, 1);
    if schedule.split > 1 {
        k.required_cluster(schedule.split, 1, 1);
    }
    // One CTA has a multiprocessor: registers are not saved for more.
    k.min_ctas_per_sm(1);
    let number = k.tid_x();
    let lane = k.and_b32(number, WARP - 1);
    let warp = k.shr_u32(number, WARP.trailing_zeros());
    let thread = Thread { number, lane, warp };
    let cluster = if schedule.split > 1 { k.clusterid_x() } else { k.ctaid_x() };
    let split = digits(k, cluster, &[problem.batches(), schedule.clusters() as usize]);
    let (entry, group) = (split[0], k.mov_b32(split[1]));
    let batch = digits(k, entry, &problem.batch);
    let shared = k.dynamic_shared(schedule::SHARED_ALIGNMENT);
    let shared = k.address_of_shared(&shared);
    let format = Format::of(problem);
    let table = (format.bits() == 4).then(|| {
        let start = k.add_u32(shared, schedule.table_at(problem));
        Table::at(k, start, lane)
    });
    let work = Work { batch, group, groups: schedule.groups(problem), shared, table };
    if schedule.joiners == 0 {
        let kernel = Streamed::new(k, problem, schedule, thread, &work, surround)?;
        return kernel.walk(k, thread, &work, None, surround);
    }
    let joiners = Joiners::new(k, problem, schedule, shared);
    let multiplies = k.label("multiply");
    let is_multiplier = k.setp_lt_u32(warp, schedule.warps);
    k.bra_if(is_multiplier, &multiplies);
    let joiner = k.sub_u32(warp, schedule.warps);
    let first = k.setp_eq_u32(number, schedule.warps * WARP);
    k.if_(first, |k| joiners.init(k));
    k.bar_warp_sync(-1);
    if schedule.split > 1 {
        k.cluster_arrive();
    }
    if let Some(table) = &work.table {
        table.write(k, format, warp, schedule.warps + schedule.joiners)?;
    }
    k.bar_sync(0u32);
    if schedule.split > 1 {
        // Others send to this CTA's barriers only after they are there.
        k.cluster_wait();
    }
    joiners.run(k, (lane, joiner), (work.group, work.groups), &work.batch, surround)?;
    k.exit();
    k.place(&multiplies);
    if schedule.split > 1 {
        k.cluster_arrive();
    }
    let kernel = Streamed::new(k, problem, schedule, thread, &work, surround)?;
    kernel.walk(k, thread, &work, Some(&joiners), surround)
}

impl<'a> Streamed<'a> {
    /// Finds the factors of the batch entry, and the warp's part of them.
    fn new(
        k: &mut KernelBuilder,
        problem: &'a Problem,
        schedule: &StreamedSchedule,
        thread: Thread,
        work: &Work,
        surround: &mut dyn Surround,
    ) -> Result<Streamed<'a>, ContractionError> {
        let stored = match (&problem.b, &problem.quantised) {
            (Operand::Memory(b), _) => Some(b),
            (_, quantised) => quantised.as_ref().map(|quantised| &quantised.stored),
        };
        let (Operand::Memory(a), Some(b)) = (&problem.a, stored) else {
            return Err(ContractionError::NotTiled(format!("{problem}: fragments are loaded from memory")));
        };
        let format = Format::of(problem);
        let per_byte = 16 / format.bits();
        let Thread { lane, warp, .. } = thread;
        let lane_column = k.shr_u32(lane, 2);
        let quarter = k.and_b32(lane, 3);
        let quarter_bytes = k.mul_lo_u32(quarter, CHUNK_BYTES);
        // Warps of the cluster take turns along k.
        let turn = if schedule.split > 1 {
            let rank = k.cluster_ctarank();
            k.mad_lo_u32(rank, schedule.warps, warp)
        } else {
            warp
        };
        let lane_bytes = k.mad_lo_u32(turn, STEP_BYTES, quarter_bytes);

        let mut starts = Vec::new();
        for &side in problem.rights() {
            let start = match problem.operand(side) {
                Operand::Memory(_) => surround.pointer(k, side, &work.batch)?,
                Operand::Expression { .. } => surround.quantised(k, side, Part::Stored, &work.batch)?,
            };
            starts.push(entry_start(k, b, start));
        }
        let a_start = surround.pointer(k, Side::A, &work.batch)?;
        let a_start = entry_start(k, a, a_start);
        let a_start = k.mad_wide_u32(lane_bytes, per_byte, a_start);
        let (a, b) = (Source::new(a, 16, Side::A), Source::new(b, format.bits(), Side::B));
        let rows = (0..FragmentsSchedule::row_groups(problem)).map(|group| {
            let row = k.add_u32(lane_column, group * GROUP_ROWS);
            let row = k.min_u32(row, problem.m as u32 - 1);
            k.mad_wide_u32(row, a.row_bytes, a_start)
        });
        let rows = rows.collect();

        let rings = k.add_u32(work.shared, schedule.rings_at(problem));
        let ring = k.mad_lo_u32(warp, schedule.ring_bytes(problem), rings);
        let place = Place { lane, warp: turn, ring };
        let scaling = match &problem.quantised {
            Some(quantised) if quantised.scales.is_some() && format.bits() < 16 => {
                let unfit = || ContractionError::NotTiled(format!("{problem}: groups of scales do not fit a step"));
                let scales = Scales::of(quantised, CHUNK_BYTES * 8 / format.bits()).ok_or_else(unfit)?;
                let bytes = scale_bytes(problem).ok_or_else(unfit)?;
                let mut starts = Vec::new();
                for &side in problem.rights() {
                    starts.push(surround.quantised(k, side, Part::Scales, &work.batch)?);
                }
                Some(Scaling::new(k, (scales, bytes), (problem, schedule), place, &starts))
            }
            _ => None,
        };
        let second = k.add_u32(quarter_bytes, HALF_BYTES);
        Ok(Streamed {
            problem,
            schedule: *schedule,
            format,
            a,
            copies: Copies::new(k, (problem, schedule), place, (&starts, b.row_bytes), scaling),
            table: work.table,
            lane_bytes,
            rows,
            from: [quarter_bytes, second].map(|bytes| place_in_slot(k, ring, lane_column, bytes)),
        })
    }

    /// All groups of columns of the CTA.
    fn walk(
        &self,
        k: &mut KernelBuilder,
        thread: Thread,
        work: &Work,
        joiners: Option<&Joiners<'_>>,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let (problem, schedule) = (self.problem, self.schedule);
        // Rows first: they would wait behind everything that is under way. A warp's steps of a group:
        let count = schedule.group_steps(problem);
        let held = if schedule.held {
            let along = k.mov_b32(0);
            (0..count).map(|step| self.load_rows(k, along, step)).collect::<Result<Vec<_>, ContractionError>>()?
        } else {
            Vec::new()
        };
        let cursor = self.copies.cursor(k, work.group);
        for _ in 0..schedule.steps {
            self.copies.start(k, &cursor);
        }
        let sums: Vec<Vec<[R<F32>; 4]>> = (0..schedule.tiles)
            .map(|_| self.rows.iter().map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect())
            .collect();
        // The first copies are on their way meanwhile.
        if let Some(table) = &self.table {
            table.write(k, self.format, thread.warp, schedule.warps + schedule.joiners)?;
        }
        if self.table.is_some() || joiners.is_some() {
            k.bar_sync(0u32);
        }
        if schedule.split > 1 {
            k.cluster_wait();
        }
        let slabs = schedule.slabs();
        let slab = k.mov_b32(work.shared);
        let high = k.add_u32(work.shared, slabs.all_bytes(problem));
        let both = k.add_u32(work.shared, high);
        let turn = joiners.map(|joiners| joiners.ring.first_to_fill(k));
        let is_first = k.setp_eq_u32(thread.lane, 0);
        let read = k.mov_b32(0);
        let (loop_head, done) = (k.label("groups"), k.label("done"));
        k.no_unroll();
        k.place(&loop_head);
        if schedule.held {
            for rows in &held {
                self.step(k, rows, read, &sums)?;
                self.copies.start(k, &cursor);
            }
        } else {
            let along = k.mov_b32(0);
            k.no_unroll();
            k.for_u32(0u32, count, 1u32, |k, _| -> Result<(), ContractionError> {
                let rows = self.load_rows(k, along, 0)?;
                self.step(k, &rows, read, &sums)?;
                self.copies.start(k, &cursor);
                k.set(along).add_u32(along, schedule.all_warps() * STEP_BYTES);
                Ok(())
            })?;
        }
        match (joiners, turn) {
            (Some(joiners), Some(turn)) => {
                let full = joiners.ring.wait_empty(k, turn);
                let slab = joiners.ring.stage(k, turn);
                slabs.write(k, problem, (thread.warp, thread.lane), slab, &sums);
                k.bar_warp_sync(-1);
                joiners.ring.fill(k, full, is_first);
                joiners.ring.advance(k, turn);
            }
            _ => {
                slabs.write(k, problem, (thread.warp, thread.lane), slab, &sums);
                // Every warp's partial sums are there before any are added. A slab is written again two groups later, past
                // another barrier, which no thread reaches before it has read this one.
                k.bar_sync(0u32);
                let Thread { number, lane, warp } = thread;
                let column = k.mul_lo_u32(work.group, schedule.columns());
                let row = k.mov_b32(0);
                let cta = Cta { thread: number, lane, warp, batch: work.batch.clone(), row, column, end: None };
                slabs.join(k, problem, &cta, (slab, schedule.warps * WARP), surround)?;
                k.set(slab).sub_u32(both, slab);
            }
        }
        k.set(work.group).add_u32(work.group, schedule.clusters());
        let goes_on = k.setp_lt_u32(work.group, work.groups);
        k.bra_unless(goes_on, &done);
        for &sum in sums.iter().flatten().flatten() {
            k.set(sum).mov_f32(0.0);
        }
        k.bra(loop_head);
        k.place(&done);
        k.exit();
        Ok(())
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
        let ahead = step * self.schedule.all_warps() * STEP_BYTES;
        let starts: Vec<R<B64>> = self.rows.iter().map(|&row| k.mad_wide_u32(along, per_byte, row)).collect();
        let mut halves = Vec::new();
        for half in 0..HALVES {
            let bytes = ahead + half * HALF_BYTES;
            let inside = self.copies.is_ragged_k().then(|| {
                let position = k.add_u32(along, self.lane_bytes);
                let position = k.add_u32(position, bytes);
                k.setp_lt_u32(position, self.copies.k_bytes())
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
            let scales = self.copies.scaling.as_ref().map(|scaling| k.add_u32(scaling.from[half as usize], read));
            let mut columns = Vec::new();
            for i in 0..2 * self.schedule.tiles {
                let at = from.at((i * TILE_COLUMNS / 2 * STEP_BYTES) as i32);
                let words = k.ld_shared_v4_b32(at);
                let pairs = match &self.table {
                    Some(table) => table.pairs(k, words),
                    None => self.format.pairs(k, words)?,
                };
                columns.push(match (&self.copies.scaling, scales) {
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
        self.copies.next_slot(k, read);
        Ok(())
    }
}
