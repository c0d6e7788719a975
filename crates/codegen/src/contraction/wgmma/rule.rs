//! Chooses a schedule for `wgmma` from the problem and the machine's row: the predicted time of every candidate.
//!
//! The time of a candidate, in cycles of one multiprocessor:
//!
//! - A round multiplies `tile.m x tile.n x 128 bytes` for each product; the tensor cores do so at the machine's rate, less a share that no
//!   kernel was seen to use. Rows and columns beyond the edges count.
//! - Where threads carry an operand, a round takes as long as that (`carried`), if it is longer.
//! - A tile costs its rounds and, where consumers cooperate, its epilogue; with ping-pong the epilogue hides behind the
//!   other consumer's rounds as far as it is shorter than them.
//! - Tiles run in waves: the busiest multiprocessor decides. Before its first round the ring is filled once.
//! - All tiles' operands come through L2, at a multiple of the rate of memory, and once from memory itself.
//!
//! The largest of multiplying, L2 and memory decides; where bytes bind, a tenth of multiplying is added. The fastest candidate wins, the earlier of the table on a tie.

use super::super::bounds::{l2_seconds, memory_seconds, tensor_rate};
use super::super::carried;
use super::super::groups;
use super::super::operands;
use super::super::problem::Problem;
use super::super::schedule::{Schedule, Tile};
use super::schedule::{MOST_BUFFERS, Sharing, WARPGROUP, WgmmaSchedule};
use gable_ptx::Target;
use gable_roofline::Machine;

/// Tiles and sharings that are considered, widest first. Several products share the columns.
const CANDIDATES: &[(u32, u32, u32, Sharing)] = &[
    (128, 256, 2, Sharing::Cooperative),
    (256, 128, 2, Sharing::Cooperative),
    (128, 128, 2, Sharing::PingPong),
    (64, 256, 2, Sharing::PingPong),
    (128, 192, 2, Sharing::Cooperative),
    (128, 128, 2, Sharing::Cooperative),
    (64, 128, 2, Sharing::PingPong),
    (128, 64, 2, Sharing::Cooperative),
    (64, 64, 1, Sharing::Cooperative),
    (64, 32, 1, Sharing::Cooperative),
    (64, 16, 1, Sharing::Cooperative),
    (64, 8, 1, Sharing::Cooperative),
];

/// Share of the tensor cores' rate that `wgmma` reaches when nothing else happens; 2.135 million cycles for 8192^3, of which
/// the rate explains 2.033 (H200, 2026-11-21).
const TENSOR_SHARE: f64 = 0.95;

/// Share that two consumers reach which take turns with a group of products pending across rounds (as measured there).
const PING_PONG_SHARE: f64 = 0.92;

/// Cycles between the rounds of a consumer that is alone: an estimate.
const ALONE_CYCLES: f64 = 40.0;

/// Share of the time of multiplying that shows where bytes bind: so that of two schedules with the same bytes the lighter one wins.
const NOT_HIDDEN: f64 = 0.1;

/// Cycles from a kernel's start until its first stage is full: an estimate.
const FILL_CYCLES: f64 = 1500.0;

/// Cycles that finishing sixteen columns of 64 rows takes a consumer (conversion, staging, starting the copy): an estimate, with which
/// the table's order came out as measured.
const FINISH_CYCLES: f64 = 90.0;

/// Predicted seconds of a schedule.
pub(crate) fn seconds(problem: &Problem, schedule: &WgmmaSchedule, machine: &Machine) -> f64 {
    let share = match schedule.sharing {
        Sharing::Cooperative => TENSOR_SHARE,
        Sharing::PingPong => PING_PONG_SHARE,
    };
    let per_clock = tensor_rate(problem.element, machine) * share;
    let (Tile { m, k, .. }, n) = (schedule.tile, schedule.columns());
    let rounds = f64::from(problem.rounds(k));
    let multiply = 2.0 * f64::from(m) * f64::from(n) * rounds * f64::from(k) / per_clock;
    let multiply = if schedule.consumers == 1 { multiply + rounds * ALONE_CYCLES } else { multiply };
    let multiply = multiply.max(rounds * carried::round_cycles(problem, schedule.tile, schedule.carriers * WARPGROUP));
    let blocks = f64::from(schedule.consumer_rows() / 64) * f64::from(n.div_ceil(16));
    // Joining products takes as long again (SwiGLU, cooperating consumers, k of 768 on the H200, 2026-11-21).
    let finish = blocks * FINISH_CYCLES * f64::from(schedule.products);
    let tiles = problem.expected_tiles(schedule.extent());
    let waves = (tiles / f64::from(schedule.ctas)).ceil();
    let cycles = match schedule.sharing {
        Sharing::Cooperative => waves * (multiply + finish),
        Sharing::PingPong => waves * multiply + finish + (waves - 1.0) * (finish - multiply).max(0.0),
    };
    let compute = (cycles + FILL_CYCLES) / (machine.clock_ghz * 1e9);
    let from_l2 = l2_seconds(f64::from(schedule.stage_bytes()) * rounds * tiles, machine);
    let bytes = from_l2.max(memory_seconds(problem, machine));
    if bytes > compute { bytes + NOT_HIDDEN * compute } else { compute }
}

/// All schedules that fit the problem and the target, the fastest by prediction first.
pub fn ranked(problem: &Problem, target: Target, machine: &Machine) -> Vec<(f64, WgmmaSchedule)> {
    let limit = target.row().max_shared_bytes.saturating_sub(groups::bytes(problem));
    let carriers: &[u32] = if operands::any_carried(problem) { &[1, 2] } else { &[0] };
    let mut found: Vec<(f64, WgmmaSchedule)> = CANDIDATES
        .iter()
        .flat_map(|&candidate| carriers.iter().map(move |&carriers| (candidate, carriers)))
        // Two blocks of rows in a consumer leave too few registers beside those of carriers.
        .filter(|((m, ..), carriers)| *m < 256 || *carriers == 0)
        .map(|((m, n, consumers, sharing), carriers)| {
            let schedule = WgmmaSchedule {
                tile: Tile { m, n: problem.columns_of_each(n), k: WgmmaSchedule::k_of(problem.element) },
                products: problem.products(),
                consumers,
                carriers,
                sharing,
                stages: 2,
                buffers: 2,
                group: if m >= 256 { 8 } else { 16 },
                ctas: machine.multiprocessors,
            };
            // A tile's whole addend can wait in them.
            let fillings = schedule.fillings();
            let waits = problem.addend && fillings > 0 && fillings.is_multiple_of(MOST_BUFFERS);
            let schedule = WgmmaSchedule { buffers: if waits { MOST_BUFFERS } else { 2 }, ..schedule };
            // More stages than this have not been seen to help.
            let schedule = schedule.with_most_stages(limit);
            WgmmaSchedule { stages: schedule.stages.min(8), ..schedule }
        })
        .filter(|schedule| Schedule::Wgmma(*schedule).validate(problem, target).is_ok())
        .filter(|schedule| operands::suit(problem, schedule.extent()))
        .map(|schedule| (seconds(problem, &schedule, machine), schedule))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// The schedule of the least predicted time, and that time in seconds.
pub(crate) fn choose(problem: &Problem, target: Target, machine: &Machine) -> Option<(f64, Schedule)> {
    ranked(problem, target, machine).first().map(|&(seconds, schedule)| (seconds, Schedule::Wgmma(schedule)))
}
