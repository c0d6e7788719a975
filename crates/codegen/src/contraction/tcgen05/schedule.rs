//! Schedules of warp-specialised kernels on `tcgen05`, as data: tiles, stages, and what they take of the machine.

use super::super::block_scaled::{ATOM_SCALES, BlockScaled, blocks, span};
use super::super::boxes::SPAN;
use super::super::carried;
use super::super::group_scales::{self, GroupScales};
use super::super::operands;
use super::super::problem::{ContractionError, Major, Problem, Side};
use super::super::ring::{BARRIER, Ring};
use super::super::scaler::SCALERS;
use super::super::schedule::{Tile, WARP, products_text};
use super::super::staged::BUFFERS;
use super::super::takeover::{SLOT_BYTES, SLOTS};
use super::scale_columns::ATOM_COLUMNS;
use gable_ptx::{Feature, Target};
use std::fmt;

/// Rows of a CTA's part of a tile: one for each lane of tensor memory.
pub(super) const ROWS: u32 = 128;

/// Warps that finish tiles: one for each quarter of the lanes, which no other warp can read.
pub(super) const FINISHERS: u32 = ROWS / WARP;

/// The warp that brings operands, the one that multiplies, and the first that brings scales.
pub(super) const PRODUCER: u32 = FINISHERS;
pub(super) const MULTIPLIER: u32 = FINISHERS + 1;
pub(super) const FIRST_SCALER: u32 = FINISHERS + 2;

/// Threads of four warps that carry.
pub(super) const CARRIER_THREADS: u32 = 4 * WARP;

/// Columns of tensor memory.
const TENSOR_COLUMNS: u32 = 512;

/// Fewest columns that are allocated.
const LEAST_COLUMNS: u32 = 32;

/// Warps that bring factors of sums: with two, threads that promote have registers for all sums of a row.
const GROUP_SCALERS: u32 = 2;

/// Columns of a tile whose sums a thread holds while it promotes them, and rounds of it in tensor memory, at most.
pub(super) const MOST_PROMOTED: u32 = 128;
pub(super) const MOST_ROUNDS: u32 = 3;

/// Bytes of eight rows of a span, which swizzled boxes begin at a multiple of.
const PATTERN: u32 = 8 * SPAN;

/// Bytes of a warp's staging buffer of results: a span of each of its rows.
const STAGING: u32 = WARP * SPAN;

/// Bytes of the word that the address of tensor memory is written to, and of its padding.
const ADDRESS: u32 = 8;

/// Schedule of a kernel on `tcgen05`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tcgen05Schedule {
    /// The tile of a CTA or of a pair, and what is brought of it for one round. Its columns are those of each product.
    pub tile: Tile,
    /// Products over the same left factor.
    pub products: u32,
    /// CTAs that share a tile: 1, or the 2 of a pair, of which each has half of the rows and brings half of the columns.
    pub ctas_per_tile: u32,
    /// Times four warps whose threads carry operands that are no boxes of a tensor map; 0 where the copy engine brings all.
    pub carriers: u32,
    /// Scales of a row that a round brings, of problems that have some; else 0. Block scales are several, one is a factor of sums.
    pub scales: u32,
    /// Sums of so many tiles are in tensor memory at once: with 2, one is finished while the other is multiplied. Where factors of
    /// sums come, of so many rounds.
    pub accumulators: u32,
    /// Stages of the ring in shared memory.
    pub stages: u32,
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
    /// CTAs of the launch at most: each, or each pair, walks over tiles that far apart.
    pub ctas: u32,
    /// Whether the launch has CTAs for every tile instead, of which those that run take over the tiles of those that wait.
    pub takes_over: bool,
}

impl Tcgen05Schedule {
    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        (FIRST_SCALER + self.scalers()) * WARP + self.carriers * CARRIER_THREADS
    }

    /// Warps that bring scales.
    pub(super) fn scalers(&self) -> u32 {
        match self.scales {
            0 => 0,
            group_scales::PER_ROUND => GROUP_SCALERS,
            _ => SCALERS,
        }
    }

    /// Rows and columns of a tile.
    pub fn extent(&self) -> (u32, u32) {
        (self.tile.m, self.tile.n)
    }

    /// Columns of all right factors in a stage, and of an accumulator.
    pub fn columns(&self) -> u32 {
        self.products * self.tile.n
    }

    /// Columns of tensor memory that the sums of all accumulators take.
    pub(super) fn sum_columns(&self) -> u32 {
        (self.accumulators + u32::from(self.promotes())) * self.columns()
    }

    /// Whether the sums of each round are multiplied by factors and added to those of the tile, which have columns after them.
    pub(super) fn promotes(&self) -> bool {
        self.scales == group_scales::PER_ROUND
    }

    /// Columns of tensor memory that the scales of a round take.
    pub(super) fn scale_columns(&self) -> u32 {
        (1 + blocks(self.tile.n)) * (self.scales / ATOM_SCALES) * ATOM_COLUMNS
    }

    /// Rounds whose scales are in tensor memory at once: as many as it holds beside the sums, up to the stages.
    pub(super) fn scale_rounds(&self) -> u32 {
        let free = TENSOR_COLUMNS.saturating_sub(self.sum_columns());
        free.checked_div(self.scale_columns()).map_or(0, |rounds| rounds.min(self.stages))
    }

    /// Columns of tensor memory that sums and scales take, as many as can be allocated.
    pub fn tensor_columns(&self) -> u32 {
        (self.sum_columns() + self.scale_rounds() * self.scale_columns()).next_power_of_two().max(LEAST_COLUMNS)
    }

    /// What a CTA brings of a tile for one round; its columns are those of each product.
    pub fn brought(&self) -> Tile {
        let ctas = self.ctas_per_tile.max(1);
        Tile { m: self.tile.m / ctas, n: self.tile.n / ctas, k: self.tile.k }
    }

    /// Where an accumulator has the sums of a product's column: the columns that a CTA brings lie together, those of the first
    /// product first.
    pub(super) fn sums_at(&self, product: u32, column: u32) -> u32 {
        let own = self.columns_together();
        (column / own * self.products + product) * own + column % own
    }

    /// Columns of a product that an accumulator has in one piece.
    pub(super) fn columns_together(&self) -> u32 {
        if self.products == 1 { self.tile.n } else { self.brought().n }
    }

    /// Bytes of the factors in one stage: rows of A, then columns of each right factor.
    pub fn operand_bytes(&self) -> u32 {
        let brought = self.brought();
        (brought.m + self.products * brought.n) * SPAN
    }

    /// Bytes of one stage: the factors, then scales of A's rows and of all columns of the tile.
    pub fn stage_bytes(&self) -> u32 {
        let scales = if self.has_block_scales() { BlockScaled::bytes(self.scales, self.tile.n) } else { 0 };
        // Swizzled boxes begin at whole patterns.
        (self.operand_bytes() + scales).next_multiple_of(PATTERN)
    }

    /// CTAs of the launch for so many tiles.
    pub fn launched(&self, tiles: u64) -> u64 {
        let each = tiles * u64::from(self.ctas_per_tile);
        if self.takes_over { each } else { each.min(self.ctas.into()) }
    }

    /// Bytes of the ring.
    pub fn ring_bytes(&self) -> u32 {
        self.stages * self.stage_bytes()
    }

    /// Bytes of a warp's staging buffers.
    pub(super) fn warp_staging_bytes(&self) -> u32 {
        BUFFERS * STAGING
    }

    /// Where the barriers of the ring, of the accumulators, of the scales in tensor memory and of the arrivals of factors that are
    /// changed afterwards begin, the answers of cluster launch control and then their barriers, and the address of tensor memory.
    pub(super) fn tail(&self) -> [u32; 6] {
        let ring = self.ring_bytes() + FINISHERS * self.warp_staging_bytes();
        let accumulators = ring + 2 * self.stages * BARRIER;
        let scales = accumulators + 2 * self.accumulators * BARRIER;
        let arrivals = scales + 2 * self.scale_rounds() * BARRIER;
        let changed = if self.has_block_scales() { 2 * self.stages * BARRIER } else { 0 };
        let answers = (arrivals + changed).next_multiple_of(SLOT_BYTES);
        let taken = if self.takes_over { SLOT_BYTES + 2 * SLOTS * BARRIER } else { 0 };
        [ring, accumulators, scales, arrivals, answers, answers + taken]
    }

    /// Whether the tensor cores multiply with scales.
    fn has_block_scales(&self) -> bool {
        self.scales > group_scales::PER_ROUND
    }

    /// Where the factors of sums begin, those of each accumulator, and the bytes of one's.
    pub(super) fn factors(&self) -> (u32, u32) {
        (self.tail()[5] + ADDRESS, GroupScales::most_bytes(ROWS))
    }

    /// Dynamic shared memory: the ring, the staging buffers, a full and an empty barrier for each stage (twice where factors
    /// have scales), each accumulator and each round of scales, the address of tensor memory, and factors of sums.
    pub fn shared_bytes(&self) -> u32 {
        let (first, each) = self.factors();
        first + if self.promotes() { self.accumulators * each } else { 0 }
    }

    /// The largest stage count that fits shared memory of `limit` bytes.
    pub fn with_most_stages(self, limit: u32) -> Tcgen05Schedule {
        let one = Tcgen05Schedule { stages: 1, ..self };
        // Each stage may bring the barriers of a round of scales, and of its arrivals.
        let stage_bytes = self.stage_bytes() + if self.scales > 0 { 4 * BARRIER } else { 0 };
        Tcgen05Schedule { stages: Ring::most_stages(limit, one.shared_bytes(), stage_bytes), ..self }
    }

    /// Checks what only this class asks for; resources common to all are checked by the caller.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let refuse = |what, found: u32, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found: found.into(), expected })
        };
        let Tile { m, n, k } = self.tile;
        if !target.has(Feature::Tcgen05) {
            return refuse("tensor memory", 0, "a target that has it".into());
        }
        let scaled = BlockScaled::of(problem);
        match (&problem.scaled, &scaled) {
            (Some(_), None) if !super::promotes(problem, target) => {
                return Err(ContractionError::Type(problem.element));
            }
            (None, _) => super::factors(problem.element, target).map(|_| ())?,
            _ => {}
        }
        operands::require(problem, self)?;
        let carries = carried::require(problem, self, self.tile, (self.carriers, CARRIER_THREADS))?;
        if carries && self.ctas_per_tile != 1 {
            return refuse("CTAs of a tile", self.ctas_per_tile, "1, where threads carry an operand".into());
        }
        let scales = group_scales::per_round(problem);
        if self.scales != scales {
            return refuse("scales of a row in a round", self.scales, scales.to_string());
        }
        if self.takes_over && (problem.ragged || self.carriers > 0) {
            return refuse(
                "tiles that are taken over",
                1,
                "none where rows are in groups, or threads carry an operand".into(),
            );
        }
        if let Some(factors) = GroupScales::of(problem, self.tile).filter(|_| self.promotes()) {
            factors.validate(self)?;
            if self.ctas_per_tile != 1 {
                return refuse("CTAs of a tile", self.ctas_per_tile, "1, where sums are scaled".into());
            }
            if n > MOST_PROMOTED {
                return refuse("columns of the tile", n, format!("at most {MOST_PROMOTED} where sums are scaled"));
            }
        }
        let most = if self.promotes() { MOST_ROUNDS } else { 2 };
        if !(1..=most).contains(&self.accumulators) {
            return refuse("accumulators", self.accumulators, format!("1 to {most}"));
        }
        if !matches!(self.ctas_per_tile, 1 | 2) {
            return refuse("CTAs of a tile", self.ctas_per_tile, "1 or 2".into());
        }
        if m != ROWS * self.ctas_per_tile {
            return refuse("rows of the tile", m, (ROWS * self.ctas_per_tile).to_string());
        }
        if self.products != problem.products() {
            return refuse("products", self.products, problem.products().to_string());
        }
        // One instruction multiplies the columns of all products, and each CTA of a pair brings a whole number of patterns of
        // eight rows.
        let (grain, most) = (16 * self.ctas_per_tile, 256 / self.products);
        if n == 0 || n > most || !n.is_multiple_of(grain) {
            return refuse("columns of the tile", n, format!("a multiple of {grain} up to {most}"));
        }
        // Scales of one round are brought while those of another are used.
        let columns = self.sum_columns() + if self.has_block_scales() { 2 * self.scale_columns() } else { 0 };
        if columns > TENSOR_COLUMNS {
            return refuse("columns of tensor memory", columns, format!("at most {TENSOR_COLUMNS}"));
        }
        let span = span(problem);
        if k != span {
            return refuse("k of the tile", k, format!("{SPAN} bytes of {}", problem.element));
        }
        // Columns come in spans of their own, of which only whole ones are laid out.
        if operands::major(problem, Side::B) == Major::Outer && !self.brought().n.is_multiple_of(span) {
            let expected = format!("a multiple of {SPAN} bytes for each CTA where they lie together in memory");
            return refuse("columns of the tile", n, expected);
        }
        if self.stages < 2 {
            return refuse("stages", self.stages, "at least 2".into());
        }
        if self.ctas == 0 || !self.ctas.is_multiple_of(self.ctas_per_tile) {
            return refuse("CTAs", self.ctas, format!("{} or a multiple of it", self.ctas_per_tile));
        }
        Ok(())
    }
}

impl fmt::Display for Tcgen05Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { m, n, k } = self.tile;
        write!(f, "tcgen05 tile {m}x{n}x{k}{}", products_text(self.products))?;
        if self.ctas_per_tile > 1 {
            write!(f, " of {} ctas", self.ctas_per_tile)?;
        }
        if self.scales > 0 {
            write!(f, " scales {}", self.scales)?;
        }
        if self.accumulators != 2 {
            write!(f, " accumulators {}", self.accumulators)?;
        }
        write!(f, " stages {} group {} ctas {}", self.stages, self.group, self.ctas)?;
        if self.takes_over {
            f.write_str(" that take over")?;
        }
        if self.carriers > 0 { write!(f, " carriers {}", self.carriers) } else { Ok(()) }
    }
}
