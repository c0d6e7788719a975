//! Chooses a schedule for `tcgen05` from the problem and the machine's row: the predicted time of every candidate.
//!
//! The time of a candidate, in cycles of one multiprocessor:
//!
//! - An instruction multiplies `128 x tile.n x 32 bytes` of k on each multiprocessor at the machine's rate, less a share that no
//!   kernel is expected to use. It reads both factors from shared memory, where copies have written them at the same rate: the
//!   longer of the two counts. Of a pair, each CTA holds and reads half of the columns. Rows and columns beyond the edges count.
//! - Where threads carry an operand, a round takes as long as that (`carried`), if it is longer.
//! - A tile is finished while the next one is multiplied: the longer of the two counts, and the last tile's end.
//! - Tiles run in waves: the busiest multiprocessor decides. Before its first round the ring is filled once.
//! - All tiles' operands come through L2, at a multiple of the rate of memory, and once from memory itself.
//!
//! The largest of multiplying, L2 and memory decides; the fastest candidate wins, the earlier of the table on a tie. The
//! form is that of the rule for `wgmma`, whose error against measurements is known. The constants are taken over from it or
//! from the machine's documents: no kernel of this class was timed yet.

use super::super::block_scaled::{BlockScaled, span};
use super::super::bounds::{l2_seconds, memory_seconds, problem_rate};
use super::super::boxes::SPAN;
use super::super::carried;
use super::super::group_scales;
use super::super::groups;
use super::super::operands::{self, STEP};
use super::super::problem::{Problem, Side};
use super::super::schedule::{Schedule, Tile};
use super::schedule::{CARRIER_THREADS, MOST_ROUNDS, ROWS, Tcgen05Schedule};
use gable_ptx::Target;
use gable_roofline::Machine;

/// Columns of tiles that are considered, and CTAs that share one. Several products share the columns. Two accumulators where
/// scales leave room for them.
const CANDIDATES: &[(u32, u32)] =
    &[(256, 2), (192, 2), (256, 1), (128, 2), (192, 1), (128, 1), (64, 2), (96, 1), (64, 1), (32, 1), (16, 1)];

/// Share of the tensor cores' rate that a main loop reaches when nothing else happens: as `wgmma` does.
const TENSOR_SHARE: f64 = 0.95;

/// Bytes that are read from or written to shared memory in a cycle. That copies and products share them is an estimate.
const SHARED_BYTES: f64 = 128.0;

/// Cycles from a kernel's start until its first stage is full: as on Hopper.
const FILL_CYCLES: f64 = 1500.0;

/// Cycles that finishing sixteen columns takes a warp: twice the rows that a warp finishes on Hopper in 90, without turning
/// them.
const FINISH_CYCLES: f64 = 150.0;

/// Cycles that a warp takes to load a round's sums of a column of its rows, and to add them to the tile's: an estimate.
const PROMOTE_CYCLES: f64 = 2.5;

/// Predicted seconds of a schedule.
pub(crate) fn seconds(problem: &Problem, schedule: &Tcgen05Schedule, machine: &Machine) -> f64 {
    let rate = problem_rate(problem, machine);
    let (Tile { m, k, .. }, n) = (schedule.tile, schedule.columns());
    let element = f64::from(SPAN) / f64::from(span(problem));
    let rounds = f64::from(problem.rounds(k));
    let instructions = rounds * f64::from(SPAN / STEP);
    let ctas_per_tile = f64::from(schedule.ctas_per_tile);
    let products =
        2.0 * f64::from(m) * f64::from(n) / ctas_per_tile * f64::from(STEP) / element / (rate * TENSOR_SHARE);
    let brought = schedule.brought();
    // Codes that become floats of 8 bits are read and written once more.
    let scaled = BlockScaled::of(problem);
    let short = scaled.iter().flat_map(|scaled| scaled.short(false));
    let widened: u32 = short.map(|short| if short.side == Side::A { brought.m } else { brought.n }).sum();
    let shared = 2.0 * f64::from((brought.m + brought.n + widened) * STEP) / SHARED_BYTES;
    let multiply = instructions * products.max(shared);
    let carry = carried::round_cycles(problem, schedule.tile, schedule.carriers * CARRIER_THREADS);
    let multiply = multiply.max(rounds * carry);
    let finish = f64::from(n.div_ceil(16)) * FINISH_CYCLES;
    let tiles = problem.expected_tiles(schedule.extent());
    let waves = (tiles * ctas_per_tile / f64::from(schedule.ctas)).ceil();
    // Warps that promote each round finish tiles, too.
    let promote = if schedule.promotes() { rounds * f64::from(n) * PROMOTE_CYCLES } else { 0.0 };
    let multiply = multiply.max(promote);
    let each = match schedule.promotes() || schedule.accumulators == 1 {
        false => multiply.max(finish),
        true => multiply + finish,
    };
    let cycles = multiply + (waves - 1.0) * each + finish + FILL_CYCLES;
    let compute = cycles / (machine.clock_ghz * 1e9);
    let from_l2 = l2_seconds(f64::from(schedule.stage_bytes()) * rounds * tiles * ctas_per_tile, machine);
    compute.max(from_l2).max(memory_seconds(problem, machine))
}

/// All schedules that fit the problem and the target, the fastest by prediction first.
pub fn ranked(problem: &Problem, target: Target, machine: &Machine) -> Vec<(f64, Tcgen05Schedule)> {
    let limit = target.row().max_shared_bytes.saturating_sub(groups::bytes(problem));
    let carriers: &[u32] = if operands::any_carried(problem) { &[1, 2] } else { &[0] };
    let scales = group_scales::per_round(problem);
    let mut found: Vec<(f64, Tcgen05Schedule)> = CANDIDATES
        .iter()
        .flat_map(|&candidate| carriers.iter().map(move |&carriers| (candidate, carriers)))
        .map(|((n, ctas_per_tile), carriers)| {
            let products = problem.products();
            // Two tiles of 256 columns leave no column for scales.
            let accumulators = match scales {
                group_scales::PER_ROUND => MOST_ROUNDS,
                1.. if n == 256 => 1,
                _ => 2,
            };
            let (m, n) = (ROWS * ctas_per_tile, problem.columns_of_each(n));
            let tile = Tile { m, n, k: span(problem) };
            let ctas = machine.multiprocessors / ctas_per_tile * ctas_per_tile;
            let group = 16 / ctas_per_tile;
            let schedule = Tcgen05Schedule {
                tile,
                products,
                ctas_per_tile,
                carriers,
                scales,
                accumulators,
                stages: 2,
                group,
                ctas,
                takes_over: false,
            };
            // More stages than this have not been seen to help.
            let schedule = schedule.with_most_stages(limit);
            Tcgen05Schedule { stages: schedule.stages.min(8), ..schedule }
        })
        .filter(|schedule| Schedule::Tcgen05(*schedule).validate(problem, target).is_ok())
        .filter(|schedule| operands::suit(problem, (schedule.brought().m, schedule.brought().n)))
        .filter(|schedule| (schedule.tile.n as usize).is_multiple_of(problem.columns_together))
        .map(|schedule| (seconds(problem, &schedule, machine), schedule))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// The schedule of the least predicted time, and that time in seconds.
pub(crate) fn choose(problem: &Problem, target: Target, machine: &Machine) -> Option<(f64, Schedule)> {
    ranked(problem, target, machine).first().map(|&(seconds, schedule)| (seconds, Schedule::Tcgen05(schedule)))
}
