//! The time that the rules expect of a kernel for few rows: the bytes of B at the rate that kernels reach, and what does not
//! happen meanwhile.
//!
//! As measured on an H200 (2026-11-22) to 10 % for 1 to 16 rows by (6144, 4096), (28672, 4096) and (4096, 14336), of bf16, e4m3
//! and nvfp4. What more rows take was not measured.

use super::super::problem::Problem;
use super::format::Format;
use super::schedule::{FewRowsSchedule, FragmentsSchedule, STEP_BYTES};
use super::streamed::scale_bytes;
use gable_roofline::Machine;

/// Seconds beside the reading of B (from one kernel's end to the results of the next one's last group: a start, rows of A, sums
/// that are added), and the share of the memory's data sheet at which B is read.
struct Line {
    start_s: f64,
    share: f64,
}

/// By way of registers.
const BY_REGISTERS: Line = Line { start_s: 6e-6, share: 0.875 };

/// By way of shared memory; elements of four bits wait for their table.
const BY_SHARED: Line = Line { start_s: 5.2e-6, share: 0.955 };
const BY_TABLE: Line = Line { start_s: 6.7e-6, share: 0.885 };

/// What a byte of A costs that a group of columns reads again, over one of B.
const AGAIN_COST: f64 = 0.2;

/// Seconds that each further group of rows takes, and that CTAs take to exchange sums.
const ROW_GROUP_S: f64 = 1.5e-6;
const EXCHANGE_S: f64 = 0.6e-6;

/// Seconds that the rules expect of a schedule; a start is counted, the launch by the host is not.
pub(in super::super) fn seconds(problem: &Problem, schedule: &FewRowsSchedule, machine: &Machine) -> f64 {
    let bits = Format::of(problem).bits();
    let by_shared = if bits == 4 { BY_TABLE } else { BY_SHARED };
    // How often rows are read.
    let (times, line, exchange) = match schedule {
        // Rows that many CTAs read come from L1 and L2, and are no more than a few.
        FewRowsSchedule::Lanes(_) => (1, BY_REGISTERS, 0.0),
        FewRowsSchedule::Streamed(schedule) => {
            let times = if schedule.held { schedule.clusters() } else { schedule.groups(problem) };
            (times, by_shared, if schedule.split > 1 { EXCHANGE_S } else { 0.0 })
        }
        FewRowsSchedule::Fragments(schedule) => (schedule.groups(problem), BY_REGISTERS, 0.0),
    };
    let rows = problem.m as f64 * problem.k as f64 * problem.element.bytes() as f64;
    let further = FragmentsSchedule::row_groups(problem).saturating_sub(1);
    let bytes = problem.batches() as f64 * (column_bytes(problem) + AGAIN_COST * f64::from(times) * rows);
    line.start_s + exchange + f64::from(further) * ROW_GROUP_S + bytes / (line.share * machine.memory_bytes_per_s())
}

/// The same of a kernel that reads what it needs at once, given the seconds that its bytes take by the memory's data sheet.
pub(in super::super) fn seconds_of_reading(memory_s: f64) -> f64 {
    BY_REGISTERS.start_s + memory_s / BY_REGISTERS.share
}

/// Bytes of the columns of all products, as they are stored, with their scales.
fn column_bytes(problem: &Problem) -> f64 {
    let bytes = problem.k as f64 * f64::from(Format::of(problem).bits()) / 8.0;
    // Scales that belong to no step are those of whole columns, of which there are few.
    let scales = f64::from(scale_bytes(problem).unwrap_or(0)) / f64::from(STEP_BYTES);
    f64::from(problem.products()) * problem.n as f64 * bytes * (1.0 + scales)
}
