//! The time that the rules expect of a schedule: a prediction, from a machine's documents and a few constants.

use super::bounds::memory_seconds;
use super::problem::Problem;
use super::schedule::Schedule;
use super::{few_rows, mma_ring, rule, tcgen05, wgmma};
use gable_roofline::Machine;

/// Seconds that a problem is expected to take on a machine by a schedule; the launch is not counted.
pub fn seconds(problem: &Problem, schedule: &Schedule, machine: &Machine) -> f64 {
    match schedule {
        Schedule::Wgmma(schedule) => wgmma::rule::seconds(problem, schedule, machine),
        Schedule::Tcgen05(schedule) => tcgen05::rule::seconds(problem, schedule, machine),
        Schedule::MmaRing(schedule) => mma_ring::rule::seconds(problem, schedule, machine),
        Schedule::MmaSync(_) | Schedule::Fma(_) => rule::seconds(problem, schedule, machine),
        Schedule::FewRows(schedule) => few_rows::seconds(problem, schedule, machine),
        Schedule::Direct(_) => few_rows::seconds_of_reading(memory_seconds(problem, machine)),
    }
}
