//! From the sums of a consumer to the region's results.
//!
//! The region computes with sums where the instruction leaves them: lane `l` of a warp holds, in every block of eight
//! columns, columns `2 (l % 4)` and the next of rows `l / 4` and eight further down. Results that lie in memory as rows are
//! packed, turned by `stmatrix` into a staging buffer of 16 rows of 128 bytes, and copied from there to memory by the copy
//! engine, which leaves out what lies beyond the edges. Results that lie otherwise are stored one pair, or one element, at
//! a time.

use super::super::MapParameter;
use super::super::boxes::SPAN;
use super::super::cta::{TilePlace, store_at};
use super::super::problem::{ContractionError, Problem};
use super::super::staged::{self, Buffers, Staged};
use super::super::surround::{Fragment, Surround};
use super::super::tile::{SharedTile, slot};
use super::addend::Addend;
use super::schedule::{self, ROWS, WgmmaSchedule};
use super::{Consumer, Sums};
use crate::division::quotient;
use gable_ptx::{B32, F32, KernelBuilder, R, Reg, Value};

/// Columns that one call of the region computes: two blocks of eight.
pub(in super::super) const STEP_COLUMNS: u32 = 16;

/// Rows of a warp in a block of 64.
pub(super) const WARP_ROWS: u32 = 16;

/// Lanes that share a row.
pub(in super::super) const QUAD: u32 = 4;

/// Columns of a block of sums.
const BLOCK_COLUMNS: u32 = 8;

/// Rounds of a tile up to which what the region reads for each column is loaded before them. With GELU, tiles of 128 x 128 in turns,
/// it saved 2 % of the time at 12 rounds and 5 % at 16, and cost 10 % at 20, where finishing a tile binds no longer (H200,
/// 2026-11-22; why it costs anything is not known).
const ROUNDS_AHEAD: u32 = 16;

/// Registers of sums beside which others can be kept while a tile is multiplied.
const MOST_SUMS: u32 = 128;

/// Neighbouring sums of one register pair.
pub(in super::super) const PAIR: usize = 2;

/// How results leave.
pub(super) enum Epilogue {
    /// All through staging buffers, by which the region's addend may come.
    Staged(Vec<Staged>, Option<Addend>),
    /// From registers.
    Direct,
}

impl Epilogue {
    /// Chooses the way, and declares the maps of results as parameters.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        surround: &mut dyn Surround,
    ) -> Epilogue {
        match staged::results(k, problem, schedule.finished_columns(), (WARP_ROWS, PAIR), surround) {
            Some(results) => {
                // Its pieces are asked for before the CTA's columns are known where k is split.
                let addend = match schedule.split {
                    1 => Addend::of(k, problem, schedule, &results, surround),
                    _ => None,
                };
                Epilogue::Staged(results, addend)
            }
            None => Epilogue::Direct,
        }
    }

    fn addend(&self) -> Option<&Addend> {
        match self {
            Epilogue::Staged(_, addend) => addend.as_ref(),
            Epilogue::Direct => None,
        }
    }

    /// Initialises barriers. By one thread, before the CTA's first barrier.
    pub fn init(&self, k: &mut KernelBuilder, schedule: &WgmmaSchedule, data: R<B32>) {
        if let Some(addend) = self.addend() {
            addend.init(k, schedule, data);
        }
    }

    /// Whether the pieces of an addend that are asked for before a tile is multiplied are all of it.
    pub fn brings_addend(&self, schedule: &WgmmaSchedule) -> bool {
        self.addend().is_some() && schedule.fillings() == schedule.buffers
    }

    /// Whether what the region reads once for each column is loaded before a tile is multiplied: where finishing tiles binds, results
    /// of all columns come from the sums of this tile, and those leave registers free.
    fn loads_ahead(&self, problem: &Problem, schedule: &WgmmaSchedule) -> bool {
        let whole = matches!(self, Epilogue::Staged(results, _) if !staged::are_parts(results, problem));
        let sums = schedule.consumer_rows() / ROWS * schedule.columns() / 2;
        let rounds_apart = if schedule::promotes(problem) { sums } else { 0 };
        let is_short = schedule.rounds(problem) <= ROUNDS_AHEAD;
        whole && is_short && schedule.split == 1 && schedule.carriers == 0 && sums + rounds_apart <= MOST_SUMS
    }

    /// Has what the region needs for a tile's first results brought, while the tile is multiplied.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub fn begin(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        consumer: &Consumer,
        place: &TilePlace,
        row: R<B32>,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        if self.loads_ahead(problem, schedule) {
            let warp_row = k.mad_lo_u32(consumer.warp, WARP_ROWS, row);
            let origin = lane_origin(k, consumer.lane, warp_row, place.column);
            let columns: Vec<u32> = (0..schedule.finished_columns()).step_by(BLOCK_COLUMNS as usize).collect();
            surround.load_ahead(k, &place.batch, origin, schedule.extent(), (&columns, PAIR as u32))?;
        }
        let Some(addend) = self.addend() else { return Ok(()) };
        let (_, elected) = k.elect_sync(-1);
        let row = k.mad_lo_u32(consumer.warp, WARP_ROWS, row);
        let of_block = schedule.tile.n / (SPAN / 2);
        for buffer in 0..schedule.buffers {
            let column = k.add_u32(place.column, buffer % of_block * SPAN / 2);
            let row = k.add_u32(row, buffer / of_block * ROWS);
            let to = (consumer.staging, buffer);
            addend.ask(k, &consumer.arrivals, elected, to, (column, row), &place.batch)?;
        }
        Ok(())
    }

    /// The maps, in the order of the parameters.
    pub fn parameters(&self) -> Vec<MapParameter> {
        match self {
            Epilogue::Staged(results, addend) => {
                results.iter().flat_map(Staged::parameters).chain(addend.as_ref().map(Addend::parameter)).collect()
            }
            Epilogue::Direct => Vec::new(),
        }
    }

    /// Computes and stores the results of one tile, whose rows for this consumer begin at `row`.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub fn finish(
        &mut self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &WgmmaSchedule,
        consumer: &Consumer,
        place: &TilePlace,
        row: R<B32>,
        sums: &Sums,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let warp_row = k.mad_lo_u32(consumer.warp, WARP_ROWS, row);
        match self {
            Epilogue::Staged(results, _) if staged::are_parts(results, problem) => {
                staged_parts(k, schedule, consumer, place, warp_row, sums, results, surround)
            }
            Epilogue::Staged(results, addend) => {
                let ways = (results.as_slice(), addend.as_ref());
                staged_tile(k, schedule, consumer, place, warp_row, sums, ways, surround)
            }
            Epilogue::Direct => direct(k, problem, schedule, consumer, place, warp_row, sums, surround),
        }
    }

    /// Waits until all results are in memory.
    pub fn drain(&self, k: &mut KernelBuilder) {
        if matches!(self, Epilogue::Staged(..)) {
            k.bulk_wait_group(0);
        }
    }
}

/// Whether results leave through staging buffers.
pub(super) fn stages(problem: &Problem, schedule: &WgmmaSchedule, surround: &mut dyn Surround) -> bool {
    staged::suits(problem, schedule.finished_columns(), (WARP_ROWS, PAIR), surround)
}

/// Row and column of the lane's first sum, from the warp's first row and the tile's first column.
pub(in super::super) fn lane_origin(
    k: &mut KernelBuilder,
    lane: R<B32>,
    row: R<B32>,
    column: R<B32>,
) -> (R<B32>, R<B32>) {
    let (down, across) = (k.shr_u32(lane, 2), k.and_b32(lane, 3));
    (k.add_u32(row, down), k.mad_lo_u32(across, PAIR as u32, column))
}

/// `lanes` sums of every product from register `first` on of a block of eight columns, one product after the other.
fn of_products(schedule: &WgmmaSchedule, sums: &[[Reg; 4]], group: u32, first: u32, lanes: usize) -> Vec<Reg> {
    let blocks = (group as usize..).step_by((schedule.tile.n / 8) as usize).take(schedule.products as usize);
    blocks.flat_map(|block| sums[block][first as usize..][..lanes].iter().copied()).collect()
}

#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn direct(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &WgmmaSchedule,
    consumer: &Consumer,
    place: &TilePlace,
    warp_row: R<B32>,
    sums: &Sums,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let lanes = if problem.store.along_m { 1 } else { problem.store.lanes.min(PAIR) };
    let (first_row, first_column) = lane_origin(k, consumer.lane, warp_row, place.column);
    for (block, sums) in sums.iter().enumerate() {
        for group in 0..schedule.finished_columns() / 8 {
            for half in 0..2 {
                let row = k.add_u32(first_row, block as u32 * ROWS + half * 8);
                for part in 0..(PAIR / lanes) as u32 {
                    let first = part * lanes as u32;
                    let column = k.add_u32(first_column, group * 8 + first);
                    let sums = of_products(schedule, sums, group, half * PAIR as u32 + first, lanes);
                    store_at(k, problem, schedule.extent(), (&place.batch, place.end), (row, column), &sums, surround)?;
                }
            }
        }
    }
    Ok(())
}

/// Where the lane writes to its warp's staging buffers.
pub(in super::super) struct Slots {
    /// For pairs of blocks of eight columns of 16-bit results: the row of the matrix that the lane names to `stmatrix`.
    matrices: Vec<R<B32>>,
    /// For pairs of blocks of eight columns of 8-bit results: the lane's own pair in the first of them, in rows of the upper half.
    bytes: Vec<R<B32>>,
    /// For pairs of blocks of eight columns of 4-bit results: the lane's own byte in the first of them, in rows of the upper half.
    halves: Vec<R<B32>>,
    /// For blocks of eight columns of 32-bit results: the lane's own pair in rows of the upper half.
    pairs: Vec<R<B32>>,
}

impl Slots {
    pub fn new(k: &mut KernelBuilder, lane: R<B32>, staging: R<B32>, results: &[Staged]) -> Slots {
        let rows_of = |row_bytes| SharedTile { rows: WARP_ROWS, row_bytes };
        let swizzled = |k: &mut KernelBuilder, row: R<B32>, chunk: R<B32>, start: R<B32>| {
            let turn = rows_of(SPAN).turn(k, row);
            slot(k, chunk, turn, start)
        };
        let has = |bytes| results.iter().any(|result| result.dtype.bytes() == bytes && !result.pairs);
        let mut slots = Slots { matrices: Vec::new(), bytes: Vec::new(), halves: Vec::new(), pairs: Vec::new() };
        if has(2) {
            // Matrices in the order of the registers: upper and lower rows of eight columns, then of the next eight.
            let (row, right) = (k.and_b32(lane, 15), k.shr_u32(lane, 4));
            let start = k.mad_lo_u32(row, SPAN, staging);
            for pair in 0..SPAN / 32 {
                let chunk = k.add_u32(right, 2 * pair);
                slots.matrices.push(swizzled(k, row, chunk, start));
            }
        }
        if has(1) {
            let (row, across) = (k.shr_u32(lane, 2), k.and_b32(lane, 3));
            let start = k.mad_lo_u32(row, SPAN, staging);
            let start = k.mad_lo_u32(across, PAIR as u32, start);
            for step in 0..SPAN / STEP_COLUMNS {
                let chunk = k.mov_b32(step);
                slots.bytes.push(swizzled(k, row, chunk, start));
            }
        }
        if results.iter().any(|result| result.pairs) {
            let (row, across) = (k.shr_u32(lane, 2), k.and_b32(lane, 3));
            let start = k.mad_lo_u32(row, SPAN / 2, staging);
            let start = k.add_u32(start, across);
            let turn = rows_of(SPAN / 2).turn(k, row);
            for step in 0..SPAN / STEP_COLUMNS {
                let slot = slot(k, turn, step / 2, start);
                slots.halves.push(k.add_u32(slot, step % 2 * STEP_COLUMNS / 2));
            }
        }
        if has(4) {
            let (row, across) = (k.shr_u32(lane, 2), k.and_b32(lane, 3));
            let start = k.mad_lo_u32(row, SPAN, staging);
            let (half, within) = (k.shr_u32(across, 1), k.and_b32(across, 1));
            for block in 0..SPAN / 32 {
                let chunk = k.add_u32(half, 2 * block);
                let slot = swizzled(k, row, chunk, start);
                slots.pairs.push(k.mad_lo_u32(within, 8, slot));
            }
        }
        slots
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn staged_tile(
    k: &mut KernelBuilder,
    schedule: &WgmmaSchedule,
    consumer: &Consumer,
    place: &TilePlace,
    warp_row: R<B32>,
    sums: &Sums,
    (results, addend): (&[Staged], Option<&Addend>),
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let (first_row, first_column) = lane_origin(k, consumer.lane, warp_row, place.column);
    let part = quotient(k, place.column, schedule.finished_columns());
    let slots = Slots::new(k, consumer.lane, consumer.staging, results);
    let (_, elected) = k.elect_sync(-1);
    // Whole blocks of columns come to the region at once.
    let together = surround.share_blocks(QUAD).max(STEP_COLUMNS);
    let widest = results.iter().map(Staged::columns).max().unwrap_or(STEP_COLUMNS).max(together);
    let fillings = |result: &Staged| sums.len() as u32 * schedule.finished_columns() / result.columns();
    let fillings = results.iter().map(fillings).sum();
    let buffers = Buffers::new(consumer.staging, WARP_ROWS, elected, fillings);
    let mut buffers = if addend.is_some() { buffers.of_count(schedule.buffers) } else { buffers };
    for (block, sums) in sums.iter().enumerate() {
        for chunk in (0..schedule.finished_columns()).step_by(widest as usize) {
            // What the region makes of the chunk, packed: for each result the words of each step of sixteen columns.
            let mut packed: Vec<Vec<Vec<Value>>> = vec![Vec::new(); results.len()];
            let filling = block as u32 * (schedule.tile.n / widest) + chunk / widest;
            let brought =
                addend.map(|addend| addend.read(k, &consumer.arrivals, filling % schedule.buffers, &slots.matrices));
            let mut steps = Vec::new();
            for step in (chunk..chunk + widest).step_by(STEP_COLUMNS as usize) {
                let brought = brought.as_ref().map(|brought| brought[((step - chunk) / STEP_COLUMNS) as usize]);
                // Half of the way on, the result before has left the other buffer: the next piece can come there.
                if let (Some(addend), true) = (addend, step == chunk + widest / 2) {
                    let next = filling + 1;
                    if (schedule.buffers..fillings).contains(&next) {
                        let of_block = schedule.tile.n / widest;
                        let column = k.add_u32(place.column, next % of_block * widest);
                        let row = k.add_u32(warp_row, next / of_block * ROWS);
                        let to = (consumer.staging, next % schedule.buffers);
                        addend.ask(k, &consumer.arrivals, elected, to, (column, row), &place.batch)?;
                    }
                }
                steps.push(Step { block: block as u32, column: step, from: 0, brought });
                if !(step + STEP_COLUMNS).is_multiple_of(together) {
                    continue;
                }
                let origin = (first_row, first_column);
                let words = results_of(&std::mem::take(&mut steps), k, schedule, place, origin, sums, None, surround)?;
                for (result, words) in packed.iter_mut().zip(words) {
                    result.extend(words.chunks(STEP_FRAGMENTS).map(<[_]>::concat));
                }
            }
            for (result, steps) in results.iter().zip(&packed) {
                let wide = result.columns();
                for (part, steps) in steps.chunks((wide / STEP_COLUMNS) as usize).enumerate() {
                    let column = k.add_u32(place.column, chunk + part as u32 * wide);
                    let row = k.add_u32(warp_row, block as u32 * ROWS);
                    let put = |k: &mut KernelBuilder, offset| {
                        steps
                            .iter()
                            .enumerate()
                            .try_for_each(|(step, words)| put(k, result, &slots, step, offset, words))
                    };
                    if addend.is_some() {
                        buffers.send_over(k, result, (column, row), (&place.batch, place.end), put)?;
                    } else {
                        buffers.send(k, result, (column, row), (&place.batch, place.end), put)?;
                    }
                }
            }
        }
        surround.leave_folds(k, (&place.batch, place.end), first_row, schedule.extent(), QUAD, part)?;
    }
    Ok(())
}

/// Sixteen columns of a block of 64 rows; `from` is the column of the tile that the origin is at, `brought` is the addend's
/// words there.
struct Step {
    block: u32,
    column: u32,
    from: u32,
    brought: Option<[Reg; STEP_FRAGMENTS]>,
}

/// Fragments of a step: upper and lower rows of eight columns, then of the next eight.
pub(in super::super) const STEP_FRAGMENTS: usize = 4;

impl Step {
    /// The sums of each fragment, of every product.
    fn sums(&self, schedule: &WgmmaSchedule, sums: &[[Reg; 4]]) -> [Vec<Reg>; STEP_FRAGMENTS] {
        STEP_PLACES.map(|(group, half)| of_products(schedule, sums, self.column / 8 + group, half * PAIR as u32, PAIR))
    }
}

/// The blocks of eight columns and the halves of rows of a step's fragments.
const STEP_PLACES: [(u32, u32); STEP_FRAGMENTS] = [(0, 0), (0, 1), (1, 0), (1, 1)];

/// What the region makes of the lane's sums in some steps: for each result the words of each fragment.
#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn results_of(
    steps: &[Step],
    k: &mut KernelBuilder,
    schedule: &WgmmaSchedule,
    place: &TilePlace,
    origin: (R<B32>, R<B32>),
    sums: &[[Reg; 4]],
    only: Option<usize>,
    surround: &mut dyn Surround,
) -> Result<Vec<Vec<Vec<Value>>>, ContractionError> {
    let of_places: Vec<[Vec<Reg>; STEP_FRAGMENTS]> = steps.iter().map(|step| step.sums(schedule, sums)).collect();
    let mut fragments = Vec::with_capacity(steps.len() * STEP_FRAGMENTS);
    for (step, of_places) in steps.iter().zip(&of_places) {
        for (&(group, half), sums) in STEP_PLACES.iter().zip(of_places) {
            fragments.push(Fragment {
                row: step.block * ROWS + half * 8,
                column: step.column - step.from + group * 8,
                addend: step.brought.as_ref().map_or(&[], |words| &words[(2 * group + half) as usize..][..1]),
                sums,
            });
        }
    }
    surround.results(k, &place.batch, origin, schedule.extent(), &fragments, only)
}

/// The same where each result has columns of its own: a staging buffer is one result's.
#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn staged_parts(
    k: &mut KernelBuilder,
    schedule: &WgmmaSchedule,
    consumer: &Consumer,
    place: &TilePlace,
    warp_row: R<B32>,
    sums: &Sums,
    results: &[Staged],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let slots = Slots::new(k, consumer.lane, consumer.staging, results);
    let (_, elected) = k.elect_sync(-1);
    let wide = results[0].columns();
    let fillings = sums.len() as u32 * schedule.tile.n / wide;
    let mut buffers = Buffers::new(consumer.staging, WARP_ROWS, elected, fillings);
    for (block, sums) in sums.iter().enumerate() {
        let row = k.add_u32(warp_row, block as u32 * ROWS);
        for chunk in (0..schedule.tile.n).step_by(wide as usize) {
            let column = k.add_u32(place.column, chunk);
            let origin = lane_origin(k, consumer.lane, warp_row, column);
            buffers.send_part(k, results, (column, row), &place.batch, |k, number, offset| {
                for (position, step) in (chunk..chunk + wide).step_by(STEP_COLUMNS as usize).enumerate() {
                    let step = [Step { block: block as u32, column: step, from: chunk, brought: None }];
                    let words = results_of(&step, k, schedule, place, origin, sums, Some(number), surround)?;
                    put(k, &results[number], &slots, position, offset, &words.concat().concat())?;
                }
                Ok(())
            })?;
        }
    }
    Ok(())
}

/// Writes the words of sixteen columns, step `step` of a staging buffer.
pub(in super::super) fn put(
    k: &mut KernelBuilder,
    result: &Staged,
    slots: &Slots,
    step: usize,
    offset: i32,
    words: &[Value],
) -> Result<(), ContractionError> {
    let broken = || ContractionError::Surround("results of a fragment are packed in registers".into());
    let dtype = result.dtype;
    let registers = staged::registers(k, dtype, words)?;
    if dtype.bytes() == 2 {
        let words: Vec<R<B32>> =
            registers.iter().map(|word| word.typed()).collect::<Result<_, _>>().map_err(|_| broken())?;
        let &[a, b, c, d] = words.as_slice() else { return Err(broken()) };
        k.stmatrix_x4(slots.matrices[step].at(offset), [a, b, c, d]);
        return Ok(());
    }
    if result.pairs {
        // Upper rows and lower rows of eight columns, then of the next eight; a pair is a byte.
        for (number, word) in registers.iter().enumerate() {
            let word: R<B32> = word.typed().map_err(|_| broken())?;
            let at = (number as u32 / 2 * 4 + number as u32 % 2 * 4 * SPAN) as i32;
            k.st_shared_u8(slots.halves[step].at(offset + at), word);
        }
        return Ok(());
    }
    if dtype.bytes() == 1 {
        // Upper rows and lower rows of eight columns, then of the next eight; a pair is half a word.
        for (number, word) in registers.iter().enumerate() {
            let word: R<B32> = word.typed().map_err(|_| broken())?;
            let pair = k.cvt_u16_u32(word);
            let at = (number as u32 / 2 * 8 + number as u32 % 2 * 8 * SPAN) as i32;
            k.st_shared_b16(slots.bytes[step].at(offset + at), pair);
        }
        return Ok(());
    }
    let values: Vec<R<F32>> =
        registers.iter().map(|word| word.typed()).collect::<Result<_, _>>().map_err(|_| broken())?;
    for (number, pair) in values.chunks(PAIR).enumerate() {
        // Upper rows and lower rows of eight columns, then of the next eight.
        let (group, half) = (number / 2, number % 2);
        let below = (half as u32 * 8 * SPAN) as i32;
        k.st_shared_v2_f32(slots.pairs[2 * step + group].at(offset + below), [pair[0], pair[1]]);
    }
    Ok(())
}
