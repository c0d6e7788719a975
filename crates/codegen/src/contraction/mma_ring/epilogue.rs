//! From the sums of a warp to the region's results.
//!
//! The sums of 16 rows lie in the warp's lanes as `wgmma` leaves them, so results take the same way: packed, turned by
//! `stmatrix` into a staging buffer of 16 rows of 128 bytes, and copied from there to memory by the copy engine, which leaves
//! out what lies beyond the edges. Results that lie otherwise are stored one pair, or one element, at a time.

use super::super::MapParameter;
use super::super::block_scaled::{BlockScaled, factor_of_sums, widening};
use super::super::cta::{TilePlace, store_at};
use super::super::problem::{ContractionError, Problem};
use super::super::staged::{self, Buffers, Staged};
use super::super::surround::{Fragment, Surround};
use super::super::wgmma::epilogue::{PAIR, QUAD, STEP_COLUMNS, STEP_FRAGMENTS, Slots, lane_origin, put};
use super::schedule::{FRAGMENT, MmaRingSchedule};
use super::{Consumer, Sums};
use crate::division::quotient;
use gable_ptx::{B32, F32, KernelBuilder, R, Value};

/// How results leave.
pub(super) enum Epilogue {
    /// All through staging buffers.
    Staged(Vec<Staged>),
    /// From registers.
    Direct,
}

impl Epilogue {
    /// Chooses the way, and declares the maps of results as parameters.
    pub fn new(
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &MmaRingSchedule,
        surround: &mut dyn Surround,
    ) -> Epilogue {
        // Results that have a part of the columns each are stored from registers.
        let rows = surround.result_rows();
        let has_parts = rows.is_some_and(|rows| rows.iter().any(|rows| rows.columns.count != problem.n));
        let shape = (FRAGMENT.0, PAIR);
        let results = (!has_parts).then(|| staged::results(k, problem, schedule.warp_tile().1, shape, surround));
        match results.flatten() {
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

    /// Computes and stores the results of one tile's part of the warp.
    #[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
    pub fn finish(
        &self,
        k: &mut KernelBuilder,
        problem: &Problem,
        schedule: &MmaRingSchedule,
        consumer: &Consumer,
        place: &TilePlace,
        sums: &Sums,
        surround: &mut dyn Surround,
    ) -> Result<(), ContractionError> {
        if let Some(scaled) = BlockScaled::of(problem)
            && let Some(factor) = factor_of_sums(k, &scaled, widening(scaled.short(true)), &place.batch, surround)?
        {
            for sum in sums.iter().flatten().flatten() {
                let broken = |_| ContractionError::Surround("sums of floats are floats".into());
                let sum: R<F32> = sum.typed().map_err(broken)?;
                k.set(sum).mul_f32(sum, factor);
            }
        }
        let first = (k.add_u32(place.row, consumer.row), k.add_u32(place.column, consumer.column));
        match self {
            Epilogue::Staged(results) => staged_tile(k, schedule, consumer, place, first, sums, results, surround),
            Epilogue::Direct => direct(k, problem, schedule, consumer, place, first, sums, surround),
        }
    }

    /// Waits until all results are in memory.
    pub fn drain(&self, k: &mut KernelBuilder) {
        if matches!(self, Epilogue::Staged(_)) {
            k.bulk_wait_group(0);
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn direct(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &MmaRingSchedule,
    consumer: &Consumer,
    place: &TilePlace,
    (row, column): (R<B32>, R<B32>),
    sums: &Sums,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let lanes = if problem.store.along_m { 1 } else { problem.store.lanes.min(PAIR) };
    let part = surround.has_folds().then(|| quotient(k, column, schedule.warp_tile().1));
    let (row, column) = lane_origin(k, consumer.lane, row, column);
    for (i, sums) in sums.iter().enumerate() {
        for half in 0..FRAGMENT.0 / 8 {
            let row = k.add_u32(row, i as u32 * FRAGMENT.0 + half * 8);
            surround.begin_row(k)?;
            for (j, sums) in sums.iter().enumerate() {
                let sums = &sums[half as usize * PAIR..][..PAIR];
                for (part, sums) in sums.chunks(lanes).enumerate() {
                    let column = k.add_u32(column, j as u32 * FRAGMENT.1 + (part * lanes) as u32);
                    store_at(k, problem, schedule.extent(), (&place.batch, place.end), (row, column), sums, surround)?;
                }
            }
            if let Some(part) = part {
                surround.leave_folds(k, (&place.batch, place.end), row, schedule.extent(), QUAD, part)?;
            }
        }
    }
    Ok(())
}

#[expect(clippy::too_many_arguments, reason = "the parts of one kernel")]
fn staged_tile(
    k: &mut KernelBuilder,
    schedule: &MmaRingSchedule,
    consumer: &Consumer,
    place: &TilePlace,
    (first_row, first_column): (R<B32>, R<B32>),
    sums: &Sums,
    results: &[Staged],
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    let origin = lane_origin(k, consumer.lane, first_row, first_column);
    let part = surround.has_folds().then(|| quotient(k, first_column, schedule.warp_tile().1));
    let slots = Slots::new(k, consumer.lane, consumer.staging, results);
    let columns = schedule.warp_tile().1;
    // Whole blocks of columns come to the region at once.
    let together = surround.share_blocks(QUAD).max(STEP_COLUMNS);
    let widest = results.iter().map(Staged::columns).max().unwrap_or(STEP_COLUMNS).max(together);
    let fillings = results.iter().map(|result| sums.len() as u32 * columns / result.columns()).sum();
    let mut buffers = Buffers::new(consumer.staging, FRAGMENT.0, consumer.elected, fillings);
    for (i, sums) in sums.iter().enumerate() {
        let down = i as u32 * FRAGMENT.0;
        for chunk in (0..columns).step_by(widest as usize) {
            // What the region makes of the chunk, packed: for each result the words of each step of sixteen columns.
            let mut packed: Vec<Vec<Vec<Value>>> = vec![Vec::new(); results.len()];
            for step in (chunk..chunk + widest).step_by(together as usize) {
                let groups = &sums[(step / FRAGMENT.1) as usize..][..(together / FRAGMENT.1) as usize];
                let fragments: Vec<Fragment<'_>> = groups
                    .iter()
                    .zip((step..).step_by(FRAGMENT.1 as usize))
                    .flat_map(|(sums, column)| {
                        sums.chunks(PAIR).zip([down, down + 8]).map(move |(sums, row)| Fragment {
                            row,
                            column,
                            sums,
                            addend: &[],
                        })
                    })
                    .collect();
                let words = surround.results(k, &place.batch, origin, schedule.extent(), &fragments, None)?;
                for (result, words) in packed.iter_mut().zip(words) {
                    result.extend(words.chunks(STEP_FRAGMENTS).map(<[_]>::concat));
                }
            }
            for (result, steps) in results.iter().zip(&packed) {
                let wide = result.columns();
                for (part, steps) in steps.chunks((wide / STEP_COLUMNS) as usize).enumerate() {
                    let column = k.add_u32(first_column, chunk + part as u32 * wide);
                    let row = k.add_u32(first_row, down);
                    buffers.send(k, result, (column, row), (&place.batch, place.end), |k, offset| {
                        steps
                            .iter()
                            .enumerate()
                            .try_for_each(|(step, words)| put(k, result, &slots, step, offset, words))
                    })?;
                }
            }
        }
        if let Some(part) = part {
            surround.leave_folds(k, (&place.batch, place.end), origin.0, schedule.extent(), QUAD, part)?;
        }
    }
    Ok(())
}

/// Whether all results leave through staging buffers, each with every column.
pub(super) fn stages(problem: &Problem, schedule: &MmaRingSchedule, surround: &mut dyn Surround) -> bool {
    staged::suits(problem, schedule.warp_tile().1, (FRAGMENT.0, PAIR), surround)
}
