//! Chooses a schedule for this pipeline from the problem and the machine's row: the predicted time of every candidate.
//!
//! The time of a candidate, in cycles of one multiprocessor:
//!
//! - A round multiplies `tile.m x tile.n x 128 bytes` of k at the machine's rate, less a share that no kernel is expected to
//!   use. Each warp reads its rows and columns of the stage from shared memory, where copies have written them: the longer of
//!   the two counts. Rows and columns beyond the edges count. Where a round's sums are scaled, that comes after it.
//! - The warps that multiply a tile finish it: both count. Tiles run in waves: the busiest multiprocessor decides. Before its
//!   first round the ring is filled once.
//! - All tiles' operands come through L2, at a multiple of the rate of memory, and once from memory itself: the larger of
//!   multiplying and these counts, and a share of the other.
//!
//! The form is that of the rule for `wgmma`, whose error against measurements is known. No kernel of this class was timed yet.

use super::super::block_scaled::{BlockScaled, span};
use super::super::bounds::{l2_seconds, memory_seconds, problem_rate};
use super::super::boxes::SPAN;
use super::super::group_scales;
use super::super::groups;
use super::super::operands;
use super::super::problem::{Problem, Side};
use super::super::schedule::{Schedule, Tile, WARP};
use super::schedule::MmaRingSchedule;
use gable_ptx::Target;
use gable_roofline::Machine;

/// Rows and columns of tiles that are considered, with their warps. A warp has whole spans of results: 64 columns.
const CANDIDATES: &[(u32, u32, (u32, u32))] = &[
    (128, 128, (4, 2)),
    (96, 128, (3, 2)),
    (128, 64, (8, 1)),
    (64, 128, (4, 2)),
    (64, 64, (4, 1)),
    (32, 128, (2, 2)),
    (32, 64, (2, 1)),
    (16, 128, (1, 2)),
];

/// The same for regions whose blocks of columns a warp must hold whole.
const OF_WHOLE_BLOCKS: &[(u32, u32, (u32, u32))] =
    &[(128, 128, (8, 1)), (96, 128, (6, 1)), (64, 128, (4, 1)), (32, 128, (2, 1)), (16, 128, (1, 1))];

/// Share of the tensor cores' rate that a main loop is expected to reach: an estimate.
const TENSOR_SHARE: f64 = 0.9;

/// Bytes that are read from or written to shared memory in a cycle. That copies and products share them is an estimate.
const SHARED_BYTES: f64 = 128.0;

/// Sums that are promoted in a cycle: a multiply-add of each lane.
const SUMS: f64 = 128.0;

/// Share of the shorter of multiplying and moving bytes that shows: an estimate.
const NOT_HIDDEN: f64 = 0.1;

/// Cycles between the rounds of warps that have a part of the multiprocessor to themselves: an estimate.
const ALONE_CYCLES: f64 = 100.0;

/// Cycles from a kernel's start until its first stage is full: as on Hopper.
const FILL_CYCLES: f64 = 1500.0;

/// Cycles that finishing sixteen columns of 64 rows takes four warps: as on Hopper.
const FINISH_CYCLES: f64 = 90.0;

/// Predicted seconds of a schedule.
pub(crate) fn seconds(problem: &Problem, schedule: &MmaRingSchedule, machine: &Machine) -> f64 {
    let Tile { m, n, k } = schedule.tile;
    let rounds = f64::from(problem.rounds(k));
    let rate = problem_rate(problem, machine) * TENSOR_SHARE;
    let products = 2.0 * f64::from(m) * f64::from(n) * f64::from(k) / rate;
    let (warp_m, warp_n) = schedule.warp_tile();
    let read = f64::from(schedule.consumers() * (warp_m + warp_n) * SPAN);
    // Codes in pairs are read and written once more, as bytes.
    let pairs = BlockScaled::of(problem)
        .map_or(0, |scaled| scaled.short(true).map(|short| if short.side == Side::A { m } else { n }).sum::<u32>());
    let spread = f64::from(pairs * (SPAN + SPAN / 2));
    let shared = (read + spread + f64::from(schedule.stage_bytes())) / SHARED_BYTES;
    let alone = if schedule.consumers() < 8 { ALONE_CYCLES } else { 0.0 };
    let promote = match schedule.scales {
        group_scales::PER_ROUND => f64::from(m * n) / SUMS,
        _ => 0.0,
    };
    let multiply = rounds * (products.max(shared) + promote + alone);
    // Four warps run at once on the four parts of a multiprocessor.
    let at_once = f64::from(schedule.consumers()) / (128.0 / f64::from(WARP));
    let finish = f64::from(m * n) / (64.0 * 16.0) * FINISH_CYCLES / at_once.max(1.0);
    let tiles = problem.expected_tiles(schedule.extent());
    let waves = (tiles / f64::from(schedule.ctas)).ceil();
    let compute = (waves * (multiply + finish) + FILL_CYCLES) / (machine.clock_ghz * 1e9);
    let from_l2 = l2_seconds(f64::from(schedule.stage_bytes()) * rounds * tiles, machine);
    let bytes = from_l2.max(memory_seconds(problem, machine));
    compute.max(bytes) + NOT_HIDDEN * compute.min(bytes)
}

/// All schedules that fit the problem and the target, the fastest by prediction first.
pub fn ranked(problem: &Problem, target: Target, machine: &Machine) -> Vec<(f64, MmaRingSchedule)> {
    let limit = target.row().max_shared_bytes.saturating_sub(groups::bytes(problem));
    let scales = group_scales::per_round(problem);
    let candidates = if problem.columns_together > 1 { OF_WHOLE_BLOCKS } else { CANDIDATES };
    let mut found: Vec<(f64, MmaRingSchedule)> = candidates
        .iter()
        .map(|&(m, n, warps)| {
            let tile = Tile { m, n, k: span(problem) };
            let ctas = machine.multiprocessors;
            let schedule = MmaRingSchedule { tile, warps, scales, stages: 2, group: 16, ctas };
            let schedule = schedule.with_most_stages(limit);
            // Stages take long here: more than this hide nothing more.
            MmaRingSchedule { stages: schedule.stages.min(4), ..schedule }
        })
        .filter(|schedule| Schedule::MmaRing(*schedule).validate(problem, target).is_ok())
        .filter(|schedule| {
            let boxes = |side, outer| operands::boxes(problem, side, outer, problem.element).is_some();
            boxes(Side::A, schedule.tile.m) && boxes(Side::B, schedule.tile.n)
        })
        .filter(|schedule| (schedule.warp_tile().1 as usize).is_multiple_of(problem.columns_together))
        .map(|schedule| (seconds(problem, &schedule, machine), schedule))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// The schedule of the least predicted time, and that time in seconds.
pub(crate) fn choose(problem: &Problem, target: Target, machine: &Machine) -> Option<(f64, Schedule)> {
    ranked(problem, target, machine).first().map(|&(seconds, schedule)| (seconds, Schedule::MmaRing(schedule)))
}
