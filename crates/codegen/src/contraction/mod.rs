//! Contractions: matrix products, batched products and convolutions as tiled kernels.
//!
//! - [`problem`]: one description for all of them, whatever instruction computes it.
//! - [`schedule`]: how it is cut into tiles, as data; [`rule`] chooses, and [`candidates`] lists what
//!   is worth timing.
//! - [`surround`]: what the kernels ask of the region around the sums; [`region`] answers with the expression engine.
//! - One module per instruction class writes the main loop: `tcgen05`, `wgmma`, `mma_sync` and `fma`; for shapes that tiles do not
//!   fit there are [`few_rows`] and `direct` (convolutions of narrow groups).
//! - `bounds` is what the machine's row says of time, for the rules.
//! - `boxes` describes operands and results to the copy engine, `ring` is the stages that it fills, `operands` what lies in
//!   them, `carried` the operands that threads bring there instead, `narrow` those that they unpack,
//!   `staged` the results that leave by it.
//! - `normal` finds the problem in a region, `columns` which part of it each output has, `dequantise` a right factor that is
//!   stored narrow, `scaled` two factors that are stored narrow with scales (`short_codes` where those have fewer bits than a byte, `widening` where they become bytes), `radix` reads strided views out of symbolic
//!   indices.
//! - `fold` reduces the result's rows.
//! - `gather` brings operands from memory or from the region, `tile` lays them out in shared memory, `values` packs and
//!   converts, `cta` says which tile a CTA computes, `groups` where rows are in groups, `takeover` where tiles
//!   are handed out while the kernel runs.

mod axes;
mod block_scaled;
mod bounds;
mod boxes;
pub mod candidates;
mod carried;
pub mod columns;
mod cta;
mod dequantise;
mod direct;
pub mod few_rows;
mod fma;
mod fold;
mod gather;
mod group_scales;
mod groups;
pub mod mma_ring;
mod mma_sync;
mod narrow;
mod neighbours;
mod normal;
mod operands;
pub mod predict;
pub mod problem;
mod radix;
pub mod realign;
pub mod region;
mod ring;
pub mod rule;
mod scaled;
mod scaler;
pub mod schedule;
mod short_codes;
mod staged;
pub mod surround;
mod takeover;
pub mod tcgen05;
mod tile;
mod values;
pub mod wgmma;
mod widening;

use gable_artifact::TensorMap;
use gable_ptx::KernelBuilder;
use problem::{ContractionError, Problem, Side};
use schedule::Schedule;
use surround::Surround;

/// A tensor map that a kernel takes as a parameter after the region's buffers.
#[derive(Clone, Debug, PartialEq)]
pub enum MapParameter {
    /// Over the buffer that a factor lies in.
    Operand(Side, TensorMap),
    /// Over the matrix that the surround calls its addend.
    Addend(TensorMap),
    /// Over the result of this position.
    Result(usize, TensorMap),
}

/// Writes the body of a kernel that computes `problem` by `schedule`. The launch has `schedule.ctas(problem)` CTAs of
/// `schedule.threads()` threads in x and `schedule.shared_bytes(problem)` bytes of dynamic shared memory, and gives it the
/// tensor maps returned as further parameters.
pub fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &Schedule,
    surround: &mut dyn Surround,
) -> Result<Vec<MapParameter>, ContractionError> {
    problem.check()?;
    schedule.validate(problem, k.target())?;
    match schedule {
        Schedule::Wgmma(schedule) => return wgmma::emit(k, problem, schedule, surround),
        Schedule::Tcgen05(schedule) => return tcgen05::emit(k, problem, schedule, surround),
        Schedule::MmaRing(schedule) => return mma_ring::emit(k, problem, schedule, surround),
        Schedule::MmaSync(schedule) => mma_sync::emit(k, problem, schedule, surround)?,
        Schedule::Fma(schedule) => fma::emit(k, problem, schedule, surround)?,
        Schedule::FewRows(schedule) => few_rows::emit(k, problem, schedule, surround)?,
        Schedule::Direct(_) => return Err(ContractionError::NotTiled(schedule.to_string())),
    }
    Ok(Vec::new())
}

/// Parts of the columns for each of which a kernel of this schedule leaves partial results of folds; `None` where it does not
/// reduce rows.
fn fold_parts(problem: &Problem, schedule: &Schedule, surround: &mut dyn Surround) -> Option<u32> {
    match schedule {
        Schedule::Wgmma(schedule) => wgmma::fold_parts(problem, schedule, surround),
        Schedule::Tcgen05(schedule) => Some(tcgen05::fold_parts(problem, schedule)),
        Schedule::MmaRing(schedule) => Some(mma_ring::fold_parts(problem, schedule)),
        Schedule::MmaSync(schedule) => mma_sync::fold_parts(problem, schedule),
        _ => None,
    }
}

/// Whether a kernel of this schedule hands the region whole blocks of columns, and lets it store what it makes of them.
fn folds_blocks(problem: &Problem, schedule: &Schedule, surround: &mut dyn Surround) -> bool {
    if problem.ragged {
        // Rows beyond a group's end are another tile's to store.
        return false;
    }
    match schedule {
        Schedule::Wgmma(schedule) => wgmma::folds_blocks(problem, schedule, surround),
        Schedule::Tcgen05(schedule) => tcgen05::folds_blocks(problem, schedule, surround),
        Schedule::MmaRing(schedule) => mma_ring::folds_blocks(problem, schedule, surround),
        _ => false,
    }
}
