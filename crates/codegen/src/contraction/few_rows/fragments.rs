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
//! half a line of the cache in eight columns, its neighbour the other half. Elements of B that are stored narrow are
//! unpacked ([`super::format`], [`super::table`]) and scaled ([`super::scales`]) on the way; sixteen bytes of them are more k, of which a lane
//! loads as many elements of A.
//!
//! Two products of one left factor share every tile: column `g` of the first one's B, and column `g` of the second one's
//! in place of `g + 8`.
//!
//! A warp has `depth` steps under way: as soon as a step's registers have been multiplied they are loaded anew, for the
//! step `depth * warps` steps further on, or for the first steps of the next group of columns. So memory stays busy while
//! the partial sums of a group, `[warp, row, column]` in shared memory, are added ([`super::join`]); two slabs take turns, so
//! that one barrier per group is enough. Past the end of k both factors are zero; past the last row A's are; columns past
//! the last read the last one and are not stored.

use super::super::cta::{Cta, digits};
use super::super::gather::entry_start;
use super::super::problem::{ContractionError, Operand, Part, Problem, Side};
use super::super::rule;
use super::super::schedule::WARP;
use super::super::surround::Surround;
use super::format::Format;
use super::join::Slabs;
use super::scales::Scales;
use super::schedule::{FragmentsSchedule, GROUP_ROWS, STEP_BYTES, half_of_tile};
use super::source::{CHUNK_BYTES, Chunk, Source};
use super::table::Table;
use gable_ptx::{B32, B64, F32, KernelBuilder, Pred, R};
use gable_tensor::DType;

/// Bytes along k that the four lanes of a column load at once.
const HALF_BYTES: u32 = STEP_BYTES / 2;

/// The registers of one step under way: of its first half, then of its second.
struct Step {
    halves: [Half; 2],
}

struct Half {
    /// Of B: two columns per tile.
    columns: Vec<Chunk>,
    /// The scales of each column's chunk, where there are any.
    scales: Vec<Vec<R<B32>>>,
    /// Of A: chunks of one row per group of rows, where they are loaded ahead.
    rows: Vec<Vec<Chunk>>,
    /// Bytes along k of the registers' step, without the lane's, where A's are not loaded ahead.
    along: R<B32>,
}

/// What the kernel's parts share.
struct Fragments<'a> {
    problem: &'a Problem,
    schedule: FragmentsSchedule,
    format: Format,
    a: Source,
    b: Source,
    scales: Option<Scales>,
    /// Of elements of four bits.
    table: Option<Table>,
    /// The lane's column of a tile and row of a group: its number over 4.
    lane_row: R<B32>,
    /// Start of the lane's row of A in group 0, at the lane's k.
    a_start: R<B64>,
    /// For each product, start of the batch entry of B at the lane's k, and of its scales, where there are any.
    b_starts: Vec<R<B64>>,
    scales_starts: Vec<R<B64>>,
    /// The lane's bytes of k of B in the warp's first step.
    lane_bytes: R<B32>,
    /// Whether the lane has a row in the last group of rows; absent where all have.
    has_last_row: Option<R<Pred>>,
    steps: Vec<Step>,
    /// Per tile and group of rows.
    sums: Vec<Vec<[R<F32>; 4]>>,
}

/// Addresses of a group's columns.
struct Columns {
    /// Of the lane's columns of B: where no column is past the last, of each product's first one only.
    stored: Vec<R<B64>>,
    /// Of the scales of each of the lane's columns.
    scales: Vec<R<B64>>,
}

/// Where the loads of an iteration go.
struct At<'a> {
    columns: &'a Columns,
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
    let stored = match (&problem.b, &problem.quantised) {
        (Operand::Memory(b), _) => Some(b),
        (_, quantised) => quantised.as_ref().map(|quantised| &quantised.stored),
    };
    let (Operand::Memory(a), Some(b)) = (&problem.a, stored) else {
        return Err(ContractionError::NotTiled(format!("{problem}: fragments are loaded from memory")));
    };
    let threads = schedule.warps * WARP;
    k.required_threads(threads, 1, 1);
    if schedule.ctas as usize * problem.batches() <= rule::machine_of(k.target()).multiprocessors as usize {
        // One CTA has a multiprocessor: registers are not saved for more.
        k.min_ctas_per_sm(1);
    }
    let groups = schedule.groups(problem);
    let thread = k.tid_x();
    let lane = k.and_b32(thread, WARP - 1);
    let warp = k.shr_u32(thread, WARP.trailing_zeros());
    let number = k.ctaid_x();
    let split = digits(k, number, &[problem.batches(), schedule.ctas as usize]);
    let (entry, group) = (split[0], k.mov_b32(split[1]));
    let batch = digits(k, entry, &problem.batch);
    let a_start = surround.pointer(k, Side::A, &batch)?;
    let a_start = entry_start(k, a, a_start);
    let mut b_starts = Vec::new();
    for &side in problem.rights() {
        let start = match problem.operand(side) {
            Operand::Memory(_) => surround.pointer(k, side, &batch)?,
            Operand::Expression { .. } => surround.quantised(k, side, Part::Stored, &batch)?,
        };
        b_starts.push(entry_start(k, b, start));
    }
    let format = Format::of(problem);
    let scales = match &problem.quantised {
        Some(quantised) if quantised.scales.is_some() => {
            let unfit = || ContractionError::NotTiled(format!("{problem}: groups of scales do not fit a load"));
            Some(Scales::of(quantised, CHUNK_BYTES * 8 / format.bits()).ok_or_else(unfit)?)
        }
        _ => None,
    };
    let mut scales_starts = Vec::new();
    for &side in problem.rights().iter().filter(|_| scales.is_some()) {
        scales_starts.push(surround.quantised(k, side, Part::Scales, &batch)?);
    }

    let shared = k.dynamic_shared(16);
    let shared = k.address_of_shared(&shared);
    let table_start = k.add_u32(shared, schedule.slabs_bytes(problem));
    let lane_row = k.shr_u32(lane, 2);
    let quarter = k.and_b32(lane, 3);
    let quarter_bytes = k.mul_lo_u32(quarter, 16);
    let lane_bytes = k.mad_lo_u32(warp, STEP_BYTES, quarter_bytes);
    let a = Source::new(a, 16, Side::A);
    let b = Source::new(b, format.bits(), Side::B);
    let row_start = k.mad_wide_u32(lane_row, a.row_bytes, a_start);
    let wide = k.cvt_u64_u32(lane_bytes);
    // A's elements have 16 bits.
    let per_byte = 16 / format.bits();
    let wide_a = k.mul_wide_u32(lane_bytes, per_byte);
    let row_groups = FragmentsSchedule::row_groups(problem);
    let short = problem.m as u32 % GROUP_ROWS;
    let mut half = || Half {
        columns: (0..2 * schedule.tiles).map(|_| b.chunk(k)).collect(),
        scales: match &scales {
            Some(scales) => {
                (0..2 * schedule.tiles).map(|_| (0..scales.per_chunk).map(|_| k.fresh()).collect()).collect()
            }
            None => Vec::new(),
        },
        rows: if schedule.rows_ahead {
            (0..row_groups).map(|_| (0..per_byte).map(|_| a.chunk(k)).collect()).collect()
        } else {
            Vec::new()
        },
        along: k.fresh(),
    };
    let steps = (0..schedule.depth).map(|_| Step { halves: [half(), half()] }).collect();
    let sums = (0..schedule.tiles)
        .map(|_| (0..row_groups).map(|_| std::array::from_fn(|_| k.mov_f32(0.0))).collect())
        .collect();
    let kernel = Fragments {
        problem,
        schedule: *schedule,
        format,
        a,
        b,
        scales,
        table: (format.bits() == 4).then(|| Table::at(k, table_start, lane)),
        lane_row,
        a_start: k.add_u64(row_start, wide_a),
        b_starts: b_starts.into_iter().map(|start| k.add_u64(start, wide)).collect(),
        scales_starts,
        lane_bytes,
        has_last_row: (short > 0).then(|| k.setp_lt_u32(lane_row, short)),
        steps,
        sums,
    };
    kernel.clear_missing_rows(k);

    let slabs = Slabs {
        warps: schedule.warps,
        columns: schedule.columns(),
        group: schedule.columns(),
        products: schedule.products,
        pitch: schedule.slab_pitch(),
    };
    let place_in = |k: &mut KernelBuilder, group: R<B32>| {
        let column = k.mul_lo_u32(group, schedule.columns());
        Cta { thread, lane, warp, batch: batch.clone(), row: k.mov_b32(0), column, end: None }
    };
    let columns = kernel.columns_of(k, group);
    let along = k.mov_b32(0);
    for (d, step) in (0..).zip(&kernel.steps) {
        kernel.load(k, step, d, &At { columns: &columns, along, more: None })?;
    }
    // The first loads are on their way meanwhile.
    if let Some(table) = &kernel.table {
        table.write(k, format, warp, schedule.warps)?;
        k.bar_sync(0u32);
    }
    let iterations = kernel.iterations();
    let iteration = k.mov_b32(0);
    let advance = schedule.depth * schedule.warps * STEP_BYTES;

    if !schedule.is_persistent(problem) {
        // The last steps stand apart: under a predicate the assembler would move the loads to where they are used.
        if iterations > 1 {
            k.no_unroll();
            k.for_u32(1u32, iterations, 1u32, |k, _| -> Result<(), ContractionError> {
                k.set(along).add_u32(along, advance);
                for (d, step) in (0..).zip(&kernel.steps) {
                    kernel.multiply(k, step)?;
                    kernel.load(k, step, d, &At { columns: &columns, along, more: None })?;
                }
                Ok(())
            })?;
        }
        for step in &kernel.steps {
            kernel.multiply(k, step)?;
        }
        slabs.write(k, problem, (warp, lane), shared, &kernel.sums);
        // Every warp's partial sums are there before any are added.
        k.bar_sync(0u32);
        let cta = place_in(k, group);
        slabs.join(k, problem, &cta, (shared, threads), surround)?;
        k.exit();
        return Ok(());
    }

    let slab = k.mov_b32(shared);
    let (low, high) = (shared, k.add_u32(shared, schedule.slabs_bytes(problem) / 2));
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

    slabs.write(k, problem, (warp, lane), slab, &kernel.sums);
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
    /// Bytes of a column of B along k.
    fn k_bytes(&self) -> u32 {
        (self.problem.k as u64 * u64::from(self.format.bits()) / 8) as u32
    }

    /// Bytes of A's k for one of B's.
    fn per_byte(&self) -> u32 {
        16 / self.format.bits()
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

    fn columns_of(&self, k: &mut KernelBuilder, group: R<B32>) -> Columns {
        let count = if self.is_ragged_n() { 2 * self.schedule.tiles } else { self.schedule.products };
        let scaled = if self.scales.is_some() { 2 * self.schedule.tiles } else { 0 };
        let columns = Columns {
            stored: (0..count).map(|_| k.fresh()).collect(),
            scales: (0..scaled).map(|_| k.fresh()).collect(),
        };
        self.set_columns(k, group, &columns);
        columns
    }

    fn set_columns(&self, k: &mut KernelBuilder, group: R<B32>, columns: &Columns) {
        let first = k.mad_lo_u32(group, self.schedule.columns(), self.lane_row);
        for i in 0..columns.stored.len().max(columns.scales.len()) {
            let (product, distance) = half_of_tile(i as u32, self.schedule.products);
            let column = if distance == 0 { first } else { k.add_u32(first, distance) };
            let column = if self.is_ragged_n() { k.min_u32(column, self.problem.n as u32 - 1) } else { column };
            if let Some(&address) = columns.stored.get(i) {
                k.set(address).mad_wide_u32(column, self.b.row_bytes, self.b_starts[product as usize]);
            }
            if let (Some(&address), Some(scales)) = (columns.scales.get(i), &self.scales) {
                scales.set_column(k, address, column, self.scales_starts[product as usize]);
            }
        }
    }

    /// Rows of A past the last are never loaded: they are zero from the start.
    fn clear_missing_rows(&self, k: &mut KernelBuilder) {
        if self.has_last_row.is_none() {
            return;
        }
        for half in self.steps.iter().flat_map(|step| &step.halves) {
            for &word in half.rows.iter().rev().take(1).flatten().flatten() {
                k.set(word).mov_b32(0);
            }
        }
    }

    /// Loads step `d` of an iteration.
    fn load(&self, k: &mut KernelBuilder, step: &Step, d: u32, at: &At<'_>) -> Result<(), ContractionError> {
        let along = k.cvt_u64_u32(at.along);
        let columns: Vec<R<B64>> = at.columns.stored.iter().map(|&column| k.add_u64(column, along)).collect();
        let ahead = d * self.schedule.warps * STEP_BYTES;
        for (h, half) in (0..).zip(&step.halves) {
            let bytes = ahead + h * HALF_BYTES;
            let position = self.is_ragged_k().then(|| {
                let lane = k.add_u32(self.lane_bytes, bytes);
                k.add_u32(at.along, lane)
            });
            for (i, chunk) in (0..).zip(&half.columns) {
                let (base, rows) = match columns.get(i as usize) {
                    Some(&own) if self.is_ragged_n() => (own, 0),
                    _ => {
                        let (product, distance) = half_of_tile(i, self.schedule.products);
                        (columns[product as usize], distance)
                    }
                };
                let offset = u64::from(rows) * u64::from(self.b.row_bytes) + u64::from(bytes);
                let inside = |k: &mut KernelBuilder, within: u32| self.inside(k, position, within, at.more);
                self.b.load(k, (base, offset), chunk, position.is_some(), inside)?;
            }
            if let Some(scales) = &self.scales {
                let lane = k.add_u32(self.lane_bytes, bytes);
                let place = k.add_u32(at.along, lane);
                let element = match self.format.bits() {
                    4 => k.shl_b32(place, 1),
                    _ => place,
                };
                let elements = position.map(|_| self.problem.k as u32);
                for (&column, registers) in at.columns.scales.iter().zip(&half.scales) {
                    scales.load(k, (column, element, elements), registers, at.more)?;
                }
            }
            if self.schedule.rows_ahead {
                for (group, row) in (0..).zip(&half.rows) {
                    self.load_row(k, group, row, (at.along, bytes), (position, at.more))?;
                }
            } else {
                k.set(half.along).add_u32(at.along, bytes);
            }
        }
        Ok(())
    }

    /// Loads a group's row of A at `along` and `bytes` more along k of B. `position` is the lane's there, where it may be
    /// past the end; `more` as for columns.
    fn load_row(
        &self,
        k: &mut KernelBuilder,
        group: u32,
        chunks: &[Chunk],
        (along, bytes): (R<B32>, u32),
        (position, more): (Option<R<B32>>, Option<R<Pred>>),
    ) -> Result<(), ContractionError> {
        let start = k.mad_wide_u32(along, self.per_byte(), self.a_start);
        let has_row = self.has_last_row.filter(|_| self.is_last(group));
        let wanted = both(k, has_row, more);
        for (c, chunk) in (0..).zip(chunks) {
            let within = c * CHUNK_BYTES;
            let row = u64::from(group * GROUP_ROWS) * u64::from(self.a.row_bytes);
            let offset = row + u64::from(bytes * self.per_byte() + within);
            // A's bytes past the end are those past B's.
            let inside = |k: &mut KernelBuilder, piece: u32| {
                self.inside(k, position, (within + piece) / self.per_byte(), wanted)
            };
            self.a.load(k, (start, offset), chunk, position.is_some(), inside)?;
        }
        Ok(())
    }

    /// Whether this is the last group of rows.
    fn is_last(&self, group: u32) -> bool {
        group + 1 == FragmentsSchedule::row_groups(self.problem)
    }

    /// Whether the byte `within` bytes after `position` lies before the end of k, and `also` holds.
    fn inside(
        &self,
        k: &mut KernelBuilder,
        position: Option<R<B32>>,
        within: u32,
        also: Option<R<Pred>>,
    ) -> Option<R<Pred>> {
        let inside = position.map(|position| {
            let position = k.add_u32(position, within);
            k.setp_lt_u32(position, self.k_bytes())
        });
        both(k, inside, also)
    }

    /// The words of a group of rows of A, loaded now where they were not before.
    fn row(&self, k: &mut KernelBuilder, half: &Half, group: u32) -> Result<Vec<R<B32>>, ContractionError> {
        let loaded: Vec<Chunk>;
        let chunks = match half.rows.get(group as usize) {
            Some(chunks) => chunks,
            None => {
                loaded = (0..self.per_byte()).map(|_| self.a.chunk(k)).collect();
                if self.is_last(group) && !self.is_ragged_k() {
                    for &word in loaded.iter().flatten() {
                        k.set(word).mov_b32(0);
                    }
                }
                let position = self.is_ragged_k().then(|| k.add_u32(half.along, self.lane_bytes));
                self.load_row(k, group, &loaded, (half.along, 0), (position, None))?;
                &loaded
            }
        };
        Ok(chunks.iter().flat_map(|chunk| self.a.words(k, chunk)).collect())
    }

    /// Adds the products of a step to the sums.
    fn multiply(&self, k: &mut KernelBuilder, step: &Step) -> Result<(), ContractionError> {
        for half in &step.halves {
            let column = |k: &mut KernelBuilder, i: usize| -> Result<Vec<R<B32>>, ContractionError> {
                let words = self.b.words(k, &half.columns[i]);
                let pairs = match &self.table {
                    Some(table) => table.pairs(k, words),
                    None => self.format.pairs(k, words)?,
                };
                match &self.scales {
                    Some(scales) => scales.apply(k, self.format, &half.scales[i], pairs),
                    None => Ok(pairs),
                }
            };
            // A's words are few and come soon: they are asked for before the first columns are unpacked.
            let first = self.row(k, half, 0)?;
            let columns: Vec<Vec<R<B32>>> =
                (0..half.columns.len()).map(|i| column(k, i)).collect::<Result<_, ContractionError>>()?;
            for group in 0..FragmentsSchedule::row_groups(self.problem) {
                let row = if group == 0 { first.clone() } else { self.row(k, half, group)? };
                for (tile, sums) in columns.chunks(2).zip(&self.sums) {
                    let sums = sums[group as usize];
                    multiply_add(k, self.problem.element, [&tile[0], &tile[1]], &row, sums);
                }
            }
        }
        Ok(())
    }
}

/// Adds the products of the pairs of two columns and of a row to the sums.
pub(super) fn multiply_add(
    k: &mut KernelBuilder,
    element: DType,
    columns: [&[R<B32>]; 2],
    row: &[R<B32>],
    sums: [R<F32>; 4],
) {
    for i in (0..row.len()).step_by(2) {
        let b = [columns[0][i], columns[1][i], columns[0][i + 1], columns[1][i + 1]];
        let a = [row[i], row[i + 1]];
        if element == DType::BF16 {
            k.set(sums).mma_m16n8k16_f32_bf16(b, a, sums);
        } else {
            k.set(sums).mma_m16n8k16_f32_f16(b, a, sums);
        }
    }
}

/// A predicate that holds where both do; absent ones hold everywhere.
pub(super) fn both(k: &mut KernelBuilder, p: Option<R<Pred>>, q: Option<R<Pred>>) -> Option<R<Pred>> {
    match (p, q) {
        (Some(p), Some(q)) => Some(k.and_pred(p, q)),
        (p, q) => p.or(q),
    }
}
