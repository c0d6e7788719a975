//! Few rows on the tensor cores: both factors along k, from memory straight into fragments.
//!
//! ```text
//!               k: 128 bytes are a step of a warp                        the product of a warp and a step
//!             | warp 0 | warp 1 | .. | warp 0 | ..
//!            +--------+--------+    +                          A^T   k x 8 rows
//!   column g |t0t1t2t3|t0t1t2t3 ...                                 +--------+
//!     of B   |t0t1t2t3|                               B  16 columns |        |
//!            |  ..    |                                 +-----------+--------+
//!  column g+8|t0t1t2t3|                                 |  16 x k   | 16 x 8 |  sums, in registers
//!            +--------+                                 +-----------+--------+
//! ```
//!
//! Lane `4 g + t` loads 16 neighbouring bytes of column `g` of B, 16 of column `g + 8`, and those of row `g` of A at the
//! same k. Which k stands at which place of a fragment does not matter as long as both factors agree, so four 32-bit
//! words as they come are the fragments of two products: no shared memory, no `ldmatrix`, no shuffle. A load of B covers
//! half a line of the cache in eight columns, its neighbour the other half.
//!
//! A warp has `depth` steps under way: as soon as a step's registers have been multiplied they are loaded anew, for the
//! step `depth * warps` steps further on, or for the first steps of the next group of columns. So memory stays busy while
//! the partial sums of a group, `[warp, row, column]` in shared memory, are added ([`super::join`]); two slabs take turns, so
//! that one barrier per group is enough. Past the end of k both factors are zero; past the last row A's are; columns past
//! the last read the last one and are not stored.

use super::super::cta::{Cta, digits};
use super::super::gather::entry_start;
use super::super::problem::{ContractionError, Memory, Operand, Problem, Side};
use super::super::schedule::WARP;
use super::super::surround::Surround;
use super::join::Slabs;
use super::schedule::{FragmentsSchedule, GROUP_ROWS, STEP_BYTES, TILE_COLUMNS};
use super::source::{Chunk, Source};
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R};
use gable_tensor::DType;

/// Bytes along k that the four lanes of a column load at once.
const HALF_BYTES: u32 = STEP_BYTES / 2;

/// The registers of one step under way.
struct Step {
    /// Of B, for both halves of the step: two columns per tile.
    columns: [Vec<Chunk>; 2],
    /// Of A, for both halves: one row per group of rows.
    rows: [Vec<Chunk>; 2],
}

/// What the kernel's parts share.
struct Fragments<'a> {
    problem: &'a Problem,
    schedule: FragmentsSchedule,
    a: Source,
    b: Source,
    /// The lane's column of a tile and row of a group: its number over 4.
    lane_row: R<B32>,
    /// Start of the lane's row of A in group 0, and of the batch entry of B, both at the lane's bytes of k.
    a_start: R<B64>,
    b_start: R<B64>,
    /// The lane's bytes of k in the warp's first step.
    lane_bytes: R<B32>,
    /// Whether the lane has a row in the last group of rows; absent where all have.
    has_last_row: Option<R<Pred>>,
    steps: Vec<Step>,
    /// Per tile and group of rows.
    sums: Vec<Vec<[R<F32>; 4]>>,
}

/// Where the loads of an iteration go.
struct At<'a> {
    /// Per column of the lane.
    columns: &'a [R<B64>],
    /// Bytes along k of the iteration's first step, without the lane's.
    along: R<B32>,
    /// Whether there is anything to load.
    more: Option<R<Pred>>,
}

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FragmentsSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let (Operand::Memory(a), Operand::Memory(b)) = (&problem.a, &problem.b) else {
        return Err(ContractionError::NotTiled(format!("{problem}: fragments are loaded from memory")));
    };
    let threads = schedule.warps * WARP;
    k.required_threads(threads, 1, 1);
    let groups = schedule.groups(problem);
    let thread = k.tid_x();
    let lane = k.and_b32(thread, WARP - 1);
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let number = k.ctaid_x();
    let split = digits(k, number, &[problem.batches(), schedule.ctas as usize]);
    let (entry, group) = (split[0], k.mov_b32(split[1]));
    let batch = digits(k, entry, &problem.batch);
    let start = |k: &mut KernelBuilder, memory: &Memory, side, surround: &mut dyn Surround| {
        let pointer = surround.pointer(k, side, &batch)?;
        Ok::<_, ContractionError>(entry_start(k, memory, pointer))
    };
    let (a_start, b_start) = (start(k, a, Side::A, surround)?, start(k, b, Side::B, surround)?);

    let lane_row = k.shr_u32(lane, 2);
    let quarter = k.and_b32(lane, 3);
    let quarter_bytes = k.mul_lo_u32(quarter, 16);
    let lane_bytes = k.mad_lo_u32(warp, STEP_BYTES, quarter_bytes);
    let a = Source::new(a, Side::A);
    let b = Source::new(b, Side::B);
    let row_start = k.mad_wide_u32(lane_row, a.row_bytes, a_start);
    let wide = k.cvt_u64_u32(lane_bytes);
    let row_groups = FragmentsSchedule::row_groups(problem);
    let short = problem.m as u32 % GROUP_ROWS;
    let mut chunks = |source: &Source, count: u32| [(); 2].map(|()| (0..count).map(|_| source.chunk(k)).collect());
    let steps = (0..schedule.depth)
        .map(|_| Step { columns: chunks(&b, 2 * schedule.tiles), rows: chunks(&a, row_groups) })
        .collect();
    let sums = (0..schedule.tiles)
        .map(|_| (0..row_groups).map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect())
        .collect();
    let kernel = Fragments {
        problem,
        schedule: *schedule,
        a,
        b,
        lane_row,
        a_start: k.add_u64(row_start, wide),
        b_start: k.add_u64(b_start, wide),
        lane_bytes,
        has_last_row: (short > 0).then(|| k.setp_lt_u32(lane_row, short)),
        steps,
        sums,
    };
    kernel.clear_missing_rows(k);

    let slabs = Slabs { warps: schedule.warps, columns: schedule.columns(), pitch: schedule.slab_pitch() };
    let shared = k.dynamic_shared(16);
    let shared = k.address_of_shared(&shared);
    let place_in = |k: &mut KernelBuilder, group: R<B32>| {
        let column = k.mul_lo_u32(group, schedule.columns());
        Cta { thread, lane, warp, batch: batch.clone(), row: k.mov_b32(0), column }
    };
    let columns = kernel.columns_of(k, group);
    let along = k.mov_b32(0);
    for (d, step) in (0..).zip(&kernel.steps) {
        kernel.load(k, step, d, &At { columns: &columns, along, more: None })?;
    }
    let iterations = kernel.iterations();
    let iteration = k.mov_b32(0);
    let advance = schedule.depth * schedule.warps * STEP_BYTES;

    if !schedule.is_persistent(problem) {
        k.no_unroll();
        k.for_u32(0u32, iterations, 1u32, |k, i| -> Result<(), ContractionError> {
            let more = (iterations > 1).then(|| k.setp_lt_u32(i, iterations - 1));
            k.set(along).add_u32(along, advance);
            for (d, step) in (0..).zip(&kernel.steps) {
                kernel.multiply(k, step)?;
                if more.is_some() {
                    kernel.load(k, step, d, &At { columns: &columns, along, more })?;
                }
            }
            Ok(())
        })?;
        kernel.write_sums(k, warp, lane, shared, &slabs);
        // Every warp's partial sums are there before any are added.
        k.bar_sync(0u32);
        let cta = place_in(k, group);
        slabs.join(k, problem, &cta, (shared, threads), surround)?;
        k.exit();
        return Ok(());
    }

    let slab = k.mov_b32(shared);
    let (low, high) = (shared, k.add_u32(shared, schedule.shared_bytes(problem) / 2));
    let both = k.add_u32(low, high);
    let next_group = k.add_u32(group, schedule.ctas);
    let has_next = k.setp_lt_u32(next_group, groups);
    let (loop_head, done) = (k.label("steps"), k.label("done"));
    k.no_unroll();
    k.place(&loop_head);
    let last = k.setp_eq_u32(iteration, iterations - 1);
    k.set(along).add_u32(along, advance);
    k.when(last, |k| {
        k.set(along).mov_b32(0);
        kernel.set_columns(k, next_group, &columns);
    });
    let goes_on = k.not_pred(last);
    let more = k.or_pred(goes_on, has_next);
    for (d, step) in (0..).zip(&kernel.steps) {
        kernel.multiply(k, step)?;
        kernel.load(k, step, d, &At { columns: &columns, along, more: Some(more) })?;
    }
    k.set(iteration).add_u32(iteration, 1);
    k.bra_unless(last, &loop_head);

    kernel.write_sums(k, warp, lane, slab, &slabs);
    // Every warp's partial sums are there before any are added. A slab is written again two groups later, past another
    // barrier, which no thread reaches before it has read this one.
    k.bar_sync(0u32);
    let cta = place_in(k, group);
    slabs.join(k, problem, &cta, (slab, threads), surround)?;
    k.bra_unless(has_next, &done);
    for sum in kernel.sums.iter().flatten().flatten() {
        k.set(*sum).mov_f32(0.0);
    }
    k.set(slab).sub_u32(both, slab);
    k.set(iteration).mov_b32(0);
    k.set(group).mov_b32(next_group);
    k.set(next_group).add_u32(group, schedule.ctas);
    k.set(has_next).setp_lt_u32(next_group, groups);
    k.bra(loop_head);
    k.place(&done);
    k.exit();
    Ok(())
}

impl Fragments<'_> {
    /// Bytes of a row along k.
    fn k_bytes(&self) -> u32 {
        (self.problem.k * self.problem.element.bytes()) as u32
    }

    /// Times that a warp takes `depth` steps for a group of columns.
    fn iterations(&self) -> u32 {
        self.k_bytes().div_ceil(STEP_BYTES).div_ceil(self.schedule.warps * self.schedule.depth)
    }

    /// Whether some step lies past the end of k, or half inside.
    fn is_ragged_k(&self) -> bool {
        !self.k_bytes().is_multiple_of(STEP_BYTES * self.schedule.warps * self.schedule.depth)
    }

    /// Whether some group has columns past the last.
    fn is_ragged_n(&self) -> bool {
        !self.problem.n.is_multiple_of(self.schedule.columns() as usize)
    }

    /// Addresses of the lane's columns of B in a group: where no column is past the last, of the first one only.
    fn columns_of(&self, k: &mut KernelBuilder, group: R<B32>) -> Vec<R<B64>> {
        let count = if self.is_ragged_n() { 2 * self.schedule.tiles } else { 1 };
        let columns: Vec<R<B64>> = (0..count).map(|_| k.fresh()).collect();
        self.set_columns(k, group, &columns);
        columns
    }

    fn set_columns(&self, k: &mut KernelBuilder, group: R<B32>, columns: &[R<B64>]) {
        let first = k.mad_lo_u32(group, self.schedule.columns(), self.lane_row);
        for (i, &address) in (0..).zip(columns) {
            let column = if i == 0 { first } else { k.add_u32(first, i * TILE_COLUMNS / 2) };
            let column = if self.is_ragged_n() { k.min_u32(column, self.problem.n as u32 - 1) } else { column };
            k.set(address).mad_wide_u32(column, self.b.row_bytes, self.b_start);
        }
    }

    /// Rows of A past the last are never loaded: they are zero from the start.
    fn clear_missing_rows(&self, k: &mut KernelBuilder) {
        if self.has_last_row.is_none() {
            return;
        }
        for rows in self.steps.iter().flat_map(|step| &step.rows) {
            for &word in rows.iter().rev().take(1).flatten() {
                k.set(word).mov_b32(0);
            }
        }
    }

    /// Loads step `d` of an iteration.
    fn load(&self, k: &mut KernelBuilder, step: &Step, d: u32, at: &At<'_>) -> Result<(), ContractionError> {
        let along = k.cvt_u64_u32(at.along);
        let a_start = k.add_u64(self.a_start, along);
        let columns: Vec<R<B64>> = at.columns.iter().map(|&column| k.add_u64(column, along)).collect();
        let ahead = d * self.schedule.warps * STEP_BYTES;
        let both = |k: &mut KernelBuilder, p: Option<R<Pred>>, q: Option<R<Pred>>| match (p, q) {
            (Some(p), Some(q)) => Some(k.and_pred(p, q)),
            (p, q) => p.or(q),
        };
        for half in 0..2 {
            let bytes = ahead + half * HALF_BYTES;
            let position = self.is_ragged_k().then(|| {
                let lane = k.add_u32(self.lane_bytes, bytes);
                k.add_u32(at.along, lane)
            });
            let inside = |k: &mut KernelBuilder, within: u32, also: Option<R<Pred>>| {
                let inside = position.map(|position| {
                    let position = k.add_u32(position, within);
                    k.setp_lt_u32(position, self.k_bytes())
                });
                both(k, inside, also)
            };
            let zeroed = position.is_some();
            for (i, words) in (0..).zip(&step.columns[half as usize]) {
                let (base, rows) = match columns[..] {
                    [one] => (one, i * TILE_COLUMNS / 2),
                    _ => (columns[i as usize], 0),
                };
                let offset = u64::from(rows) * u64::from(self.b.row_bytes) + u64::from(bytes);
                self.b.load(k, (base, offset), words, zeroed, |k, within| inside(k, within, at.more))?;
            }
            let row_groups = step.rows[half as usize].len();
            for (r, words) in step.rows[half as usize].iter().enumerate() {
                let has_row = self.has_last_row.filter(|_| r + 1 == row_groups);
                let offset = r as u64 * u64::from(GROUP_ROWS) * u64::from(self.a.row_bytes) + u64::from(bytes);
                let wanted = both(k, has_row, at.more);
                self.a.load(k, (a_start, offset), words, zeroed, |k, within| inside(k, within, wanted))?;
            }
        }
        Ok(())
    }

    /// Adds the products of a step to the sums.
    fn multiply(&self, k: &mut KernelBuilder, step: &Step) -> Result<(), ContractionError> {
        for (columns, rows) in step.columns.iter().zip(&step.rows) {
            let rows: Vec<[R<B32>; 4]> = rows.iter().map(|row| self.a.words(k, row)).collect();
            for (tile, sums) in columns.chunks(2).zip(&self.sums) {
                let (low, high) = (self.b.words(k, &tile[0]), self.b.words(k, &tile[1]));
                for (row, &sums) in rows.iter().zip(sums) {
                    for i in [0, 2] {
                        let b = [low[i], high[i], low[i + 1], high[i + 1]];
                        let a = [row[i], row[i + 1]];
                        if self.problem.element == DType::BF16 {
                            k.set(sums).mma_m16n8k16_f32_bf16(b, a, sums);
                        } else {
                            k.set(sums).mma_m16n8k16_f32_f16(b, a, sums);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Writes the warp's sums to its slab of the slabs at `start`.
    fn write_sums(&self, k: &mut KernelBuilder, warp: R<B32>, lane: R<B32>, start: R<B32>, slabs: &Slabs) {
        let slab = k.mad_lo_u32(warp, slabs.bytes(self.problem), start);
        let pair = k.and_b32(lane, 3);
        let row = k.mul_lo_u32(pair, 2);
        let word = k.mad_lo_u32(row, slabs.pitch, self.lane_row);
        let at = k.mad_lo_u32(word, 4, slab);
        for (tile, sums) in (0..).zip(&self.sums) {
            for (group, sums) in (0..).zip(sums) {
                for (i, &sum) in (0..).zip(sums) {
                    // A lane holds rows 2t and 2t + 1 of columns g and g + 8.
                    let (column, row) = (tile * TILE_COLUMNS + i / 2 * TILE_COLUMNS / 2, group * GROUP_ROWS + i % 2);
                    let to = at.at(((row * slabs.pitch + column) * 4) as i32);
                    let left = (self.problem.m as u32).saturating_sub(row);
                    match left.div_ceil(2) {
                        0 => {}
                        pairs if pairs < 4 => {
                            let has_row = k.setp_lt_u32(pair, pairs);
                            k.when(has_row, |k| k.st_shared_f32(to, sum));
                        }
                        _ => k.st_shared_f32(to, sum),
                    }
                }
            }
        }
    }
}
