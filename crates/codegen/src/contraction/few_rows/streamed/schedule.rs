//! Schedules of few rows by way of shared memory, and what each takes of the machine.

use super::super::super::problem::{ContractionError, Problem};
use super::super::super::ring::BARRIER;
use super::super::super::schedule::{WARP, products_text};
use super::super::choice::is_streamed;
use super::super::format::Format;
use super::super::join::Slabs;
use super::super::schedule::{FRAGMENT_ROWS, FragmentsSchedule, STEP_BYTES, TILE_COLUMNS};
use super::super::table::TABLE_BYTES;
use super::copies::scale_bytes;
use gable_ptx::Target;
use std::fmt;

/// Groups of columns for whose sums a joiner has memory, and the fewest whose slabs take turns.
pub(super) const TURNS: u32 = 2;

/// Columns that a thread gives away at once where k is split between CTAs: 16 bytes of sums.
pub(super) const GIVEN_COLUMNS: u32 = 4;

/// The most CTAs of a cluster on every target.
const MOST_SPLIT: u32 = 8;

/// Boundary of the parts of shared memory: a line of the cache.
pub(super) const SHARED_ALIGNMENT: u32 = 128;

/// Warps that registers are given to at a time: one for each quarter of a multiprocessor.
pub(super) const WARPS_TOGETHER: u32 = 4;

/// Schedule on the tensor cores, with columns on their way through shared memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct StreamedSchedule {
    /// Warps of a CTA that multiply, between which k is split.
    pub warps: u32,
    /// Further warps, which add the partial sums of a group of columns while the others go on; 0 where all warps wait for
    /// each other and add them together.
    pub joiners: u32,
    /// Tiles of [`TILE_COLUMNS`] columns that a CTA has at once, of all products together: 1 or 2.
    pub tiles: u32,
    /// Products over the same left factor; they share the halves of the tiles.
    pub products: u32,
    /// Steps of [`STEP_BYTES`] bytes of k that a warp has under way.
    pub steps: u32,
    /// CTAs of a cluster, between whose warps k is split. More than 1 need joiners.
    pub split: u32,
    /// CTAs per batch entry, whole clusters; each cluster takes every so many-th group of columns.
    pub ctas: u32,
    /// Whether a warp's rows of A stay in registers.
    pub held: bool,
}

impl StreamedSchedule {
    /// The same columns and warps as a schedule that goes by registers.
    fn alike(&self) -> FragmentsSchedule {
        let &StreamedSchedule { warps, tiles, products, ctas, .. } = self;
        FragmentsSchedule { warps, tiles, products, depth: 1, ctas, rows_ahead: false }
    }

    /// Threads of a CTA.
    pub fn threads(&self) -> u32 {
        (self.warps + self.joiners) * WARP
    }

    /// Columns of each product in a group.
    pub fn columns(&self) -> u32 {
        self.alike().columns()
    }

    /// Groups of columns of a batch entry.
    pub fn groups(&self, problem: &Problem) -> u32 {
        self.alike().groups(problem)
    }

    /// Clusters of a batch entry.
    pub fn clusters(&self) -> u32 {
        self.ctas / self.split
    }

    /// Warps of a cluster that multiply.
    pub(super) fn all_warps(&self) -> u32 {
        self.warps * self.split
    }

    /// Columns of each product that a CTA finishes.
    pub(super) fn finished_columns(&self) -> u32 {
        self.columns() / self.split
    }

    /// Whether every CTA of a cluster finishes whole vectors of a group's columns.
    pub(super) fn divides_columns(&self) -> bool {
        self.split == 1 || self.columns().is_multiple_of(self.split * GIVEN_COLUMNS)
    }

    /// Steps that a warp has in a group of columns.
    pub fn group_steps(&self, problem: &Problem) -> u32 {
        let bytes = problem.k as u64 * u64::from(Format::of(problem).bits()) / 8;
        (bytes.div_ceil(u64::from(STEP_BYTES)) as u32).div_ceil(self.all_warps())
    }

    /// Bytes of a step's columns in a warp's ring.
    pub(super) fn step_bytes(&self) -> u32 {
        self.tiles * TILE_COLUMNS * STEP_BYTES
    }

    /// Bytes of a step in a warp's ring: its columns, then their scales.
    pub(super) fn slot_bytes(&self, problem: &Problem) -> u32 {
        self.step_bytes() + self.tiles * TILE_COLUMNS * scale_bytes(problem).unwrap_or(0)
    }

    /// Where the partial sums of a CTA's warps lie.
    pub(super) fn slabs(&self) -> Slabs {
        let (columns, pitch) = (self.columns(), self.alike().slab_pitch());
        Slabs { warps: self.warps, columns, group: columns, products: self.products, pitch }
    }

    /// Where those of a cluster's CTAs lie, of the columns that one CTA finishes.
    pub(super) fn received(&self) -> Slabs {
        let (columns, products) = (self.finished_columns(), self.products);
        let pitch = products * columns + GIVEN_COLUMNS;
        Slabs { warps: self.split, columns, group: self.columns(), products, pitch }
    }

    /// Sets of slabs that take turns: every joiner has one of its own, whose phases it sees one after the other.
    pub(super) fn turns(&self) -> u32 {
        self.joiners.max(TURNS)
    }

    /// Bytes of the partial sums of all warps, for every turn.
    pub(super) fn slabs_bytes(&self, problem: &Problem) -> u32 {
        self.turns() * self.slabs().all_bytes(problem)
    }

    /// Bytes of what the joiners receive from the CTAs of the cluster, for every turn of each.
    pub(super) fn received_bytes(&self, problem: &Problem) -> u32 {
        if self.split == 1 { 0 } else { self.joiners * TURNS * self.received().all_bytes(problem) }
    }

    /// Bytes of barriers: full and empty slabs, and sums that have been received.
    fn barriers_bytes(&self) -> u32 {
        if self.joiners == 0 { 0 } else { 2 * (self.turns() + self.joiners) * BARRIER }
    }

    /// Where the rings of the warps begin in shared memory.
    pub(super) fn rings_at(&self, problem: &Problem) -> u32 {
        let before = self.slabs_bytes(problem) + self.received_bytes(problem) + self.barriers_bytes();
        before.next_multiple_of(SHARED_ALIGNMENT)
    }

    /// Bytes of a warp's ring.
    pub(super) fn ring_bytes(&self, problem: &Problem) -> u32 {
        self.steps * self.slot_bytes(problem)
    }

    /// Where the table of four-bit elements begins in shared memory.
    pub(super) fn table_at(&self, problem: &Problem) -> u32 {
        self.rings_at(problem) + self.warps * self.ring_bytes(problem)
    }

    /// Dynamic shared memory: partial sums, rings, and the table of four-bit elements.
    pub fn shared_bytes(&self, problem: &Problem) -> u32 {
        let table = if Format::of(problem).bits() == 4 { TABLE_BYTES } else { 0 };
        self.table_at(problem) + table
    }

    /// 32-bit registers of a thread that sums, rows and a step's half take at once.
    pub fn registers(&self, problem: &Problem) -> u32 {
        let row_groups = FragmentsSchedule::row_groups(problem);
        let narrow = 16 / Format::of(problem).bits();
        // Rows of two halves of a step, four words for 16 bytes of B of 16-bit elements.
        let rows = 8 * narrow * row_groups * if self.held { self.group_steps(problem) } else { 1 };
        // Unpacked, a half of a step may be multiplied word by word.
        let columns = self.tiles * 8 * if narrow > 1 { 2 } else { 1 };
        // Rows that are not held are loaded from places of their own.
        let places = if self.held { 0 } else { 4 * narrow * row_groups };
        self.tiles * row_groups * 4 + rows + columns + places + 32
    }

    /// Registers of a CTA: whole eights of a thread, and as many for the warps that fill up a quarter.
    pub fn registers_of_cta(&self, problem: &Problem) -> u64 {
        let warps = (self.warps + self.joiners).next_multiple_of(WARPS_TOGETHER);
        u64::from(self.registers(problem).next_multiple_of(8)) * u64::from(warps * WARP)
    }

    /// Checks what this kernel alone demands. Numbers have been checked to be in range.
    pub(in super::super) fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let refuse = |what, found: u64, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found, expected })
        };
        let most = |what, found: u64, limit: u64| {
            if found <= limit { Ok(()) } else { refuse(what, found, format!("at most {limit}")) }
        };
        most("rows of the problem", problem.m as u64, FRAGMENT_ROWS as u64)?;
        most("tiles", self.tiles.into(), 2)?;
        if !is_streamed(problem) {
            let expected = "factors along k, of chunks of 16 bytes with scales that fit a step, one or two products";
            return refuse("products", problem.products().into(), expected.to_string());
        }
        let halves = 2 * self.tiles;
        if self.products != problem.products() || !halves.is_multiple_of(self.products) {
            let expected = format!("{}, which divides the {halves} halves of tiles", problem.products());
            return refuse("products", self.products.into(), expected);
        }
        most("CTAs of a cluster", self.split.into(), MOST_SPLIT.into())?;
        if self.split > 1 {
            if !self.divides_columns() {
                let expected = format!("a number that divides {} columns into whole {GIVEN_COLUMNS}", self.columns());
                return refuse("CTAs of a cluster", self.split.into(), expected);
            }
            if self.joiners == 0 {
                return refuse("joiners", 0, "at least 1, where k is split between CTAs".to_string());
            }
        }
        if self.clusters() == 0 || !self.ctas.is_multiple_of(self.split) {
            return refuse("CTAs of a batch entry", self.ctas.into(), format!("a multiple of {}", self.split));
        }
        let (row, registers) = (target.row(), self.registers(problem));
        most("clusters of a batch entry", self.clusters().into(), self.groups(problem).into())?;
        most("registers of a thread", registers.into(), row.max_registers_per_thread.into())?;
        most("registers of a CTA", self.registers_of_cta(problem), row.registers_per_sm.into())
    }
}

impl fmt::Display for StreamedSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = if self.held { " held" } else { "" };
        let joiners = if self.joiners == 0 { String::new() } else { format!(" joiners {}", self.joiners) };
        let split = if self.split == 1 { String::new() } else { format!(" split {}", self.split) };
        write!(
            f,
            "mma.sync rows{held} columns {}{} warps {}{joiners} streamed {}{split} ctas {}",
            self.columns(),
            products_text(self.products),
            self.warps,
            self.steps,
            self.ctas
        )
    }
}
