//! Schedules: how a contraction is cut into tiles, as data; what each takes of the machine, and whether it fits.
//!
//! `rule` chooses one. All are printable and comparable, so that a record of one can stand in a report.

use super::few_rows::schedule::FewRowsSchedule;
use super::group_scales;
use super::groups;
use super::mma_ring::schedule::MmaRingSchedule;
use super::problem::{ContractionError, Major, Problem, Side};
use super::tcgen05::schedule::Tcgen05Schedule;
use super::tile::{CHUNK, PERIOD};
use super::wgmma::schedule::WgmmaSchedule;
use crate::class::Class;
use gable_ptx::{MAX_THREADS_PER_CTA, Target};
use gable_tensor::DType;
use std::fmt;
use std::ops::RangeInclusive;

/// Lanes of a warp.
pub const WARP: u32 = 32;

/// The largest extent of a tile that a schedule may name: the largest of any family, and room.
const MAX_EXTENT: u32 = 512;

/// The most stages, warps and the like that a schedule may name. With tiles of [`MAX_EXTENT`] all sizes stay within 32 bits.
const MAX_COUNT: u32 = 32;

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

/// How schedules print the number of products over one left factor: nothing for one.
pub(super) fn products_text(products: u32) -> String {
    if products == 1 { String::new() } else { format!(" products {products}") }
}

/// Schedule of a kernel on `mma.sync`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MmaSyncSchedule {
    /// What a CTA computes of each product.
    pub tile: Tile,
    /// Products over the same left factor.
    pub products: u32,
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
    /// What a CTA computes of each product.
    pub tile: Tile,
    /// Products over the same left factor.
    pub products: u32,
    /// What a thread computes of each product: rows and columns.
    pub thread: (u32, u32),
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
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
    /// On the tensor cores, warpgroup by warpgroup, operands brought by the copy engine.
    Wgmma(WgmmaSchedule),
    /// On the tensor cores, sums in tensor memory, operands brought by the copy engine.
    Tcgen05(Tcgen05Schedule),
    /// On the tensor cores, warp by warp.
    MmaSync(MmaSyncSchedule),
    /// On the tensor cores, warp by warp, operands brought by the copy engine.
    MmaRing(MmaRingSchedule),
    /// On the ordinary pipes.
    Fma(FmaSchedule),
    /// For few rows, bound by the bytes of B.
    FewRows(FewRowsSchedule),
    /// On the ordinary pipes, without tiles.
    Direct(DirectSchedule),
}

impl MmaSyncSchedule {
    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        self.warps.0 * self.warps.1 * WARP
    }

    /// Rows and columns of a warp.
    pub fn warp_tile(&self) -> (u32, u32) {
        (self.tile.m / self.warps.0, self.tile.n / self.warps.1)
    }

    /// Bytes of one stage: a tile of A, then a tile of each right factor.
    pub fn stage_bytes(&self, element: DType) -> u32 {
        (self.tile.m + self.products * self.tile.n) * self.tile.k * element.bytes() as u32
    }

    /// 32-bit words between rows of a warp's slab of sums, of all products; the eight more put rows into other banks.
    pub fn slab_pitch(&self) -> u32 {
        self.products * self.warp_tile().1 + 8
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
        let n = self.products * n;
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

    /// Bytes of one stage: A as `[k, m]`, then each right factor as `[k, n]`.
    pub fn stage_bytes(&self, acc: DType) -> u32 {
        self.tile.k
            * (Self::pitch(self.tile.m, acc) + self.products * Self::pitch(self.tile.n, acc))
            * acc.bytes() as u32
    }

    /// Dynamic shared memory: two stages.
    pub fn shared_bytes(&self, acc: DType) -> u32 {
        2 * self.stage_bytes(acc)
    }

    /// 32-bit registers of a thread that sums, two sets of factors and addresses take at once.
    pub fn registers(&self, acc: DType) -> u32 {
        let words = acc.bytes() as u32 / 4;
        let columns = self.products * self.thread.1;
        (self.thread.0 * columns + 2 * (self.thread.0 + columns)) * words + 40
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
    pub fn class(&self) -> Class {
        match self {
            Schedule::Wgmma(_) => Class::Wgmma,
            Schedule::Tcgen05(_) => Class::Tcgen05,
            Schedule::MmaSync(_) => Class::MmaSync,
            Schedule::MmaRing(schedule) if schedule.scales > group_scales::PER_ROUND => Class::MmaSyncBlockScaled,
            Schedule::MmaRing(_) => Class::MmaSync,
            Schedule::Fma(_) | Schedule::Direct(_) => Class::Fma,
            Schedule::FewRows(schedule) => schedule.class(),
        }
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        match self {
            Schedule::Wgmma(schedule) => schedule.threads(),
            Schedule::Tcgen05(schedule) => schedule.threads(),
            Schedule::MmaSync(schedule) => schedule.threads(),
            Schedule::MmaRing(schedule) => schedule.threads(),
            Schedule::Fma(schedule) => schedule.threads(),
            Schedule::FewRows(schedule) => schedule.threads(),
            Schedule::Direct(_) => super::direct::THREADS,
        }
    }

    /// Rows and columns of the result that a CTA computes.
    pub fn extent(&self, problem: &Problem) -> (u32, u32) {
        match self {
            Schedule::Wgmma(schedule) => schedule.extent(),
            Schedule::Tcgen05(schedule) => schedule.extent(),
            Schedule::MmaRing(schedule) => schedule.extent(),
            Schedule::MmaSync(MmaSyncSchedule { tile, .. }) | Schedule::Fma(FmaSchedule { tile, .. }) => {
                (tile.m, tile.n)
            }
            Schedule::FewRows(schedule) => (problem.m as u32, schedule.columns()),
            Schedule::Direct(schedule) => (schedule.positions, schedule.lanes),
        }
    }

    /// The numbers that the schedule's sizes are reckoned from, each with the range in which no division is by zero and no
    /// size leaves 32 bits. Whether they fit a machine and a problem is another question.
    fn numbers(&self) -> Vec<(&'static str, u32, RangeInclusive<u32>)> {
        let few = |what, found| (what, found, 1..=MAX_COUNT);
        let some = |what, found| (what, found, 0..=MAX_COUNT);
        let many = |what, found| (what, found, 1..=i32::MAX as u32);
        let tiled = |Tile { m, n, k }: Tile, products, group, own: &[(&'static str, u32, RangeInclusive<u32>)]| {
            let extent = |what, found| (what, found, 1..=MAX_EXTENT);
            let mut numbers = vec![
                extent("rows of the tile", m),
                extent("columns of the tile", n),
                extent("k of the tile", k),
                few("products", products),
                many("tiles of a group", group),
            ];
            numbers.extend_from_slice(own);
            numbers
        };
        match self {
            Schedule::Wgmma(s) => tiled(
                s.tile,
                s.products,
                s.group,
                &[
                    few("consumers", s.consumers),
                    some("carriers", s.carriers),
                    few("stages", s.stages),
                    few("staging buffers", s.buffers),
                    many("CTAs", s.ctas),
                    few("parts of k", s.split),
                    few("CTAs along m", s.along.0),
                    few("CTAs along n", s.along.1),
                ],
            ),
            Schedule::Tcgen05(s) => tiled(
                s.tile,
                s.products,
                s.group,
                &[
                    few("CTAs of a tile", s.ctas_per_tile),
                    some("carriers", s.carriers),
                    some("scales of a row", s.scales),
                    few("accumulators", s.accumulators),
                    few("stages", s.stages),
                    many("CTAs", s.ctas),
                ],
            ),
            Schedule::MmaRing(s) => tiled(
                s.tile,
                1,
                s.group,
                &[
                    few("warps along m", s.warps.0),
                    few("warps along n", s.warps.1),
                    some("scales of a row", s.scales),
                    few("stages", s.stages),
                    many("CTAs", s.ctas),
                ],
            ),
            Schedule::MmaSync(s) => tiled(
                s.tile,
                s.products,
                s.group,
                &[few("warps along m", s.warps.0), few("warps along n", s.warps.1), few("stages", s.stages)],
            ),
            Schedule::Fma(s) => tiled(
                s.tile,
                s.products,
                s.group,
                &[few("rows of a thread", s.thread.0), few("columns of a thread", s.thread.1)],
            ),
            Schedule::FewRows(FewRowsSchedule::Lanes(s)) => {
                vec![few("warps", s.warps), ("columns", s.columns, 1..=MAX_EXTENT)]
            }
            Schedule::FewRows(FewRowsSchedule::Fragments(s)) => vec![
                few("warps", s.warps),
                few("tiles", s.tiles),
                few("products", s.products),
                few("depth", s.depth),
                many("CTAs", s.ctas),
            ],
            Schedule::FewRows(FewRowsSchedule::Streamed(s)) => vec![
                few("warps", s.warps),
                some("joiners", s.joiners),
                few("tiles", s.tiles),
                few("products", s.products),
                few("steps", s.steps),
                few("CTAs of a cluster", s.split),
                many("CTAs", s.ctas),
            ],
            Schedule::Direct(s) => vec![few("channels", s.lanes), few("positions", s.positions)],
        }
    }

    /// CTAs of the launch: tiles along m times tiles along n times batch entries.
    pub fn ctas(&self, problem: &Problem) -> u64 {
        if let Schedule::Direct(schedule) = self {
            return schedule.vectors(problem).div_ceil(super::direct::THREADS.into());
        }
        if let Schedule::FewRows(schedule) = self {
            return schedule.ctas(problem) * problem.batches() as u64;
        }
        let tiles = problem.tiles(self.extent(problem));
        match self {
            Schedule::Wgmma(schedule) => schedule.launched(tiles),
            Schedule::Tcgen05(schedule) => schedule.launched(tiles),
            Schedule::MmaRing(schedule) => tiles.min(schedule.ctas.into()),
            _ => tiles,
        }
    }

    /// CTAs of a cluster.
    pub fn cluster(&self) -> u32 {
        match self {
            Schedule::Tcgen05(schedule) => schedule.ctas_per_tile,
            Schedule::Wgmma(schedule) => schedule.cluster(),
            Schedule::FewRows(schedule) => schedule.cluster(),
            _ => 1,
        }
    }

    /// Dynamic shared memory in bytes.
    pub fn shared_bytes(&self, problem: &Problem) -> u32 {
        self.own_shared_bytes(problem).saturating_add(groups::bytes(problem))
    }

    /// Of that, what the schedule alone takes; the ends of groups of rows follow.
    fn own_shared_bytes(&self, problem: &Problem) -> u32 {
        match self {
            Schedule::Wgmma(schedule) => schedule.shared_bytes().saturating_add(schedule.scale_bytes(problem)),
            Schedule::Tcgen05(schedule) => schedule.shared_bytes(),
            Schedule::MmaRing(schedule) => schedule.shared_bytes(),
            Schedule::MmaSync(schedule) => schedule.shared_bytes(problem.element),
            Schedule::Fma(schedule) => schedule.shared_bytes(sum_type(problem.element)),
            Schedule::FewRows(schedule) => schedule.shared_bytes(problem),
            Schedule::Direct(_) => 0,
        }
    }

    /// Checks the schedule against the target's limits and the problem.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        for (what, found, expected) in self.numbers() {
            if !expected.contains(&found) {
                return Err(ContractionError::Schedule {
                    schedule: self.to_string(),
                    what,
                    found: found.into(),
                    expected: format!("{} to {}", expected.start(), expected.end()),
                });
            }
        }
        let has_copy_engine = matches!(self, Schedule::Wgmma(_) | Schedule::Tcgen05(_) | Schedule::MmaRing(_));
        if problem.realigned && !has_copy_engine {
            return Err(ContractionError::Schedule {
                schedule: self.to_string(),
                what: "copies of factors",
                found: 1,
                expected: "none: only the copy engine reads them".into(),
            });
        }
        // The family's limit of rows comes before its sizes, which grow with them.
        if let Schedule::FewRows(schedule) = self {
            schedule.validate(problem, target)?;
        }
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
        let has_products = |products: u32| {
            let error = ContractionError::Schedule {
                schedule: self.to_string(),
                what: "products",
                found: products.into(),
                expected: problem.products().to_string(),
            };
            if products == problem.products() { Ok(()) } else { Err(error) }
        };
        let registers = |count: u32| {
            fits("registers of a thread", count.into(), row.max_registers_per_thread.into())?;
            fits("registers of a CTA", u64::from(count) * u64::from(self.threads()), row.registers_per_sm.into())
        };
        match self {
            Schedule::Wgmma(schedule) => {
                // Tiles are numbered with 31 bits, whatever the launch has.
                fits("tiles", problem.tiles(schedule.extent()), i32::MAX as u64 - u64::from(2 * schedule.ctas))?;
                schedule.validate(problem, target)
            }
            Schedule::Tcgen05(schedule) => {
                fits("tiles", problem.tiles(schedule.extent()), i32::MAX as u64 - u64::from(schedule.ctas))?;
                schedule.validate(problem, target)
            }
            Schedule::MmaRing(schedule) => {
                fits("tiles", problem.tiles(schedule.extent()), i32::MAX as u64 - u64::from(schedule.ctas))?;
                schedule.validate(problem, target)?;
                registers(schedule.registers())
            }
            Schedule::MmaSync(schedule) => {
                let bytes = problem.element.bytes() as u32;
                has_products(schedule.products)?;
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
                for side in problem.sides() {
                    let outer = if side == Side::A { schedule.tile.m } else { schedule.tile.n };
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
                has_products(schedule.products)?;
                let vector = FmaSchedule::vector(acc);
                // A warp is 4 threads along m by 8 along n.
                divides("rows of the tile", schedule.tile.m, 4 * schedule.thread.0)?;
                divides("columns of the tile", schedule.tile.n, 8 * schedule.thread.1)?;
                divides("rows of a thread", schedule.thread.0, vector)?;
                divides("columns of a thread", schedule.thread.1, vector)?;
                divides("k of the tile", schedule.tile.k, vector)?;
                registers(schedule.registers(acc))
            }
            Schedule::FewRows(_) => Ok(()),
            // Threads are numbered with 31 bits.
            Schedule::Direct(schedule) => fits("vectors", schedule.vectors(problem), i32::MAX as u64),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Wgmma(schedule) => schedule.fmt(f),
            Schedule::Tcgen05(schedule) => schedule.fmt(f),
            Schedule::MmaRing(schedule) => schedule.fmt(f),
            Schedule::MmaSync(s) => {
                let Tile { m, n, k } = s.tile;
                write!(
                    f,
                    "mma.sync tile {m}x{n}x{k}{} warps {}x{} stages {} group {}",
                    products_text(s.products),
                    s.warps.0,
                    s.warps.1,
                    s.stages,
                    s.group
                )
            }
            Schedule::Fma(s) => {
                let Tile { m, n, k } = s.tile;
                let products = products_text(s.products);
                write!(f, "fma tile {m}x{n}x{k}{products} thread {}x{} group {}", s.thread.0, s.thread.1, s.group)
            }
            Schedule::FewRows(s) => s.fmt(f),
            Schedule::Direct(s) => write!(f, "fma direct channels {} positions {}", s.lanes, s.positions),
        }
    }
}
