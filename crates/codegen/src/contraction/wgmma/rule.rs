//! Chooses a schedule for `wgmma` from the problem and the machine's row: the predicted time of every candidate.
//!
//! The time of a candidate is that of its longest part, a small share of the others that it hides, and what nothing hides:
//!
//! - *Multiplying.* A round multiplies `tile.m x tile.n x 128 bytes` for each product, rows and columns beyond the edges too; the tensor cores do
//!   so at the machine's rate, less a share that no kernel was seen to use. A tile costs its rounds and, where consumers
//!   cooperate, its epilogue; with ping-pong the epilogue hides behind the other consumer's rounds as far as it is shorter. Tiles
//!   run in waves: the busiest multiprocessor decides. Products that run long are slowed down by the board's limit of power.
//! - *Carrying.* Where threads carry an operand, a round takes as long as that (`carried`), if it is longer than multiplying.
//! - *L2.* All tiles' operands come through it, to all multiprocessors at one rate and to each at another. Rows that begin
//!   anywhere in a line of the cache cost two requests where others cost one. What lies beyond the edges is not asked for.
//! - *Memory.* All operands and results once.
//! - Not hidden: the start of a kernel, results that are stored from registers, and of a split of k the exchange of sums.
//!
//! The fastest candidate wins, the earlier of the table on a tie. Constants are those with which the order of the
//! schedules timed on an H200 came out (`docs/measurements`); predicted times then were 6 % off in the mean.

use super::super::bounds::{memory_seconds, tensor_rate};
use super::super::boxes::SPAN;
use super::super::carried;
use super::super::groups;
use super::super::neighbours::Neighbours;
use super::super::operands;
use super::super::problem::{Major, Operand, Problem, Side};
use super::super::schedule::{Schedule, Tile};
use super::schedule::{MOST_BUFFERS, Sharing, WARPGROUP, WgmmaSchedule, promotes};
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
    (64, 256, 1, Sharing::Cooperative),
    (64, 128, 1, Sharing::Cooperative),
    (64, 64, 1, Sharing::Cooperative),
    (64, 32, 1, Sharing::Cooperative),
    (64, 16, 1, Sharing::Cooperative),
    (64, 8, 1, Sharing::Cooperative),
];

/// Tiles of each multiprocessor for which columns are divided evenly.
const MOST_EVEN_WAVES: u32 = 4;

/// Tiles along m that share columns in L2: as measured among 4, 8, 16 and 32.
const GROUP: u32 = 8;

/// Stages beyond which none have been seen to help.
const MOST_STAGES: u32 = 12;

/// Share of the tensor cores' rate that `wgmma` reaches when nothing else happens; 2.135 million cycles for 8192^3, of which
/// the rate explains 2.033 (H200, 2026-11-21).
const TENSOR_SHARE: f64 = 0.95;

/// Cycles between the rounds of a consumer that is alone: an estimate.
const ALONE_CYCLES: f64 = 40.0;

/// Cycles from a kernel's start until its first stage is full: an estimate.
const FILL_CYCLES: f64 = 1500.0;

/// Cycles that finishing sixteen columns of 64 rows takes a consumer (conversion, staging, starting the copy).
const FINISH_CYCLES: f64 = 150.0;

/// Bytes per second of results that are stored from registers, because their columns are no whole spans: an estimate from tiles of
/// 96 columns at 1000^3, and of 224 at 64x28672x4096.
const UNSTAGED_BYTES_PER_S: f64 = 1.5e12;

/// The same over that, where products are joined (SwiGLU, cooperating consumers, k of 768).
const JOIN_COST: f64 = 1.2;

/// Share of the clock that power leaves to products of more than [`LONG_S`].
const POWER_SHARE: f64 = 0.83;
const LONG_S: f64 = 200e-6;

/// That share over the one of CTAs which bring all operands themselves, where neighbours bring them for each other: less goes
/// through L2. 8192^3: 1.04 to 1.06; 4096x28672x4096: 1.004. None where sums are promoted: of e4m3 1.001 and 0.98 there, 0.97 at
/// 4096x4096x14336; 0.99, 0.98 and 0.97 with block scales.
const SHARED_POWER: f64 = 1.025;

/// What neighbours cost that wait for each other: seconds of a kernel, cycles of a tile. 1.2 us at 128x4096x4096 and 1024^3; 3 us
/// of 24 tiles at 16384x3072x768, 12 us of 124 at 65536x4096x1024, where less power is saved too.
const NEIGHBOURS_S: f64 = 1.2e-6;
const NEIGHBOURS_CYCLES: f64 = 300.0;

/// Bytes per second from L2 to all multiprocessors over those of the memory's data sheet.
const L2_OVER_MEMORY: f64 = 2.6;

/// Bytes per cycle from L2 to one multiprocessor.
const L2_BYTES_PER_CYCLE: f64 = 76.0;

/// Requests of L2 for a row of 128 bytes that may begin anywhere in a line, over those for one that begins with a line.
const UNALIGNED_COST: f64 = 2.1;

/// Share of the memory's data sheet that reading reaches.
const MEMORY_SHARE: f64 = 0.92;

/// Shares of what is hidden that show all the same: of multiplying or bringing, and of L2 or memory.
const NOT_HIDDEN: f64 = 0.1;
const NOT_HIDDEN_BYTES: f64 = 0.05;

/// Seconds from one kernel's end to the next one's start.
pub(in super::super) const START_S: f64 = 3.5e-6;

/// Seconds that two barriers of a cluster take, and bytes per second at which a CTA gives its sums away.
const EXCHANGE_S: f64 = 2.0e-6;
const EXCHANGE_BYTES_PER_S: f64 = 32e9;

/// Groups of multiprocessors that a cluster must lie within.
const CLUSTER_GROUPS: f64 = 8.0;

/// Predicted seconds of a schedule.
pub(crate) fn seconds(problem: &Problem, schedule: &WgmmaSchedule, machine: &Machine) -> f64 {
    let clock = machine.clock_ghz * 1e9;
    let per_clock = tensor_rate(problem.element, machine) * TENSOR_SHARE;
    let (Tile { m, k, .. }, n) = (schedule.tile, schedule.columns());
    let rounds = f64::from(schedule.rounds(problem));
    let tiles = problem.expected_tiles(schedule.extent());
    let split = f64::from(schedule.cluster());
    let waves = (tiles * split / (f64::from(schedule.ctas) - left_over(schedule.split))).ceil();

    let multiply = 2.0 * f64::from(m) * f64::from(n) * rounds * f64::from(k) / per_clock;
    let multiply = if schedule.consumers == 1 { multiply + rounds * ALONE_CYCLES } else { multiply };
    let multiply = multiply.max(rounds * carried::round_cycles(problem, schedule.tile, schedule.carriers * WARPGROUP));
    let blocks = f64::from(schedule.consumer_rows() / 64) * f64::from((n / schedule.split).div_ceil(16));
    let finish = blocks * FINISH_CYCLES * if schedule.products > 1 { JOIN_COST } else { 1.0 };
    let is_shared = schedule.along != (1, 1);
    let multiply = multiply + if is_shared { NEIGHBOURS_CYCLES } else { 0.0 };
    let cycles = match schedule.sharing {
        Sharing::Cooperative => waves * (multiply + finish),
        // While one finishes, the other multiplies: two tiles take the longer of two products and one tile's whole time.
        Sharing::PingPong => waves * multiply.max((multiply + finish) / 2.0) + finish,
    };
    let flops = 2.0 * problem.m as f64 * problem.n as f64 * problem.k as f64 * problem.batches() as f64;
    let is_long = flops / (per_clock * clock * f64::from(machine.multiprocessors)) > LONG_S;
    let power = match (is_long, is_shared) {
        (false, _) => 1.0,
        (true, true) if !promotes(problem) => POWER_SHARE * SHARED_POWER,
        (true, _) => POWER_SHARE,
    };
    let compute = (cycles + FILL_CYCLES) / (clock * power);

    // Neighbours ask for each other's rows, but what arrives at each is the same.
    let requested = |side, outer: u32, all: usize| {
        let requests = if is_aligned(problem, side) { 1.0 } else { UNALIGNED_COST };
        let own = requests / f64::from(Neighbours::slices(schedule.along, side));
        f64::from(outer.min(all as u32)) * f64::from(SPAN) * own.max(1.0)
    };
    let round = requested(Side::A, m, problem.m) + requested(Side::B, n, problem.n * schedule.products as usize);
    let to_all = tiles * split * rounds * round / (L2_OVER_MEMORY * machine.memory_bytes_per_s());
    let to_one = waves * rounds * round / (L2_BYTES_PER_CYCLE * clock);
    let from_l2 = to_all.max(to_one);
    let memory = memory_seconds(problem, machine) / MEMORY_SHARE;

    let either = |one: f64, other: f64, shows: f64| one.max(other) + shows * one.min(other);
    let results = problem.batches() as f64 * problem.m as f64 * problem.n as f64 * problem.out.bytes() as f64;
    let is_staged = schedule.finished_columns().is_multiple_of(SPAN / 2);
    let unstaged = if is_staged { 0.0 } else { results / UNSTAGED_BYTES_PER_S };
    let exchange = match schedule.split {
        1 => 0.0,
        _ => {
            let share = m.min(problem.m as u32) as f64 / f64::from(m);
            EXCHANGE_S + share * f64::from(schedule.exchange_bytes()) / EXCHANGE_BYTES_PER_S
        }
    };
    let bytes = either(from_l2, memory, NOT_HIDDEN_BYTES);
    let start = START_S + if is_shared { NEIGHBOURS_S } else { 0.0 };
    start + either(compute, bytes, NOT_HIDDEN) + unstaged + exchange
}

/// Multiprocessors that clusters of so many CTAs leave over: groups differ in size, and half a cluster is left in each. 32
/// clusters of 4 and 16 of 8 were seen not to run at once on an H200, 64 of 2 to do so.
fn left_over(split: u32) -> f64 {
    CLUSTER_GROUPS * f64::from(split - 1) / 2.0
}

/// Whether every row of an operand begins with a line of the cache, if the operand does.
fn is_aligned(problem: &Problem, side: Side) -> bool {
    let Operand::Memory(memory) = problem.operand(side) else { return true };
    let across = match memory.vector().0 {
        Major::K => &memory.outer,
        Major::Outer => &memory.k,
    };
    let bytes = memory.stored.bytes() as i64;
    across.iter().all(|digit| digit.stride * bytes % i64::from(SPAN) == 0)
}

/// Clusters that are considered: CTAs between which k is split, and CTAs along m and n that bring operands for each other. Of
/// the latter, those first that were faster by a percent or two at 8192^3, 65536x4096x1024 and 4096x28672x4096.
fn clusters(sharing: Sharing) -> [(u32, (u32, u32)); 6] {
    let (first, second) = match sharing {
        Sharing::Cooperative => ((1, 2), (2, 1)),
        Sharing::PingPong => ((2, 1), (1, 2)),
    };
    [(1, (1, 1)), (1, first), (1, second), (2, (1, 1)), (4, (1, 1)), (8, (1, 1))]
}

/// The table's tiles and, of 64 rows by one consumer, those whose columns are as many as give every multiprocessor the same
/// number of tiles.
fn tiles(problem: &Problem, machine: &Machine) -> Vec<(u32, u32, u32, Sharing)> {
    let mut tiles = CANDIDATES.to_vec();
    let across = problem.m.div_ceil(64) * problem.batches();
    for waves in 1..=MOST_EVEN_WAVES {
        let columns = (waves * machine.multiprocessors) as usize / across.max(1);
        if columns > 0 {
            let n = problem.n.div_ceil(columns).next_multiple_of(16);
            if n <= 256 && !tiles.contains(&(64, n as u32, 1, Sharing::Cooperative)) {
                tiles.push((64, n as u32, 1, Sharing::Cooperative));
            }
        }
    }
    tiles
}

/// All schedules that fit the problem and the target, the fastest by prediction first.
pub fn ranked(problem: &Problem, target: Target, machine: &Machine) -> Vec<(f64, WgmmaSchedule)> {
    let limit = target.row().max_shared_bytes.saturating_sub(groups::bytes(problem));
    let carriers: &[u32] = if operands::any_carried(problem) { &[1, 2] } else { &[0] };
    let tiles = tiles(problem, machine);
    let splits = tiles.iter().flat_map(|&tile| clusters(tile.3).map(|cluster| (tile, cluster)));
    let mut found: Vec<(f64, WgmmaSchedule)> = splits
        .flat_map(|candidate| carriers.iter().map(move |&carriers| (candidate, carriers)))
        // Two blocks of rows in a consumer leave too few registers beside those of carriers.
        .filter(|(((m, ..), _), carriers)| *m < 256 || *carriers == 0)
        .map(|(((m, n, consumers, sharing), (split, along)), carriers)| {
            let schedule = WgmmaSchedule {
                tile: Tile { m, n: problem.columns_of_each(n), k: WgmmaSchedule::k_of(problem.element) },
                products: problem.products(),
                consumers,
                carriers,
                sharing,
                stages: 2,
                buffers: 2,
                group: GROUP,
                ctas: machine.multiprocessors / (along.0 * along.1) * (along.0 * along.1),
                split,
                along,
            };
            // A tile's whole addend can wait in them.
            let fillings = schedule.fillings();
            let waits = problem.addend && fillings > 0 && fillings.is_multiple_of(MOST_BUFFERS);
            let schedule = WgmmaSchedule { buffers: if waits { MOST_BUFFERS } else { 2 }, ..schedule };
            // More stages than this have not been seen to help.
            let schedule = schedule.with_most_stages(problem, limit);
            WgmmaSchedule { stages: schedule.stages.min(MOST_STAGES), ..schedule }
        })
        .filter(|schedule| Schedule::Wgmma(*schedule).validate(problem, target).is_ok())
        .filter(|schedule| operands::suit(problem, schedule.extent()))
        .filter(|schedule| (schedule.finished_columns() as usize).is_multiple_of(problem.columns_together))
        .map(|schedule| (seconds(problem, &schedule, machine), schedule))
        .collect();
    found.sort_by(|a, b| a.0.total_cmp(&b.0));
    found
}

/// The schedule of the least predicted time, and that time in seconds.
pub(crate) fn choose(problem: &Problem, target: Target, machine: &Machine) -> Option<(f64, Schedule)> {
    ranked(problem, target, machine).first().map(|&(seconds, schedule)| (seconds, Schedule::Wgmma(schedule)))
}
