//! Schedules of the family for few rows, and what each takes of the machine.

use super::super::problem::{ContractionError, Problem};
use super::super::schedule::{WARP, products_text};
use super::format::Format;
pub use super::streamed::schedule::StreamedSchedule;
use super::table::TABLE_BYTES;
use crate::class::Class;
use gable_ptx::Target;
use std::fmt;

/// The most rows that `lanes` takes: each is a multiply-add per element of B.
pub const LANE_ROWS: usize = 8;

/// The most rows that `fragments` takes.
pub const FRAGMENT_ROWS: usize = 64;

/// Columns of a tile: rows of the fragment that B's elements are.
pub const TILE_COLUMNS: u32 = 16;

/// Rows of the result in a fragment.
pub const GROUP_ROWS: u32 = 8;

/// Bytes along k of a row of B that a warp takes in one step: a whole line of the cache.
pub const STEP_BYTES: u32 = 128;

/// Schedule on ordinary multiply-adds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LanesSchedule {
    /// Warps of a CTA.
    pub warps: u32,
    /// Columns of a CTA.
    pub columns: u32,
}

/// Schedule on the tensor cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FragmentsSchedule {
    /// Warps of a CTA, between which k is split.
    pub warps: u32,
    /// Tiles of [`TILE_COLUMNS`] columns that a CTA has at once, of all products together.
    pub tiles: u32,
    /// Products over the same left factor; they share the halves of the tiles.
    pub products: u32,
    /// Steps of [`STEP_BYTES`] bytes of k that a warp has under way.
    pub depth: u32,
    /// CTAs per batch entry; each takes every so many-th group of columns.
    pub ctas: u32,
    /// Whether a step's rows of A are loaded with its columns of B, and not only when they are multiplied.
    pub rows_ahead: bool,
}

/// How a product of few rows is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FewRowsSchedule {
    /// On the ordinary pipes.
    Lanes(LanesSchedule),
    /// On the tensor cores.
    Fragments(FragmentsSchedule),
    /// On the tensor cores, by way of shared memory.
    Streamed(StreamedSchedule),
}

impl FragmentsSchedule {
    /// Columns of each product in a CTA's group; 0 where there are no products, which no problem has.
    pub fn columns(&self) -> u32 {
        self.tiles.saturating_mul(TILE_COLUMNS).checked_div(self.products).unwrap_or(0)
    }

    /// Groups of columns of a batch entry.
    pub fn groups(&self, problem: &Problem) -> u32 {
        problem.n.div_ceil(self.columns() as usize) as u32
    }

    /// Groups of rows of the problem.
    pub fn row_groups(problem: &Problem) -> u32 {
        problem.m.div_ceil(GROUP_ROWS as usize) as u32
    }

    /// 32-bit words between rows of the slab of partial sums: four more than the columns, so that the rows that a warp
    /// writes at once lie in other banks.
    pub fn slab_pitch(&self) -> u32 {
        self.tiles * TILE_COLUMNS + 4
    }

    /// Bytes of a warp's partial sums.
    pub fn slab_bytes(&self, problem: &Problem) -> u32 {
        problem.m as u32 * self.slab_pitch() * 4
    }

    /// Whether some CTA has more than one group, so that one is summed up while the next is under way.
    pub fn is_persistent(&self, problem: &Problem) -> bool {
        self.ctas < self.groups(problem)
    }

    /// Bytes of the partial sums of all warps, twice where groups follow each other.
    pub(super) fn slabs_bytes(&self, problem: &Problem) -> u32 {
        self.warps * self.slab_bytes(problem) * if self.is_persistent(problem) { 2 } else { 1 }
    }

    /// Dynamic shared memory: partial sums, and the table of four-bit elements.
    pub fn shared_bytes(&self, problem: &Problem) -> u32 {
        let table = if Format::of(problem).bits() == 4 { TABLE_BYTES } else { 0 };
        self.slabs_bytes(problem) + table
    }

    /// 32-bit registers of a thread that sums, steps under way and addresses take at once.
    pub fn registers(&self, problem: &Problem) -> u32 {
        let row_groups = Self::row_groups(problem);
        // Sixteen bytes of B in each of two halves of a step, in two columns per tile, and as many k of A.
        let narrow = problem.quantised.as_ref().map_or(1, |quantised| 16 / quantised.codes.bits());
        let columns = self.tiles * if narrow > 1 { 20 } else { 16 };
        let rows = if self.rows_ahead { 2 * row_groups * 4 * narrow } else { 1 };
        let under_way = self.depth * (columns + rows);
        // Half of one half's columns unpacked, and rows on their way.
        let unpacked = if narrow > 1 { self.tiles * 4 * narrow } else { 0 };
        let at_once = unpacked + if self.rows_ahead { 0 } else { 4 * narrow };
        // Looking up pairs of four bits takes more with each group of rows, as ptxas 13.0 counts.
        let looked_up = if narrow == 4 { 6 * row_groups } else { 0 };
        self.tiles * row_groups * 4 + under_way + at_once + looked_up + 40
    }
}

/// The product of a half of a tile, where so many share the halves, and its first column in the group.
pub(super) fn half_of_tile(number: u32, products: u32) -> (u32, u32) {
    (number % products, number / products * TILE_COLUMNS / 2)
}

impl FewRowsSchedule {
    /// The instruction class that does the arithmetic.
    pub fn class(&self) -> Class {
        match self {
            FewRowsSchedule::Lanes(_) => Class::Fma,
            FewRowsSchedule::Fragments(_) | FewRowsSchedule::Streamed(_) => Class::MmaSync,
        }
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        match self {
            FewRowsSchedule::Lanes(schedule) => schedule.warps * WARP,
            FewRowsSchedule::Fragments(schedule) => schedule.warps * WARP,
            FewRowsSchedule::Streamed(schedule) => schedule.threads(),
        }
    }

    /// Columns that a CTA has at once; it has all rows.
    pub fn columns(&self) -> u32 {
        match self {
            FewRowsSchedule::Lanes(schedule) => schedule.columns,
            FewRowsSchedule::Fragments(schedule) => schedule.columns(),
            FewRowsSchedule::Streamed(schedule) => schedule.columns(),
        }
    }

    /// CTAs of a cluster.
    pub fn cluster(&self) -> u32 {
        match self {
            FewRowsSchedule::Streamed(schedule) => schedule.split,
            FewRowsSchedule::Lanes(_) | FewRowsSchedule::Fragments(_) => 1,
        }
    }

    /// CTAs of a batch entry.
    pub fn ctas(&self, problem: &Problem) -> u64 {
        match self {
            FewRowsSchedule::Lanes(schedule) => problem.n.div_ceil(schedule.columns as usize) as u64,
            FewRowsSchedule::Fragments(schedule) => schedule.ctas.into(),
            FewRowsSchedule::Streamed(schedule) => schedule.ctas.into(),
        }
    }

    /// Dynamic shared memory in bytes.
    pub fn shared_bytes(&self, problem: &Problem) -> u32 {
        match self {
            FewRowsSchedule::Lanes(schedule) => schedule.warps * schedule.columns * problem.m as u32 * 4,
            FewRowsSchedule::Fragments(schedule) => schedule.shared_bytes(problem),
            FewRowsSchedule::Streamed(schedule) => schedule.shared_bytes(problem),
        }
    }

    /// Checks what the family alone demands; numbers, threads, shared memory and CTAs are checked for all schedules alike.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let refuse = |what, found: u64, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found, expected })
        };
        let most = |what, found: u64, limit: u64| {
            if found <= limit { Ok(()) } else { refuse(what, found, format!("at most {limit}")) }
        };
        match self {
            FewRowsSchedule::Lanes(_) => most("rows of the problem", problem.m as u64, LANE_ROWS as u64),
            FewRowsSchedule::Fragments(schedule) => {
                most("rows of the problem", problem.m as u64, FRAGMENT_ROWS as u64)?;
                let halves = 2 * schedule.tiles;
                if schedule.products != problem.products() || !halves.is_multiple_of(schedule.products) {
                    let expected = format!("{}, which divides the {halves} halves of tiles", problem.products());
                    return refuse("products", schedule.products.into(), expected);
                }
                let (row, registers) = (target.row(), schedule.registers(problem));
                most("CTAs of a batch entry", schedule.ctas.into(), schedule.groups(problem).into())?;
                most("registers of a thread", registers.into(), row.max_registers_per_thread.into())?;
                let of_cta = u64::from(registers) * u64::from(self.threads());
                most("registers of a CTA", of_cta, row.registers_per_sm.into())
            }
            FewRowsSchedule::Streamed(schedule) => schedule.validate(problem, target),
        }
    }
}

impl fmt::Display for FewRowsSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FewRowsSchedule::Lanes(s) => write!(f, "fma rows columns {} warps {}", s.columns, s.warps),
            FewRowsSchedule::Streamed(s) => s.fmt(f),
            FewRowsSchedule::Fragments(s) => {
                let ahead = if s.rows_ahead { " ahead" } else { "" };
                let columns = s.columns();
                let products = products_text(s.products);
                write!(
                    f,
                    "mma.sync rows{ahead} columns {columns}{products} warps {} depth {} ctas {}",
                    s.warps, s.depth, s.ctas
                )
            }
        }
    }
}
