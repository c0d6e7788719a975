//! From the sums in tensor memory to the region's results.
//!
//! A thread holds one row of its warp's 32: consecutive registers are consecutive columns, so the region computes with
//! pieces of a row as long as it likes. Results that lie in memory as rows are packed and written, 16 bytes at a time, to a
//! staging buffer of 32 rows of 128 bytes; the swizzle puts eight neighbouring rows into different banks. The copy engine
//! takes them to memory. Results that lie otherwise are stored piece by piece, or one by one.

use super::super::MapParameter;
use super::super::block_scaled::{BlockScaled, factor_of_sums, widening};
use super::super::boxes::SPAN;
use super::super::cta::{TilePlace, Walk, store_at};
use super::super::group_scales::{Factors, GroupScales, Slots, promote};
use super::super::problem::{ContractionError, Problem};
use super::super::ring::{Position, Ring};
use super::super::schedule::{WARP, sum_type};
use super::super::staged::{self, Buffers, Staged};
use super::super::surround::{Fragment, Place, Surround};
use super::super::tile::{SharedTile, slot};
use super::TensorAddress;
use super::schedule::{ROWS, Tcgen05Schedule};
use crate::division::quotient;
use gable_ptx::meaning::{TensorAccess, TensorShape};
use gable_ptx::{B32, F32, KernelBuilder, Pred, R, Reg, Value};
use gable_tensor::DType;

/// Columns that one load brings.
const LOAD: u32 = 32;

/// Columns of a round that a thread promotes at once.
const PROMOTED: u32 = 16;

/// Bytes that a thread writes to a staging buffer at once.
const PIECE: u32 = 16;

/// How results leave.
pub(super) enum Epilogue {
    /// All through staging buffers.
    Staged(Vec<Staged>),
    /// From registers.
    Direct,
}

/// One thread of a warp that finishes tiles: who it is and what it has.
pub(super) struct Finisher {
    /// Which warp, of those that finish.
    pub warp: R<B32>,
    /// Lane in the warp.
    pub lane: R<B32>,
    /// Whether the thread speaks for its warp.
    pub elected: R<Pred>,
    /// Its warp's first staging buffer.
    pub staging: R<B32>,
    /// Where the factors of its sums are, where each round's sums have some.
    pub promoted: Option<Factors>,
}

/// How a thread reads the factors of its sums: those of the row of its number, and of all columns.
pub(super) fn factors(
    k: &mut KernelBuilder,
    schedule: &Tcgen05Schedule,
    scales: &GroupScales,
    slots: Slots,
    thread: R<B32>,
) -> Factors {
    let column = k.mov_b32(0);
    Factors::new(k, scales, slots, (thread, column), (vec![0], schedule.tile.n))
}

impl Epilogue {
    /// Chooses the way, and declares the maps of results as parameters.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &Tcgen05Schedule,
        surround: &mut dyn Surround,
    ) -> Epilogue {
        // A word of packed results holds a pair of 16-bit ones.
        match staged::results(k, problem, schedule.tile.n, (WARP, 2), surround) {
            Some(results) => Epilogue::Staged(results),
            None => Epilogue::Direct,
        }
    }

    /// The maps, in the order of the parameters.
    pub fn parameters(&self) -> Vec<MapParameter> {
        match self {
            Epilogue::Staged(results) => results.iter().flat_map(Staged::parameters).collect(),
            Epilogue::Direct => Vec::new(),
        }
    }

    /// Finishes all tiles of the CTA, one after the other: of a pair's tiles its own rows.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub fn run(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &Tcgen05Schedule,
        finisher: &Finisher,
        accumulators: &Ring,
        walk: &Walk,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        let scaled = BlockScaled::of(problem);
        let at = accumulators.first_to_read(k);
        // Lanes are counted in the upper half of an address.
        let lanes = k.shl_b32(finisher.warp, 16 + WARP.trailing_zeros());
        walk.for_each(k, problem, |k, place| {
            let row = k.mad_lo_u32(finisher.warp, WARP, place.row);
            let row = walk.pair.iter().fold(row, |row, pair| k.mad_lo_u32(pair.rank, ROWS, row));
            // While the tile is multiplied, what the region reads of its rows comes to L2.
            let own = k.add_u32(row, finisher.lane);
            let rows = Place { batch: &place.batch, row: own, column: place.column };
            surround.prefetch(k, rows, schedule.tile.n, true)?;
            let factor = match &scaled {
                Some(scaled) => factor_of_sums(k, scaled, widening(scaled.short(false)), &place.batch, surround)?,
                None => None,
            };
            let accumulator = Accumulator {
                sums: lanes,
                ring: accumulators,
                at,
                elected: finisher.elected,
                factor,
                holds_stage: true,
            };
            let accumulator = match &finisher.promoted {
                None => {
                    let sums = accumulator.arrived(k);
                    Accumulator { sums, ..accumulator }
                }
                Some(factors) => accumulator.promoted(k, problem, schedule, factors)?,
            };
            match self {
                Epilogue::Staged(results) => {
                    staged_tile(k, problem, schedule, finisher, &accumulator, (place, row), results, surround)
                }
                Epilogue::Direct => direct(k, problem, schedule, finisher, &accumulator, (place, row), surround),
            }?;
            if surround.has_folds() {
                // A row of the tile is a thread's alone.
                let part = quotient(k, place.column, schedule.tile.n);
                surround.leave_folds(k, (&place.batch, place.end), own, schedule.extent(), 1, part)?;
            }
            if finisher.promoted.is_none() {
                accumulators.advance(k, at);
            }
            Ok(())
        })?;
        if matches!(self, Epilogue::Staged(_)) {
            k.bulk_wait_group(0);
        }
        Ok(())
    }
}

/// The sums of one tile, for one warp.
struct Accumulator<'a> {
    /// The warp's first lane, column 0.
    sums: TensorAddress,
    /// What the sums are a stage of.
    ring: &'a Ring,
    at: Position,
    elected: R<Pred>,
    /// What all sums are multiplied by.
    factor: Option<R<F32>>,
    /// Whether the sums lie in the stage, which must be given back; else in columns of their own.
    holds_stage: bool,
}

impl Accumulator<'_> {
    /// Waits for the sums, where `sums` is the warp's first lane alone, and gives their place.
    fn arrived(&self, k: &mut KernelBuilder) -> TensorAddress {
        self.ring.wait_full(k, self.at);
        k.bar_warp_sync(-1);
        k.tcgen05_fence_after_thread_sync();
        let sums = self.ring.stage(k, self.at);
        k.add_u32(sums, self.sums)
    }

    /// Adds up the sums of all rounds of a tile, each times its factor, where `sums` is the warp's first lane alone; gives those of the
    /// tile, in the columns after the accumulators.
    fn promoted(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &Tcgen05Schedule,
        factors: &Factors,
    ) -> Result<Self, ContractionError> {
        let count = schedule.tile.n;
        let whole: Vec<R<F32>> = (0..count).map(|_| k.mov_f32(0.0)).collect();
        let registers: Vec<Reg> = whole.iter().map(|sum| sum.reg()).collect();
        k.no_unroll();
        k.for_u32(0, problem.rounds(schedule.tile.k), 1, |k, _| -> Result<(), ContractionError> {
            let from = self.arrived(k);
            let factors_of_row = factors.of_round(k, self.at);
            let load = |k: &mut KernelBuilder, column: u32| -> Result<Vec<Reg>, ContractionError> {
                let access = TensorAccess { shape: TensorShape::Lanes32Bits32, count: PROMOTED as u8, packed: false };
                let words = k.tcgen05_ld(access, from.at(column as i32), None)?;
                k.tcgen05_wait_ld();
                Ok(words.into_iter().map(|word| k.f32_of_b32(word).reg()).collect())
            };
            for (column, sums) in (0..).step_by(PROMOTED as usize).zip(registers.chunks(PROMOTED as usize)) {
                let round = load(k, column)?;
                if column + PROMOTED == count {
                    self.release(k);
                }
                for (column, (round, sum)) in (column..).zip(round.iter().zip(sums)) {
                    let factor = factors_of_row[0][factors.group_of(column)];
                    promote(k, Some(factor), &[*round], &[*sum])?;
                }
            }
            self.ring.advance(k, self.at);
            Ok(())
        })?;
        let sums = k.add_u32(self.ring.data, schedule.accumulators * schedule.columns());
        let sums = k.add_u32(sums, self.sums);
        for (column, values) in (0..).step_by(PROMOTED as usize).zip(whole.chunks(PROMOTED as usize)) {
            let access = TensorAccess { shape: TensorShape::Lanes32Bits32, count: PROMOTED as u8, packed: false };
            let words: Vec<R<B32>> = values.iter().map(|&value| k.b32_of_f32(value)).collect();
            k.bar_warp_sync(-1);
            k.tcgen05_st(access, sums.at(column), None, &words)?;
        }
        k.tcgen05_wait_st();
        Ok(Accumulator { sums, holds_stage: false, ..*self })
    }

    /// The thread's sums of `count` columns from `from` on.
    fn load(
        &self,
        k: &mut KernelBuilder,
        from: TensorAddress,
        count: u32,
        sum: DType,
    ) -> Result<Vec<Reg>, ContractionError> {
        let mut words = Vec::with_capacity(count as usize);
        for column in (0..count).step_by(LOAD as usize) {
            let load = (count - column).min(LOAD);
            let access = TensorAccess { shape: TensorShape::Lanes32Bits32, count: load as u8, packed: false };
            words.extend(k.tcgen05_ld(access, from.at(column as i32), None)?);
        }
        k.tcgen05_wait_ld();
        let value = |word: R<B32>| match (sum, self.factor) {
            (DType::F32, None) => k.f32_of_b32(word).reg(),
            (DType::F32, Some(factor)) => {
                let sum = k.f32_of_b32(word);
                k.mul_f32(sum, factor).reg()
            }
            _ => word.reg(),
        };
        Ok(words.into_iter().map(value).collect())
    }

    /// The same of every product, in an accumulator at `from`: `count` columns from the tile's `column` on.
    fn load_products(
        &self,
        k: &mut KernelBuilder,
        from: TensorAddress,
        (column, count): (u32, u32),
        problem: &Problem,
        schedule: &Tcgen05Schedule,
    ) -> Result<Vec<Vec<Reg>>, ContractionError> {
        let together = schedule.columns_together().min(count);
        let mut all = Vec::new();
        for product in 0..schedule.products {
            let mut sums = Vec::with_capacity(count as usize);
            for first in (column..column + count).step_by(together as usize) {
                let at = k.add_u32(from, schedule.sums_at(product, first));
                sums.extend(self.load(k, at, together, sum_type(problem.element))?);
            }
            all.push(sums);
        }
        Ok(all)
    }

    /// Says that the warp has read all its sums.
    fn release(&self, k: &mut KernelBuilder) {
        if !self.holds_stage {
            return;
        }
        k.tcgen05_fence_before_thread_sync();
        k.bar_warp_sync(-1);
        self.ring.release(k, self.at.stage, self.elected);
    }
}

/// Pieces of `lanes` neighbouring columns, each with the sums of every product, one product after the other.
fn of_products(sums: &[Vec<Reg>], lanes: usize) -> impl Iterator<Item = Vec<Reg>> {
    let columns = sums.first().map_or(0, Vec::len);
    (0..columns)
        .step_by(lanes)
        .map(move |first| sums.iter().flat_map(|sums| sums[first..][..lanes].iter().copied()).collect())
}

fn direct(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &Tcgen05Schedule,
    finisher: &Finisher,
    accumulator: &Accumulator<'_>,
    (place, warp_row): (&TilePlace, R<B32>),
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let lanes = if problem.store.along_m { 1 } else { problem.store.lanes };
    let row = k.add_u32(warp_row, finisher.lane);
    let together = schedule.columns_together();
    let step = if together.is_multiple_of(LOAD) { LOAD } else { LOAD / 2 };
    surround.begin_row(k)?;
    for start in (0..schedule.tile.n).step_by(together as usize) {
        k.for_u32(0, together, step, |k, chunk| -> Result<(), ContractionError> {
            k.bar_warp_sync(-1);
            let from = k.add_u32(accumulator.sums, chunk);
            let sums = accumulator.load_products(k, from, (start, step), problem, schedule)?;
            let first = k.add_u32(place.column, chunk);
            for (part, sums) in of_products(&sums, lanes).enumerate() {
                let column = k.add_u32(first, start + (part * lanes) as u32);
                store_at(k, problem, schedule.extent(), (&place.batch, place.end), (row, column), &sums, surround)?;
            }
            Ok(())
        })?;
    }
    accumulator.release(k);
    Ok(())
}

/// Where the thread writes the pieces of its row of a staging buffer.
struct Pieces {
    /// Of a row of 128 bytes.
    spans: Vec<R<B32>>,
    /// Of a row of 64.
    half_spans: Vec<R<B32>>,
}

impl Pieces {
    fn new(k: &mut KernelBuilder, finisher: &Finisher, results: &[Staged]) -> Pieces {
        let mut of_rows = |bytes: u32| {
            let start = k.mad_lo_u32(finisher.lane, bytes, finisher.staging);
            let turn = SharedTile { rows: WARP, row_bytes: bytes }.turn(k, finisher.lane);
            let slot = |piece| slot(k, turn, piece, start);
            (0..bytes / PIECE).map(slot).collect()
        };
        let has = |pairs| results.iter().any(|result| result.pairs == pairs);
        Pieces {
            spans: if has(false) { of_rows(SPAN) } else { Vec::new() },
            half_spans: if has(true) { of_rows(SPAN / 2) } else { Vec::new() },
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn staged_tile(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &Tcgen05Schedule,
    finisher: &Finisher,
    accumulator: &Accumulator<'_>,
    (place, warp_row): (&TilePlace, R<B32>),
    results: &[Staged],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let lanes = problem.store.lanes;
    let row = k.add_u32(warp_row, finisher.lane);
    let slots = Pieces::new(k, finisher, results);
    // Whole blocks of columns come to the region at once, and no more of them: a thread keeps what it computes of them.
    let block = surround.share_blocks(1);
    let widest = results.iter().map(Staged::columns).max().unwrap_or(LOAD).max(block);
    let together = if block > 1 { block.max(LOAD) } else { widest };
    let is_split = staged::are_parts(results, problem);
    let fillings = match is_split {
        true => schedule.tile.n / widest,
        false => results.iter().map(|result| schedule.tile.n / result.columns()).sum(),
    };
    let mut buffers = Buffers::new(finisher.staging, WARP, finisher.elected, fillings);
    for chunk in (0..schedule.tile.n).step_by(widest as usize) {
        // What the region makes of the chunk, packed: for each result the words of each piece of the row.
        let mut packed: Vec<Vec<Vec<Value>>> = vec![Vec::new(); results.len()];
        for from in (chunk..chunk + widest).step_by(together as usize) {
            let sums = accumulator.load_products(k, accumulator.sums, (from, together), problem, schedule)?;
            if from + together == schedule.tile.n {
                accumulator.release(k);
            }
            let sums: Vec<Vec<Reg>> = of_products(&sums, lanes).collect();
            // Where each result has columns of its own, places are counted from the chunk.
            let first = if is_split { 0 } else { from };
            let fragments: Vec<Fragment<'_>> = sums
                .iter()
                .enumerate()
                .map(|(part, sums)| Fragment { row: 0, column: first + (part * lanes) as u32, addend: &[], sums })
                .collect();
            if is_split {
                let column = k.add_u32(place.column, chunk);
                buffers.send_part(k, results, (column, warp_row), &place.batch, |k, number, offset| {
                    let origin = (row, column);
                    let words =
                        surround.results(k, &place.batch, origin, schedule.extent(), &fragments, Some(number))?;
                    put(k, &results[number], &slots, offset, &words.concat().concat())
                })?;
                continue;
            }
            let words = surround.results(k, &place.batch, (row, place.column), schedule.extent(), &fragments, None)?;
            packed.iter_mut().zip(words).for_each(|(packed, words)| packed.extend(words));
        }
        if is_split {
            continue;
        }
        for (result, words) in results.iter().zip(packed) {
            let words = words.concat();
            for (part, words) in words.chunks((result.row_bytes() / 4) as usize).enumerate() {
                let column = k.add_u32(place.column, chunk + part as u32 * result.columns());
                buffers.send(k, result, (column, warp_row), (&place.batch, place.end), |k, offset| {
                    put(k, result, &slots, offset, words)
                })?;
            }
        }
    }
    Ok(())
}

/// Whether results leave through staging buffers.
pub(super) fn stages(problem: &Problem, schedule: &Tcgen05Schedule, surround: &mut dyn Surround) -> bool {
    staged::suits(problem, schedule.tile.n, (WARP, 2), surround)
}

/// Writes the words of the thread's row of a staging buffer.
fn put(
    k: &mut KernelBuilder,
    result: &Staged,
    slots: &Pieces,
    offset: i32,
    words: &[Value],
) -> Result<(), ContractionError> {
    let broken = || ContractionError::Surround("results of a row are packed in registers".into());
    let dtype = result.dtype;
    let slots = if result.pairs { &slots.half_spans } else { &slots.spans };
    let registers = staged::registers(k, dtype, words)?;
    if registers.len() * 4 != result.row_bytes() as usize {
        return Err(broken());
    }
    for (slot, piece) in slots.iter().zip(registers.chunks((PIECE / 4) as usize)) {
        if dtype.bytes() == 4 {
            let values: Vec<R<F32>> =
                piece.iter().map(|word| word.typed()).collect::<Result<_, _>>().map_err(|_| broken())?;
            let &[a, b, c, d] = values.as_slice() else { return Err(broken()) };
            k.st_shared_v4_f32(slot.at(offset), [a, b, c, d]);
        } else {
            let values: Vec<R<B32>> =
                piece.iter().map(|word| word.typed()).collect::<Result<_, _>>().map_err(|_| broken())?;
            let &[a, b, c, d] = values.as_slice() else { return Err(broken()) };
            k.st_shared_v4_b32(slot.at(offset), [a, b, c, d]);
        }
    }
    Ok(())
}
