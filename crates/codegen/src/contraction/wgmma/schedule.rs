//! Schedules of warp-specialised kernels on `wgmma`, as data: tiles, consumers, stages, and what they take of the machine.

use super::super::boxes::SPAN;
use super::super::carried;
use super::super::group_scales::GroupScales;
use super::super::neighbours::{MOST_ALONG, Neighbours};
use super::super::operands;
use super::super::problem::{ContractionError, Major, Problem, Side};
use super::super::ring::{BARRIER, Ring};
use super::super::schedule::{Tile, WARP, products_text, sum_type};
use super::promotion;
use gable_ptx::Target;
use gable_tensor::DType;
use std::fmt;

/// Threads of a warpgroup.
pub(super) const WARPGROUP: u32 = 128;

/// Rows of one `wgmma` instruction.
pub(super) const ROWS: u32 = 64;

/// Bytes of a warp's staging buffer of results: sixteen rows of one span.
pub(super) const STAGING: u32 = 16 * SPAN;

/// Registers that a thread of a consumer may not spend on sums: addresses, descriptors, the epilogue's values.
const OTHER_REGISTERS: u32 = 40;

/// Registers that an instruction needs beside its sums, as ptxas 13.0 counts.
const INSTRUCTION_REGISTERS: u32 = 26;

/// Staging buffers of a warp at most.
pub(super) const MOST_BUFFERS: u32 = 4;
/// Of those, what the rounds themselves take, which scales may not.
const BESIDE_SCALES: u32 = 16;

/// The most CTAs between which k is split: what a cluster has on every device.
pub(super) const MOST_SPLIT: u32 = 8;

/// How the consumer warpgroups share the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sharing {
    /// Each computes a part of the rows of one tile.
    Cooperative,
    /// Each computes tiles of its own; while one multiplies, the other finishes its tile.
    PingPong,
}

/// Schedule of a kernel on `wgmma`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct WgmmaSchedule {
    /// The tile that is brought to shared memory for one round: of all consumers together, or of one when they take turns.
    /// Its columns are those of each product.
    pub tile: Tile,
    /// Products over the same left factor.
    pub products: u32,
    /// Warpgroups that multiply.
    pub consumers: u32,
    /// Warpgroups whose threads carry operands that are no boxes of a tensor map; 0 where the copy engine brings all, for
    /// which one thread of one more warpgroup asks.
    pub carriers: u32,
    /// How they share the work.
    pub sharing: Sharing,
    /// Stages of the ring in shared memory.
    pub stages: u32,
    /// Staging buffers of each consumer's warp: 2, or more where an addend comes by them.
    pub buffers: u32,
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
    /// CTAs of the launch at most: each walks over tiles that far apart.
    pub ctas: u32,
    /// CTAs between which k is split: a cluster, which has one tile. 1 where each tile is one CTA's.
    pub split: u32,
    /// CTAs along m and along n of a cluster that bring operands for each other, each 1 or 2.
    pub along: (u32, u32),
}

/// Whether sums of the tensor cores are too short to stay there for long, those of 8-bit floats, or are scaled on the way.
pub(super) fn promotes(problem: &Problem) -> bool {
    problem.scaled.is_some() || !problem.short_sums && matches!(problem.element, DType::E4M3 | DType::E5M2)
}

impl WgmmaSchedule {
    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        (self.consumers + self.producers()) * WARPGROUP
    }

    /// Warpgroups that bring operands.
    pub fn producers(&self) -> u32 {
        self.carriers.max(1)
    }

    /// Rows and columns of a tile, or of the block of neighbouring tiles that a cluster has.
    pub fn extent(&self) -> (u32, u32) {
        (self.along.0 * self.tile.m, self.along.1 * self.tile.n)
    }

    /// CTAs of a cluster.
    pub fn cluster(&self) -> u32 {
        self.split * self.along.0 * self.along.1
    }

    /// Columns of all right factors in a stage.
    pub fn columns(&self) -> u32 {
        self.products * self.tile.n
    }

    /// CTAs of a launch that has so many tiles.
    pub fn launched(&self, tiles: u64) -> u64 {
        let ctas = tiles * u64::from(self.cluster());
        if self.split > 1 { ctas } else { ctas.min(self.ctas.into()) }
    }

    /// Rounds of a tile that one CTA sums.
    pub fn rounds(&self, problem: &Problem) -> u32 {
        problem.rounds(self.tile.k).div_ceil(self.split)
    }

    /// Columns of a tile that one CTA finishes.
    pub fn finished_columns(&self) -> u32 {
        self.tile.n / self.split
    }

    /// Bytes that the partial sums of a tile take where they are exchanged: in the ring, when it is not needed any more.
    pub fn exchange_bytes(&self) -> u32 {
        self.tile.m * self.tile.n * 4
    }

    /// Rows of the tile that one consumer computes.
    pub fn consumer_rows(&self) -> u32 {
        match self.sharing {
            Sharing::Cooperative => self.tile.m / self.consumers,
            Sharing::PingPong => self.tile.m,
        }
    }

    /// Whether a consumer lets a round's products run on while it starts the next: where no other consumer keeps the tensor
    /// cores busy meanwhile.
    pub fn keeps_pending(&self) -> bool {
        self.sharing == Sharing::PingPong || self.consumers == 1
    }

    /// Sums that a thread of a consumer holds.
    pub fn sums(&self) -> u32 {
        self.consumer_rows() * self.columns() / WARPGROUP
    }

    /// Bytes of one stage: a tile of A, then a tile of each right factor.
    pub fn stage_bytes(&self) -> u32 {
        (self.tile.m + self.columns()) * SPAN
    }

    /// Bytes of the ring.
    pub fn ring_bytes(&self) -> u32 {
        self.stages * self.stage_bytes()
    }

    /// Staging buffers that a warp's share of a tile of 16-bit results fills.
    pub fn fillings(&self) -> u32 {
        self.consumer_rows() / ROWS * (self.tile.n / (SPAN / 2))
    }

    /// Bytes of the staging buffers of all consumers' warps.
    pub fn staging_bytes(&self) -> u32 {
        self.consumers * WARPGROUP / WARP * self.buffers * STAGING
    }

    /// Dynamic shared memory: the ring, the staging buffers, a full and an empty barrier for each stage, one for each
    /// staging buffer.
    pub fn shared_bytes(&self) -> u32 {
        self.arrivals_at() + self.consumers * WARPGROUP / WARP * self.buffers * BARRIER
    }

    /// Bytes of the factors of sums beside the stages, after all that.
    pub fn scale_bytes(&self, problem: &Problem) -> u32 {
        let a_stage = GroupScales::of(problem, self.tile).map_or(0, |scales| scales.bytes());
        self.stages.saturating_mul(a_stage)
    }

    /// Where in shared memory the barriers of the staging buffers begin, after those of the stages.
    pub fn arrivals_at(&self) -> u32 {
        self.ring_bytes() + self.staging_bytes() + 2 * self.stages * BARRIER
    }

    /// Registers of a thread in the producer and in the consumers, while they work. Their sum over the CTA is at most what the
    /// CTA starts with.
    pub fn registers(&self) -> (u32, u32) {
        match (self.carriers, self.consumers) {
            (0, 1) => (40, 248),
            (0, 2) => (40, 232),
            (0, _) => (32, 160),
            (1, 1) => (208, 248),
            (1, 2) => (152, 176),
            (_, 1) => (128, 248),
            (_, 2) => (80, 176),
            _ => (128, 128),
        }
    }

    /// Bytes of an element of the factors, of which [`SPAN`] bytes make a round.
    pub fn k_of(element: DType) -> u32 {
        SPAN / element.bytes() as u32
    }

    /// The largest stage count that fits shared memory of `limit` bytes.
    pub fn with_most_stages(self, problem: &Problem, limit: u32) -> WgmmaSchedule {
        let one = WgmmaSchedule { stages: 1, ..self };
        let scales = one.scale_bytes(problem);
        let stages = Ring::most_stages(limit, one.shared_bytes() + scales, self.stage_bytes() + scales);
        WgmmaSchedule { stages, ..self }
    }

    /// Checks what only this class asks for; resources common to all are checked by the caller.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let refuse = |what, found: u32, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found: found.into(), expected })
        };
        let Tile { m, n, k } = self.tile;
        if !(1..=3).contains(&self.consumers) {
            return refuse("consumers", self.consumers, "1 to 3".into());
        }
        super::shape_of(problem.element, 8)?;
        operands::require(problem, self)?;
        carried::require(problem, self, self.tile, (self.carriers, WARPGROUP))?;
        if self.sharing == Sharing::PingPong && self.consumers != 2 {
            return refuse("consumers that take turns", self.consumers, "2".into());
        }
        let unit = match self.sharing {
            Sharing::Cooperative => ROWS * self.consumers,
            Sharing::PingPong => ROWS,
        };
        if m == 0 || !m.is_multiple_of(unit) {
            return refuse("rows of the tile", m, format!("a multiple of {unit}"));
        }
        if self.products != problem.products() {
            return refuse("products", self.products, problem.products().to_string());
        }
        // One instruction multiplies the columns of all products.
        let step = match problem.element {
            DType::I8 | DType::U8 if n > 32 => 16,
            _ => 8,
        };
        let most = 256 / self.products;
        if n == 0 || n > most || !n.is_multiple_of(step) {
            return refuse("columns of the tile", n, format!("a multiple of {step} up to {most}"));
        }
        if k != Self::k_of(problem.element) {
            return refuse("k of the tile", k, format!("{SPAN} bytes of {}", problem.element));
        }
        for side in problem.sides() {
            let outer = if side == Side::A { m } else { n };
            // Columns come in spans of their own, of which only whole ones are laid out.
            if operands::major(problem, side) == Major::Outer
                && !outer.is_multiple_of(SPAN / problem.element.bytes() as u32)
            {
                let expected = format!("a multiple of {SPAN} bytes where they lie together in memory");
                return refuse(
                    if side == Side::A { "rows of the tile" } else { "columns of the tile" },
                    outer,
                    expected,
                );
            }
        }
        if self.stages < 2 {
            return refuse("stages", self.stages, "at least 2".into());
        }
        if !matches!(self.buffers, 2 | MOST_BUFFERS) {
            return refuse("staging buffers of a warp", self.buffers, format!("2 or {MOST_BUFFERS}"));
        }
        if self.ctas == 0 {
            return refuse("CTAs", 0, "at least 1".into());
        }
        self.validate_split(problem)?;
        self.validate_neighbours(problem)?;
        let (producer, consumer) = self.registers();
        let held = if promotes(problem) { 2 * self.sums() } else { self.sums() };
        if held + OTHER_REGISTERS > consumer {
            return refuse("sums of a thread", held, format!("at most {}", consumer - OTHER_REGISTERS));
        }
        if let Some(scales) = GroupScales::of(problem, self.tile) {
            scales.validate(self)?;
            let registers = promotion::registers(&scales, self);
            if held + registers + BESIDE_SCALES > consumer {
                let most = consumer - BESIDE_SCALES - held;
                return refuse("registers of a thread's scales", registers, format!("at most {most}"));
            }
            if self.carriers > 0 {
                return refuse("carriers", self.carriers, "0 where sums are scaled".into());
            }
        }
        if promotes(problem) && self.keeps_pending() {
            return refuse("consumers of promoted sums", self.consumers, "2 or more that cooperate".into());
        }
        // The assembler refuses an instruction that needs more registers than a thread starts with.
        let entry = target.row().registers_per_sm / self.threads() / 8 * 8;
        if self.columns() / 2 + INSTRUCTION_REGISTERS > entry {
            let most = 2 * (entry - INSTRUCTION_REGISTERS);
            return refuse("columns of the tile", self.columns(), format!("at most {most}"));
        }
        let all = WARPGROUP * (self.producers() * producer + self.consumers * consumer);
        if all > target.row().registers_per_sm {
            return refuse("registers of a CTA", all, format!("at most {}", target.row().registers_per_sm));
        }
        Ok(())
    }
}

impl WgmmaSchedule {
    /// Checks what neighbours that bring operands for each other ask for.
    fn validate_neighbours(&self, problem: &Problem) -> Result<(), ContractionError> {
        let refuse = |what, found: u32, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found: found.into(), expected })
        };
        let along = [("CTAs along m", self.along.0), ("CTAs along n", self.along.1)];
        for (what, count) in along {
            if !(1..=MOST_ALONG).contains(&count) {
                return refuse(what, count, format!("1 to {MOST_ALONG}"));
            }
        }
        if self.along == (1, 1) {
            return Ok(());
        }
        let (what, count) = if self.along.0 > 1 { along[0] } else { along[1] };
        if self.split > 1 || self.carriers > 0 || problem.ragged {
            let expected = "1 where k is split, threads carry operands or rows are in groups";
            return refuse(what, count, expected.into());
        }
        if !self.ctas.is_multiple_of(self.cluster()) {
            return refuse("CTAs", self.ctas, format!("a multiple of the {} of a cluster", self.cluster()));
        }
        // Slices are patterns of eight rows, or whole blocks where columns or rows come in spans.
        for side in problem.sides() {
            let (what, outer) = match side {
                Side::A => ("rows of the tile", self.tile.m),
                _ => ("columns of the tile", self.tile.n),
            };
            let slices = Neighbours::slices(self.along, side);
            let unit = slices * if operands::major(problem, side) == Major::K { 8 } else { ROWS };
            if slices > 1 && !outer.is_multiple_of(unit) {
                return refuse(what, outer, format!("a multiple of {unit} where it is brought in {slices} parts"));
            }
        }
        Ok(())
    }

    /// Checks what a split of k asks for.
    fn validate_split(&self, problem: &Problem) -> Result<(), ContractionError> {
        let refuse = |what, found: u64, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found, expected })
        };
        if !self.split.is_power_of_two() || self.split > MOST_SPLIT {
            return refuse("CTAs between which k is split", self.split.into(), format!("1, 2, 4 or {MOST_SPLIT}"));
        }
        if self.split == 1 {
            return Ok(());
        }
        if self.sharing == Sharing::PingPong {
            return refuse("CTAs between which k is split", self.split.into(), "1 where consumers take turns".into());
        }
        if self.products > 1 {
            return refuse("CTAs between which k is split", self.split.into(), "1 for several products".into());
        }
        if self.carriers > 0 {
            return refuse("CTAs between which k is split", self.split.into(), "1 where threads carry operands".into());
        }
        if problem.ragged {
            let expected = "1 for rows in groups".into();
            return refuse("CTAs between which k is split", self.split.into(), expected);
        }
        if sum_type(problem.element) != DType::F32 {
            return refuse("CTAs between which k is split", self.split.into(), "1 but for sums of floats".into());
        }
        if problem.rounds(self.tile.k) < self.split {
            return refuse("rounds", problem.rounds(self.tile.k).into(), format!("at least {}", self.split));
        }
        // Parts of whole steps of the epilogue.
        if !self.tile.n.is_multiple_of(16 * self.split) {
            return refuse("columns of the tile", self.tile.n.into(), format!("a multiple of {}", 16 * self.split));
        }
        let ctas = problem.tiles(self.extent()).saturating_mul(self.split.into());
        if ctas > self.ctas.into() {
            return refuse("CTAs that share tiles", ctas, format!("at most {}: a cluster has one tile", self.ctas));
        }
        if self.exchange_bytes() > self.ring_bytes() {
            return refuse(
                "bytes of partial sums",
                self.exchange_bytes().into(),
                format!("at most {}", self.ring_bytes()),
            );
        }
        Ok(())
    }
}

impl fmt::Display for WgmmaSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { m, n, k } = self.tile;
        let sharing = match self.sharing {
            Sharing::Cooperative => "cooperative",
            Sharing::PingPong => "ping-pong",
        };
        write!(
            f,
            "wgmma tile {m}x{n}x{k}{} {sharing} consumers {} stages {} group {} ctas {}",
            products_text(self.products),
            self.consumers,
            self.stages,
            self.group,
            self.ctas
        )?;
        if self.carriers > 0 {
            write!(f, " carriers {}", self.carriers)?;
        }
        if self.buffers != 2 {
            write!(f, " buffers {}", self.buffers)?;
        }
        if self.along != (1, 1) {
            write!(f, " cluster {}x{}", self.along.0, self.along.1)?;
        }
        if self.split > 1 { write!(f, " split {}", self.split) } else { Ok(()) }
    }
}
