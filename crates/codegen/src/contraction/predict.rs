//! The time that the rules expect of a schedule: a prediction, from a machine's documents and a few constants.

use super::bounds::memory_seconds;
use super::problem::Problem;
use super::schedule::Schedule;
use super::{mma_ring, rule, tcgen05, wgmma};
use gable_roofline::Machine;

/// Share of the data sheet's memory bandwidth that kernels for few rows reach, and the seconds that they take beside it: a line
/// through 1 row by 6144, 28672 and 128256 columns of 4096 (H200, 2026-11-21, times of `gable bench --suite gemm`).
const FEW_ROWS_SHARE: f64 = 0.82;
const FEW_ROWS_START: f64 = 7e-6;

/// Seconds that a problem is expected to take on a machine by a schedule; the launch is not counted.
pub fn seconds(problem: &Problem, schedule: &Schedule, machine: &Machine) -> f64 {
    match schedule {
        Schedule::Wgmma(schedule) => wgmma::rule::seconds(problem, schedule, machine),
        Schedule::Tcgen05(schedule) => tcgen05::rule::seconds(problem, schedule, machine),
        Schedule::MmaRing(schedule) => mma_ring::rule::seconds(problem, schedule, machine),
        Schedule::MmaSync(_) | Schedule::Fma(_) => rule::seconds(problem, schedule, machine),
        Schedule::FewRows(_) | Schedule::Direct(_) => {
            FEW_ROWS_START + memory_seconds(problem, machine) / FEW_ROWS_SHARE
        }
    }
}
