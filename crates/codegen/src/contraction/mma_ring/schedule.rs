//! Schedules of warp-specialised kernels on `mma.sync`, as data: tiles, warps, stages, and what they take of the machine.

use super::super::block_scaled::{BlockScaled, span};
use super::super::boxes::SPAN;
use super::super::group_scales::{self, GroupScales};
use super::super::problem::{ContractionError, Major, Problem, Side};
use super::super::ring::{BARRIER, Ring};
use super::super::scaler::SCALERS;
use super::super::schedule::{Tile, WARP};
use super::super::staged::BUFFERS;
use gable_ptx::Target;
use std::fmt;

/// Rows and columns of the sums of one instruction.
pub(super) const FRAGMENT: (u32, u32) = (16, 8);

/// Bytes of a warp's staging buffer of results: a span of each of sixteen rows.
pub(super) const STAGING: u32 = FRAGMENT.0 * SPAN;

/// Bytes of eight rows of a span, which swizzled boxes begin at a multiple of.
const PATTERN: u32 = 8 * SPAN;

/// Warps that bring factors of sums, where factors have no block scales but those of whole rounds: more would leave too few
/// registers for two sets of sums.
const GROUP_SCALERS: u32 = 1;

/// Registers of a thread beside sums, fragments and scales.
const OTHER_REGISTERS: u32 = 24;

/// Schedule of a kernel on `mma.sync` that the copy engine feeds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MmaRingSchedule {
    /// The tile of a CTA, and what is brought of it for one round.
    pub tile: Tile,
    /// Warps that multiply, along m and n.
    pub warps: (u32, u32),
    /// Scales of a row that a round brings, of problems that have some; else 0. Block scales are several, one is a factor of sums.
    pub scales: u32,
    /// Stages of the ring in shared memory.
    pub stages: u32,
    /// Tiles along m that neighbouring CTAs share columns with, for L2.
    pub group: u32,
    /// CTAs of the launch at most: each walks over tiles that far apart.
    pub ctas: u32,
}

impl MmaRingSchedule {
    /// Warps that multiply.
    pub fn consumers(&self) -> u32 {
        self.warps.0 * self.warps.1
    }

    /// Threads of a CTA: those that multiply, those that bring scales, and a warp that brings operands.
    pub fn threads(&self) -> u32 {
        (self.consumers() + self.scalers() + 1) * WARP
    }

    /// Warps that bring scales.
    pub fn scalers(&self) -> u32 {
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

    /// Rows and columns of a warp.
    pub fn warp_tile(&self) -> (u32, u32) {
        (self.tile.m / self.warps.0.max(1), self.tile.n / self.warps.1.max(1))
    }

    /// Bytes of the factors in one stage: rows of A, then columns of B.
    pub fn operand_bytes(&self) -> u32 {
        (self.tile.m + self.tile.n) * SPAN
    }

    /// Bytes of one stage: the factors and their scales.
    pub fn stage_bytes(&self) -> u32 {
        let scales = match self.scales {
            0 => 0,
            group_scales::PER_ROUND => GroupScales::most_bytes(self.tile.m),
            scales => BlockScaled::bytes(scales, self.tile.n),
        };
        (self.operand_bytes() + scales).next_multiple_of(PATTERN)
    }

    /// Bytes of the ring.
    pub fn ring_bytes(&self) -> u32 {
        self.stages * self.stage_bytes()
    }

    /// Bytes of the staging buffers of all warps.
    pub fn staging_bytes(&self) -> u32 {
        self.consumers() * BUFFERS * STAGING
    }

    /// Dynamic shared memory: the ring, the staging buffers, a full and an empty barrier for each stage; and those of arrivals of
    /// factors that are changed afterwards.
    pub fn shared_bytes(&self) -> u32 {
        let barriers = if self.scales > 0 { 4 } else { 2 };
        self.ring_bytes() + self.staging_bytes() + barriers * self.stages * BARRIER
    }

    /// 32-bit registers of a thread that sums, fragments (two of each), scales and the rest take at once.
    pub fn registers(&self) -> u32 {
        let (m, n) = self.warp_tile();
        let scales = match self.scales {
            // A round's sums, and what they are multiplied by.
            group_scales::PER_ROUND => m * n / WARP + 2 * (m / 8),
            scales => (m / 16 + n.div_ceil(32)) * scales.div_ceil(4),
        };
        m * n / WARP + 2 * (m / 16 * 4 + n / 16 * 4) + scales + OTHER_REGISTERS
    }

    /// The largest stage count that fits shared memory of `limit` bytes.
    pub fn with_most_stages(self, limit: u32) -> MmaRingSchedule {
        let one = MmaRingSchedule { stages: 1, ..self };
        MmaRingSchedule {
            stages: Ring::most_stages(
                limit,
                one.shared_bytes(),
                self.stage_bytes() + if self.scales > 0 { 2 * BARRIER } else { 0 },
            ),
            ..self
        }
    }

    /// Checks what only this class asks for; resources common to all are checked by the caller.
    pub fn validate(&self, problem: &Problem, target: Target) -> Result<(), ContractionError> {
        let refuse = |what, found: u32, expected: String| {
            Err(ContractionError::Schedule { schedule: self.to_string(), what, found: found.into(), expected })
        };
        if !super::is_for(problem, target) {
            return refuse("targets of its family", 0, "sm_120 or sm_121, or sm_103 for whole numbers".into());
        }
        if !super::multiplies(problem, target) {
            return Err(ContractionError::Type(problem.element));
        }
        if problem.products() != 1 {
            return refuse("products", problem.products(), "1".into());
        }
        let scales = group_scales::per_round(problem);
        if self.scales != scales {
            return refuse("scales of a row in a round", self.scales, scales.to_string());
        }
        if !(1..=16).contains(&self.consumers()) {
            return refuse("warps", self.consumers(), "1 to 16".into());
        }
        let Tile { m, n, k } = self.tile;
        let most = if scales > group_scales::PER_ROUND { 128 } else { 256 };
        let sides = [
            (Side::A, "rows of the tile", m, FRAGMENT.0 * self.warps.0),
            (Side::B, "columns of the tile", n, 2 * FRAGMENT.1 * self.warps.1),
        ];
        for (side, what, outer, unit) in sides {
            if outer == 0 || outer > most || !outer.is_multiple_of(unit) {
                return refuse(what, outer, format!("a multiple of {unit} up to {most}"));
            }
            // What lies across k comes in spans of its own, of which only whole ones are laid out.
            let (major, _) = problem.operand(side).vector();
            if major == Major::Outer && !outer.is_multiple_of(SPAN / problem.element.bytes() as u32) {
                return refuse(what, outer, format!("a multiple of {SPAN} bytes where they lie together in memory"));
            }
        }
        if scales == group_scales::PER_ROUND
            && let Some(scales) = GroupScales::of(problem, self.tile)
        {
            scales.validate(self)?;
            if !scales.divides(self.warp_tile().1) {
                return refuse(
                    "columns of a warp",
                    self.warp_tile().1,
                    "whole groups that share scales, or a part".into(),
                );
            }
        }
        // A register holds the scales of 32 columns.
        if scales > group_scales::PER_ROUND && !self.warp_tile().1.is_multiple_of(32) {
            return refuse("columns of a warp", self.warp_tile().1, "a multiple of 32 where they have scales".into());
        }
        let span = span(problem);
        if k != span {
            return refuse("k of the tile", k, format!("{SPAN} bytes of {}", problem.element));
        }
        if self.stages < 2 {
            return refuse("stages", self.stages, "at least 2".into());
        }
        if self.ctas == 0 {
            return refuse("CTAs", 0, "at least 1".into());
        }
        Ok(())
    }
}

impl fmt::Display for MmaRingSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Tile { m, n, k } = self.tile;
        write!(f, "mma.sync ring tile {m}x{n}x{k} warps {}x{}", self.warps.0, self.warps.1)?;
        if self.scales > 0 {
            write!(f, " scales {}", self.scales)?;
        }
        write!(f, " stages {} group {} ctas {}", self.stages, self.group, self.ctas)
    }
}
