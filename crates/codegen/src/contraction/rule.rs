//! The rule that chooses a schedule from the machine's row.
//!
//! The rule, for every candidate of a fixed table that fits the target: the time of the multiply-adds when tiles run in
//! waves over the multiprocessors, plus filling the pipeline once per wave, against the bytes that all tiles load through
//! L2. The larger of the two is the candidate's time; the fastest wins, the earlier of the table on a tie. No stopwatch
//! decides, so the same graph gives the same kernels everywhere.

use super::bounds::{l2_seconds, tensor_rate};
use super::carried::{chunk_cycles, copies};
use super::few_rows;
use super::few_rows::schedule::FewRowsSchedule;
use super::problem::{ContractionError, Major, Operand, Problem, Side};
use super::schedule::{FmaSchedule, MmaSyncSchedule, Schedule, Tile, WARP, sum_type};
use super::values::scalar_type;
use gable_ptx::Target;
use gable_roofline::Machine;
use gable_tensor::DType;

/// Whether `mma.sync` multiplies this type here. Types of other widths than 16 bits need both operands in k order,
/// because `ldmatrix` transposes 16-bit elements only.
pub fn has_mma(problem: &Problem) -> bool {
    match problem.element {
        _ if problem.k == 0 => false,
        DType::F16 | DType::BF16 => true,
        DType::Tf32 => problem.sides().all(|side| {
            let operand = problem.operand(side);
            operand.vector().0 == Major::K && matches!(operand, Operand::Memory(_))
        }),
        _ => false,
    }
}

const fn mma(m: u32, n: u32, k_bytes: u32, warps: (u32, u32), stages: u32) -> MmaSyncSchedule {
    // `tile.k` counts bytes in the table; it becomes elements when the type is known.
    MmaSyncSchedule { tile: Tile { m, n, k: k_bytes }, products: 1, warps, stages, group: 8 }
}

/// Candidates on `mma.sync`, k in bytes: 64 bytes are 32 elements of 16 bits.
const MMA_SYNC: &[MmaSyncSchedule] = &[
    mma(128, 256, 64, (2, 4), 4),
    mma(128, 128, 64, (2, 4), 4),
    mma(128, 64, 64, (4, 2), 4),
    mma(64, 128, 64, (2, 4), 4),
    mma(64, 64, 128, (2, 2), 3),
    mma(128, 32, 64, (4, 1), 4),
    mma(32, 64, 128, (2, 2), 4),
    mma(32, 32, 128, (2, 2), 4),
    mma(16, 128, 64, (1, 4), 4),
    mma(16, 64, 128, (1, 4), 4),
];

const fn fma(m: u32, n: u32, k: u32, thread: (u32, u32)) -> FmaSchedule {
    FmaSchedule { tile: Tile { m, n, k }, products: 1, thread, group: 8 }
}

/// Candidates on multiply-adds of 32-bit types.
const FMA_32: &[FmaSchedule] = &[
    fma(128, 128, 8, (8, 8)),
    fma(128, 64, 16, (8, 8)),
    fma(64, 64, 16, (8, 4)),
    fma(64, 32, 16, (4, 4)),
    fma(32, 32, 16, (4, 4)),
];

/// Candidates on multiply-adds of 64-bit types: half as many sums per thread, for the same registers.
const FMA_64: &[FmaSchedule] = &[fma(64, 64, 8, (4, 4)), fma(32, 32, 8, (4, 4))];

/// Seconds that the rule expects of a schedule of the table on a machine; see the module's text.
fn expected_seconds(problem: &Problem, schedule: &Schedule, machine: &Machine, rate: f64) -> f64 {
    let (m, n) = schedule.extent(problem);
    let n = problem.products() * n;
    let (k_tile, registers, (warp_m, warp_n)) = match schedule {
        Schedule::MmaSync(s) => (s.tile.k, s.registers(), s.warp_tile()),
        Schedule::Fma(s) => (s.tile.k, s.registers(sum_type(problem.element)), (4 * s.thread.0, 8 * s.thread.1)),
        other => unreachable!("`{other}` is not in the table"),
    };
    let warps = schedule.threads() / WARP;
    let by_registers = 65_536 / (registers.next_multiple_of(8) * schedule.threads());
    let by_shared = machine.shared_bytes / schedule.shared_bytes(problem).max(1);
    let resident = by_registers.min(by_shared).clamp(1, 8);
    // Below eight warps a multiprocessor does not cover the latency of its multiply-adds.
    let busy = f64::from((resident * warps).min(8)) / 8.0;
    let flops_per_s = rate * machine.clock_ghz * 1e9 * busy;
    let k_padded = problem.k.next_multiple_of(k_tile as usize) as f64;
    let tile_flops = 2.0 * f64::from(m) * f64::from(n) * k_padded;
    let multiprocessors = f64::from(machine.multiprocessors);
    let ctas = schedule.ctas(problem) as f64;
    // Small tiles read shared memory more often per multiply-add: a warp's tile of 32 x 32 costs about a fifth.
    let reuse = 1.0 + 3.0 * (1.0 / f64::from(warp_m) + 1.0 / f64::from(warp_n));
    let waves = (ctas / multiprocessors).ceil();
    let compute = waves * (tile_flops / flops_per_s * reuse + bring_seconds(problem, schedule, machine));
    // One trip to memory before the first product and one after the last, hidden by other resident CTAs.
    let fill = (ctas / (multiprocessors * f64::from(resident))).ceil() * 1.5e-6;
    let bytes = (f64::from(m) + f64::from(n)) * k_padded * problem.element.bytes() as f64 * ctas;
    compute.max(l2_seconds(bytes, machine)) + fill
}

/// Seconds that the warps of a CTA on `mma.sync` spend on bringing its tiles through registers.
fn bring_seconds(problem: &Problem, schedule: &Schedule, machine: &Machine) -> f64 {
    let Schedule::MmaSync(s) = schedule else { return 0.0 };
    let chunks_of = |outer: u32| f64::from(outer) * (problem.k * problem.element.bytes()).div_ceil(16) as f64;
    let through_registers =
        [(Side::A, s.tile.m), (Side::B, s.tile.n)].into_iter().filter(|(side, _)| !copies(problem, *side));
    let slots: f64 = through_registers.map(|(side, outer)| chunks_of(outer) * chunk_cycles(problem, side)).sum();
    // A multiprocessor issues from four warps in a cycle.
    slots / f64::from(4 * WARP) / (machine.clock_ghz * 1e9)
}

/// Operations per clock and multiprocessor of the class that the table has for the problem.
fn rate(problem: &Problem, machine: &Machine) -> f64 {
    match (has_mma(problem), sum_type(problem.element).bytes()) {
        (true, _) => tensor_rate(problem.element, machine),
        (false, 8) => machine.rates.f64,
        (false, _) => machine.rates.f32,
    }
}

/// Seconds that the rule expects of a schedule of the table.
pub(super) fn seconds(problem: &Problem, schedule: &Schedule, machine: &Machine) -> f64 {
    expected_seconds(problem, schedule, machine, rate(problem, machine).max(1.0))
}

/// The machine that schedules for a target are made for. Family targets have none of their own: the first of the family
/// stands for it.
pub(super) fn machine_of(target: Target) -> &'static Machine {
    let name = target.name().trim_end_matches('f');
    Machine::for_target(target.name())
        .or_else(|| Machine::for_target(&format!("{name}a")))
        .unwrap_or(&Machine::all()[0])
}

/// The fixed table's schedules for the problem's type, whether they fit or not. Several products share a tile's columns.
pub(super) fn table(problem: &Problem) -> Vec<Schedule> {
    if has_mma(problem) {
        let bytes = problem.element.bytes() as u32;
        let of_problem = |s: &MmaSyncSchedule| {
            let tile = Tile { m: s.tile.m, n: problem.columns_of_each(s.tile.n), k: s.tile.k / bytes };
            MmaSyncSchedule { tile, products: problem.products(), ..*s }
        };
        return MMA_SYNC.iter().map(|s| Schedule::MmaSync(of_problem(s))).collect();
    }
    let sum = sum_type(problem.element);
    let of_problem = |s: &FmaSchedule| {
        let tile = Tile { n: problem.columns_of_each(s.tile.n), ..s.tile };
        // A thread's columns come in vectors.
        let columns = problem.columns_of_each(s.thread.1).max(FmaSchedule::vector(sum));
        FmaSchedule { tile, products: problem.products(), thread: (s.thread.0, columns), ..*s }
    };
    if sum.bytes() == 8 { FMA_64 } else { FMA_32 }.iter().map(|s| Schedule::Fma(of_problem(s))).collect()
}

/// Share of the tensor cores' rate that `mma.sync` reaches where they have newer instructions too: 284 TFLOP/s of 989 at
/// 4096x4104x4096 (H200, 2026-11-21).
const PLAIN_SHARE: f64 = 0.3;

/// Rows up to which kernels for few rows are what Blackwell takes, and beyond which `wgmma` multiplies wherever it can.
const FEW_ROWS: usize = 16;

/// The schedule for a problem on a target, by the rule in the module's text.
pub fn choose(problem: &Problem, target: Target) -> Result<Schedule, ContractionError> {
    problem.check()?;
    let machine = machine_of(target);
    let carries = super::operands::any_carried(problem);
    let on_wgmma = super::wgmma::suits(problem, target);
    let newer = if on_wgmma {
        super::wgmma::rule::choose(problem, target, machine)
    } else if super::tcgen05::suits(problem, target) {
        super::tcgen05::rule::choose(problem, target, machine)
    } else if super::mma_ring::suits(problem, target) {
        super::mma_ring::rule::choose(problem, target, machine)
    } else {
        None
    };
    if problem.k > 0
        && problem.scaled.is_none()
        && let Some(few) = few_rows::choose(problem, machine)
    {
        // Both are bound by the same bytes; what differs is how often rows are read, and how k is divided. By way of shared
        // memory few rows were 5 to 30 % faster than `wgmma` with 1 and 4 rows, and within 5 % of it with 16 (H200,
        // 2026-11-22, bf16 by six shapes); it takes longer than its rule expects there. Several products of few rows have not
        // been timed on it, nor ordinary multiply-adds beside it.
        // Beyond 16 rows `wgmma` is never slower; on Blackwell, where neither was ever timed, the predictions are all there is.
        let is_compared = problem.products() == 1 && matches!(few, FewRowsSchedule::Fragments(_));
        let few_s = few_rows::seconds(problem, &few, machine);
        let is_slower = |tiled_s| match (problem.m > FEW_ROWS, on_wgmma) {
            (true, true) => true,
            (false, false) => false,
            _ => is_compared && few_s > tiled_s,
        };
        if carries || !newer.is_some_and(|(tiled_s, _)| is_slower(tiled_s)) {
            let schedule = Schedule::FewRows(few);
            schedule.validate(problem, target)?;
            return Ok(schedule);
        }
    }
    if let Some((_, schedule)) = newer.filter(|_| !carries) {
        schedule.validate(problem, target)?;
        return Ok(schedule);
    }
    scalar_type(problem.element)?;
    let rate = rate(problem, machine);
    let mut best: Option<(f64, Schedule)> = None;
    let mut refused = ContractionError::Type(problem.element);
    for schedule in table(problem) {
        match schedule.validate(problem, target) {
            Ok(()) => {
                let seconds = expected_seconds(problem, &schedule, machine, rate.max(1.0));
                if best.is_none_or(|(least, _)| seconds < least) {
                    best = Some((seconds, schedule));
                }
            }
            Err(error) => refused = error,
        }
    }
    // Where threads bring an operand whatever the class, the plain ones win small problems.
    let share = if has_mma(problem) { PLAIN_SHARE } else { 1.0 };
    // The rule for `wgmma` counts a kernel's start, the table's does not.
    let start = if on_wgmma { super::wgmma::rule::START_S } else { 0.0 };
    let plain = |best: &Schedule| expected_seconds(problem, best, machine, share * rate.max(1.0)) + start;
    if let Some((seconds, schedule)) = newer
        && best.is_none_or(|(_, best)| seconds < plain(&best))
    {
        schedule.validate(problem, target)?;
        return Ok(schedule);
    }
    best.map(|(_, schedule)| schedule).ok_or(refused)
}
