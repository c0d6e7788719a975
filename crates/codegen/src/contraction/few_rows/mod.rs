//! The family for few rows (decoding, small batches): bound by the bytes of B, each of which is read once.
//!
//! Tiles of 64 rows and more would idle here, and so would most multiprocessors. What counts is that every multiprocessor
//! has tens of kilobytes of B on their way from memory at any time, from the first moment to the last. So all kernels
//! split the columns over CTAs and k over the warps of a CTA, have loads far ahead of the multiplications without waiting
//! for other warps, and add the warps' partial sums in shared memory in a fixed order ([`join`]): results do not differ from run
//! to run.
//!
//! - [`fragments`]: 16-bit factors that lie along k, on the tensor cores, up to [`schedule::FRAGMENT_ROWS`] rows. B is the
//!   operand of 16 rows, A that of 8 columns, and a fragment is what a lane's load brings. B may be stored narrow, with
//!   scales.
//! - [`streamed`]: the same fragments, which come by way of shared memory, so that more of them can be on their way.
//! - [`lanes`]: everything else, on ordinary multiply-adds, up to [`schedule::LANE_ROWS`] rows.
//!
//! [`choice`] decides between them and their sizes; [`expected`] has the time that the rules expect of each.

mod choice;
mod expected;
pub(super) mod format;
mod fragments;
mod join;
mod lanes;
pub(super) mod scales;
pub mod schedule;
pub(super) mod source;
mod streamed;
mod table;

use super::problem::{ContractionError, Problem};
use super::surround::Surround;
pub(super) use choice::{choose, variants};
pub(super) use expected::{seconds, seconds_of_reading};
use gable_ptx::KernelBuilder;
use schedule::FewRowsSchedule;

/// Writes the kernel's body. The builder has no instructions yet but what the surround has written.
pub(super) fn emit(
    k: &mut KernelBuilder,
    problem: &Problem,
    schedule: &FewRowsSchedule,
    surround: &mut dyn Surround,
) -> Result<(), ContractionError> {
    match schedule {
        FewRowsSchedule::Lanes(schedule) => lanes::emit(k, problem, schedule, surround),
        FewRowsSchedule::Fragments(schedule) => fragments::emit(k, problem, schedule, surround),
        FewRowsSchedule::Streamed(schedule) => streamed::emit(k, problem, schedule, surround),
    }
}
