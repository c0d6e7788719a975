//! Schedules: how a contraction is cut into tiles, as data. Chosen by a rule from the machine's row, printed, validated.
//!
//! The rule, for every candidate of a fixed table that fits the target: the time of the multiply-adds when tiles run in
//! waves over the multiprocessors, plus filling the pipeline once per wave, against the bytes that all tiles load through
//! L2. The larger of the two is the candidate's time; the fastest wins, the earlier of the table on a tie. No stopwatch
//! decides, so the same graph gives the same kernels everywhere.

use super::problem::{ContractionError, Major, Operand, Problem, Side};
use super::tile::{CHUNK, PERIOD};
use super::values::scalar_type;
use gable_ptx::{MAX_THREADS_PER_CTA, Target};
use gable_roofline::Machine;
use gable_tensor::DType;
use std::fmt;

/// Lanes of a warp.
pub const WARP: u32 = 32;

/// A tile of the result, and the part of k that is in shared memory at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tile {
    /// Rows.
    pub m: u32,
    /// Columns.
    pub n: u32,
    /// Summed elements per stage.
    pub k: u32,
}

/// Schedule of a kernel on `mma.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MmaSyncSchedule {
    /// What a CTA computes.
    pub tile: Tile,
    /// Warps along m and n.
    pub warps: (u32, u32),
    /// Stages of the ring in shared memory.
    pub stages: u32,
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
}

/// Schedule of a kernel on ordinary multiply-adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FmaSchedule {
    /// What a CTA computes.
    pub tile: Tile,
    /// What a thread computes: rows and columns.
    pub thread: (u32, u32),
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
}

/// Schedule of the kernel for few rows, which is bound by the bytes of B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SkinnySchedule {
    /// Warps of a CTA.
    pub warps: u32,
    /// Columns of a CTA.
    pub columns: u32,
}

/// Schedule of the kernel for convolutions of narrow groups: a thread per few outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DirectSchedule {
    /// Neighbouring channels of a thread.
    pub lanes: u32,
    /// Neighbouring outputs of a row of a thread.
    pub positions: u32,
}

/// How one contraction is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Schedule {
    /// On the tensor cores, warp by warp.
    MmaSync(MmaSyncSchedule),
    /// On the ordinary pipes.
    Fma(FmaSchedule),
    /// On the ordinary pipes, a row of threads over B's bytes.
    Skinny(SkinnySchedule),
    /// On the ordinary pipes, without tiles.
    Direct(DirectSchedule),
}

/// The most rows that the kernel for few rows takes.
pub const SKINNY_ROWS: usize = 8;

/// Whether `mma.sync` multiplies this type here. Types of other widths than 16 bits need both operands in k order,
/// because `ldmatrix` transposes 16-bit elements only.
pub fn has_mma(problem: &Problem) -> bool {
    match problem.element {
        _ if problem.k == 0 => false,
        DType::F16 | DType::BF16 => true,
        DType::Tf32 => [Side::A, Side::B].into_iter().all(|side| {
            let operand = problem.operand(side);
            operand.vector().0 == Major::K && matches!(operand, Operand::Memory(_))
        }),
        _ => false,
    }
}

const fn mma(m: u32, n: u32, k_bytes: u32, warps: (u32, u32), stages: u32) -> MmaSyncSchedule {
    // `tile.k` counts bytes in the table; it becomes elements when the type is known.
    MmaSyncSchedule { tile: Tile { m, n, k: k_bytes }, warps, stages, group: 8 }
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
    FmaSchedule { tile: Tile { m, n, k }, thread, group: 8 }
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

impl MmaSyncSchedule {
    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        self.warps.0 * self.warps.1 * WARP
    }

    /// Rows and columns of a warp.
    pub fn warp_tile(&self) -> (u32, u32) {
        (self.tile.m / self.warps.0, self.tile.n / self.warps.1)
    }

    /// Bytes of one stage: a tile of A, then a tile of B.
    pub fn stage_bytes(&self, element: DType) -> u32 {
        (self.tile.m + self.tile.n) * self.tile.k * element.bytes() as u32
    }

    /// 32-bit words between rows of a warp's slab of sums; the eight more put rows into other banks.
    pub fn slab_pitch(&self) -> u32 {
        self.warp_tile().1 + 8
    }

    /// Bytes of the slabs of all warps: sixteen rows of sums each.
    pub fn slab_bytes(&self) -> u32 {
        self.warps.0 * self.warps.1 * 16 * self.slab_pitch() * 4
    }

    /// Dynamic shared memory: the ring, which the slabs of the epilogue use after it.
    pub fn shared_bytes(&self, element: DType) -> u32 {
        (self.stages * self.stage_bytes(element)).max(self.slab_bytes())
    }

    /// 32-bit registers of a thread that sums, fragments (two of each, as one is loaded while the other is used) and
    /// addresses take at once.
    pub fn registers(&self) -> u32 {
        let (m, n) = self.warp_tile();
        m * n / WARP + 2 * (m / 16 * 4 + n / 8 * 2) + 40
    }
}

impl FmaSchedule {
    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        (self.tile.m / self.thread.0) * (self.tile.n / self.thread.1)
    }

    /// Elements of 16 bytes.
    pub fn vector(acc: DType) -> u32 {
        16 / acc.bytes() as u32
    }

    /// Elements between rows of a shared tile `width` wide: one vector more, so that transposing stores spread over banks.
    pub fn pitch(width: u32, acc: DType) -> u32 {
        width + Self::vector(acc)
    }

    /// Bytes of one stage: A as `[k, m]`, then B as `[k, n]`.
    pub fn stage_bytes(&self, acc: DType) -> u32 {
        self.tile.k * (Self::pitch(self.tile.m, acc) + Self::pitch(self.tile.n, acc)) * acc.bytes() as u32
    }

    /// Dynamic shared memory: two stages.
    pub fn shared_bytes(&self, acc: DType) -> u32 {
        2 * self.stage_bytes(acc)
    }

    /// 32-bit registers of a thread that sums, two sets of factors and addresses take at once.
    pub fn registers(&self, acc: DType) -> u32 {
        let words = acc.bytes() as u32 / 4;
        (self.thread.0 * self.thread.1 + 2 * (self.thread.0 + self.thread.1)) * words + 40
    }
}

impl DirectSchedule {
    /// Threads that have outputs.
    pub fn vectors(&self, problem: &Problem) -> u64 {
        let channels = problem.n as u64 * problem.batches() as u64;
        channels / u64::from(self.lanes) * (problem.m as u64 / u64::from(self.positions))
    }
}

/// The type that a problem is summed in.
pub fn sum_type(element: DType) -> DType {
    match element {
        DType::F64 => DType::F64,
        DType::I64 | DType::U64 => DType::I64,
        _ if element.is_float() => DType::F32,
        // Products wrap alike whether signed or not.
        _ => DType::I32,
    }
}

impl Schedule {
    /// The instruction class that does the arithmetic.
    pub fn class(&self) -> &'static str {
        match self {
            Schedule::MmaSync(_) => "mma.sync",
            Schedule::Fma(_) | Schedule::Skinny(_) | Schedule::Direct(_) => "fma",
        }
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        match self {
            Schedule::MmaSync(schedule) => schedule.threads(),
            Schedule::Fma(schedule) => schedule.threads(),
            Schedule::Skinny(schedule) => schedule.warps * WARP,
            Schedule::Direct(_) => super::direct::THREADS,
        }
    }

    /// Rows and columns of the result that a CTA computes.
    pub fn extent(&self, problem: &Problem) -> (u32, u32) {
        match self {
            Schedule::MmaSync(MmaSyncSchedule { tile, .. }) | Schedule::Fma(FmaSchedule { tile, .. }) => {
                (tile.m, tile.n)
            }
            Schedule::Skinny(schedule) => (problem.m as u32, schedule.columns),
            Schedule::Direct(schedule) => (schedule.positions, schedule.lanes),
        }
    }

    /// CTAs of the launch: tiles along m times tiles along n times batch entries.
    pub fn ctas(&self, problem: &Problem) -> u64 {
        if let Schedule::Direct(schedule) = self {
            return schedule.vectors(problem).div_ceil(super::direct::THREADS.into());
        }
        let (m, n) = self.extent(problem);
        problem.m.div_ceil(m as usize) as u64 * problem.n.div_ceil(n as usize) as u64 * problem.batches() as u64
    }

    /// Dynamic shared memory in bytes.
    pub fn shared_bytes(&self, problem: &Problem) -> u32 {
        match self {
            Schedule::MmaSync(schedule) => schedule.shared_bytes(problem.element),
            Schedule::Fma(schedule) => schedule.shared_bytes(sum_type(problem.element)),
            Schedule::Skinny(schedule) => {
                schedule.warps * schedule.columns * problem.m as u32 * sum_type(problem.element).bytes() as u32
            }
            Schedule::Direct(_) => 0,
        }
    }

    /// Checks the schedule against the target's limits and the problem.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let row = target.row();
        let fits = |what, found: u64, limit: u64| {
            let expected = format!("at most {limit}");
            let error = ContractionError::Schedule { schedule: self.to_string(), what, found, expected };
            if found <= limit { Ok(()) } else { Err(error) }
        };
        let divides = |what, whole: u32, part: u32| {
            let error = ContractionError::Schedule {
                schedule: self.to_string(),
                what,
                found: u64::from(whole),
                expected: format!("a multiple of {part}"),
            };
            if part > 0 && whole > 0 && whole.is_multiple_of(part) { Ok(()) } else { Err(error) }
        };
        fits("threads", self.threads().into(), MAX_THREADS_PER_CTA.into())?;
        fits("shared memory in bytes", self.shared_bytes(problem).into(), row.max_shared_bytes.into())?;
        fits("CTAs", self.ctas(problem), i32::MAX as u64)?;
        let registers = |count: u32| {
            fits("registers of a thread", count.into(), row.max_registers_per_thread.into())?;
            fits("registers of a CTA", u64::from(count) * u64::from(self.threads()), row.registers_per_sm.into())
        };
        match self {
            Schedule::MmaSync(schedule) => {
                let bytes = problem.element.bytes() as u32;
                divides("rows of the tile", schedule.tile.m, 16 * schedule.warps.0)?;
                divides("columns of the tile", schedule.tile.n, 16 * schedule.warps.1)?;
                divides("bytes of k in the tile", schedule.tile.k * bytes, 32)?;
                if schedule.stages < 2 {
                    return Err(ContractionError::Schedule {
                        schedule: self.to_string(),
                        what: "stages",
                        found: schedule.stages.into(),
                        expected: "at least 2".into(),
                    });
                }
                for (side, outer) in [(Side::A, schedule.tile.m), (Side::B, schedule.tile.n)] {
                    let (rows, row_bytes) = match problem.operand(side).vector().0 {
                        Major::Outer if bytes == 2 => (schedule.tile.k, outer * bytes),
                        _ => (outer, schedule.tile.k * bytes),
                    };
                    // A thread's chunks lie a whole number of swizzle patterns apart.
                    if rows * row_bytes / CHUNK > schedule.threads() {
                        divides(
                            "chunks that all threads bring at once",
                            schedule.threads(),
                            row_bytes / CHUNK * PERIOD,
                        )?;
                    }
                }
                registers(schedule.registers())
            }
            Schedule::Fma(schedule) => {
                let acc = sum_type(problem.element);
                let vector = FmaSchedule::vector(acc);
                // A warp is 4 threads along m by 8 along n.
                divides("rows of the tile", schedule.tile.m, 4 * schedule.thread.0)?;
                divides("columns of the tile", schedule.tile.n, 8 * schedule.thread.1)?;
                divides("rows of a thread", schedule.thread.0, vector)?;
                divides("columns of a thread", schedule.thread.1, vector)?;
                divides("k of the tile", schedule.tile.k, vector)?;
                registers(schedule.registers(acc))
            }
            Schedule::Skinny(schedule) => {
                fits("rows of the problem", problem.m as u64, SKINNY_ROWS as u64)?;
                divides("columns", schedule.columns, 1)
            }
            // Threads are numbered with 31 bits.
            Schedule::Direct(schedule) => fits("vectors", schedule.vectors(problem), i32::MAX as u64),
        }
    }
}

/// Seconds that the rule expects of a schedule on a machine; see the module's text.
fn expected_seconds(problem: &Problem, schedule: &Schedule, machine: &Machine, rate: f64) -> f64 {
    let (m, n) = schedule.extent(problem);
    let (k, k_tile, warps, registers) = match schedule {
        Schedule::MmaSync(s) => (problem.k, s.tile.k, s.threads() / WARP, s.registers()),
        Schedule::Fma(s) => (problem.k, s.tile.k, s.threads() / WARP, s.registers(sum_type(problem.element))),
        Schedule::Skinny(s) => (problem.k, 1, s.warps, 64),
        Schedule::Direct(_) => (problem.k, 1, super::direct::THREADS / WARP, 64),
    };
    let by_registers = 65_536 / (registers.next_multiple_of(8) * schedule.threads());
    let by_shared = machine.shared_bytes / schedule.shared_bytes(problem).max(1);
    let resident = by_registers.min(by_shared).clamp(1, 8);
    // Below eight warps a multiprocessor does not cover the latency of its multiply-adds.
    let busy = f64::from((resident * warps).min(8)) / 8.0;
    let flops_per_s = rate * machine.clock_ghz * 1e9 * busy;
    let k_padded = k.next_multiple_of(k_tile as usize) as f64;
    let tile_flops = 2.0 * f64::from(m) * f64::from(n) * k_padded;
    let multiprocessors = f64::from(machine.multiprocessors);
    let ctas = schedule.ctas(problem) as f64;
    // Small tiles read shared memory more often per multiply-add: a warp's tile of 32 x 32 costs about a fifth.
    let (warp_m, warp_n) = match schedule {
        Schedule::MmaSync(s) => s.warp_tile(),
        Schedule::Fma(s) => (4 * s.thread.0, 8 * s.thread.1),
        Schedule::Skinny(_) | Schedule::Direct(_) => (64, 64),
    };
    let reuse = 1.0 + 3.0 * (1.0 / f64::from(warp_m) + 1.0 / f64::from(warp_n));
    let waves = (ctas / multiprocessors).ceil();
    let compute = waves * tile_flops / flops_per_s * reuse;
    // One trip to memory before the first product and one after the last, hidden by other resident CTAs.
    let fill = (ctas / (multiprocessors * f64::from(resident))).ceil() * 1.5e-6;
    let bytes = (f64::from(m) + f64::from(n)) * k_padded * problem.element.bytes() as f64 * ctas;
    // L2 delivers about 3 times what memory does on every machine of the table.
    let traffic = bytes / (3.0 * machine.memory_bytes_per_s());
    compute.max(traffic) + fill
}

/// The machine that schedules for a target are made for. Family targets have none of their own: the first of the family
/// stands for it.
fn machine_of(target: Target) -> &'static Machine {
    let name = target.name().trim_end_matches('f');
    Machine::for_target(target.name())
        .or_else(|| Machine::for_target(&format!("{name}a")))
        .unwrap_or(&Machine::all()[0])
}

/// The schedule for a problem on a target, by the rule in the module's text.
pub fn choose(problem: &Problem, target: Target) -> Result<Schedule, ContractionError> {
    problem.check()?;
    scalar_type(problem.element)?;
    let machine = machine_of(target);
    if problem.k > 0
        && let Some(schedule) = skinny(problem, machine)
    {
        schedule.validate(problem, target)?;
        return Ok(schedule);
    }
    let (candidates, rate): (Vec<Schedule>, f64) = if has_mma(problem) {
        let rate = if problem.element == DType::Tf32 { machine.rates.tf32 } else { machine.rates.half_acc32 };
        let bytes = problem.element.bytes() as u32;
        let in_elements = |s: &MmaSyncSchedule| MmaSyncSchedule { tile: Tile { k: s.tile.k / bytes, ..s.tile }, ..*s };
        (MMA_SYNC.iter().map(|s| Schedule::MmaSync(in_elements(s))).collect(), rate)
    } else {
        let wide = sum_type(problem.element).bytes() == 8;
        let rate = if wide { machine.rates.f64 } else { machine.rates.f32 };
        (if wide { FMA_64 } else { FMA_32 }.iter().map(|s| Schedule::Fma(*s)).collect(), rate)
    };
    let mut best: Option<(f64, Schedule)> = None;
    let mut refused = ContractionError::Type(problem.element);
    for schedule in candidates {
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
    best.map(|(_, schedule)| schedule).ok_or(refused)
}

/// The schedule for few rows, where the problem is one: B from memory as it is, each element used at most eight times.
fn skinny(problem: &Problem, machine: &Machine) -> Option<Schedule> {
    let Operand::Memory(b) = &problem.b else { return None };
    let plain = b.is_matrix() && b.stored == problem.element && problem.m <= SKINNY_ROWS;
    let simple = matches!(problem.element, DType::F32 | DType::F16 | DType::BF16);
    let rows = match &problem.a {
        Operand::Memory(a) => a.is_matrix() && a.stored == problem.element,
        Operand::Expression { .. } => true,
    };
    if !plain || !simple || !rows || problem.n < 8 {
        return None;
    }
    let columns_for = |columns: &[u32]| {
        // The widest that still gives every multiprocessor a CTA, else the narrowest.
        let enough =
            |c: &&u32| problem.n.div_ceil(**c as usize) * problem.batches() >= machine.multiprocessors as usize;
        columns.iter().find(enough).or(columns.last()).copied()
    };
    let (major, lanes) = b.vector();
    match major {
        // A warp sums whole columns, its lanes along k.
        Major::K => {
            let warps = if problem.k >= 2048 { 4 } else { 2 };
            // Sums of all rows by all columns are in registers.
            let widest: &[u32] = if problem.m <= 2 { &[16, 8, 4] } else { &[8, 4] };
            columns_for(widest).map(|columns| Schedule::Skinny(SkinnySchedule { warps, columns }))
        }
        // Lanes lie along n first, the rest of the warp and the warps along k.
        Major::Outer => {
            let lanes = lanes as u32;
            let widths = [32 * lanes, 16 * lanes, 8 * lanes];
            columns_for(&widths).map(|columns| Schedule::Skinny(SkinnySchedule { warps: 8, columns }))
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::MmaSync(s) => {
                let Tile { m, n, k } = s.tile;
                write!(
                    f,
                    "mma.sync tile {m}x{n}x{k} warps {}x{} stages {} group {}",
                    s.warps.0, s.warps.1, s.stages, s.group
                )
            }
            Schedule::Fma(s) => {
                let Tile { m, n, k } = s.tile;
                write!(f, "fma tile {m}x{n}x{k} thread {}x{} group {}", s.thread.0, s.thread.1, s.group)
            }
            Schedule::Skinny(s) => write!(f, "fma rows columns {} warps {}", s.columns, s.warps),
            Schedule::Direct(s) => write!(f, "fma direct channels {} positions {}", s.lanes, s.positions),
        }
    }
}
