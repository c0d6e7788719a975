//! CTAs of a cluster that multiply neighbouring tiles, and bring the operands that they share once for all.
//!
//! ```text
//!              B, slice 0 and slice 1 of its columns
//!            +-----------------------+
//!   A rows 0 | CTA 0: asks for its own rows of A, and for slice 0 of B for both
//!            +-----------------------+
//!   A rows 1 | CTA 1: asks for its own rows of A, and for slice 1 of B for both
//!            +-----------------------+
//! ```
//!
//! Two along m share columns of B, two along n share rows of A. A stage is filled by all, so it counts as empty when all who
//! write to it have been told so by its readers.

use super::boxes::Receivers;
use super::cta::TilePlace;
use super::problem::Side;
use gable_ptx::{B32, KernelBuilder, R};

/// The most CTAs of a block along m and along n.
pub(super) const MOST_ALONG: u32 = 2;

/// A CTA's place among its neighbours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Neighbours {
    /// CTAs along m and along n, each 1 or [`MOST_ALONG`]. Those of one column have ranks that follow each other.
    pub along: (u32, u32),
    /// Rank along m and along n.
    position: (R<B32>, R<B32>),
    /// Ranks of the others with which the CTA shares columns of B, and rows of A.
    pub others: [Option<R<B32>>; 2],
}

/// Which part of an operand's tile a CTA asks for, and who receives it.
#[derive(Clone, Copy)]
pub(super) struct Share {
    /// The number of the part; none where it asks for all.
    pub slice: Option<R<B32>>,
    /// The receivers.
    pub receivers: Receivers,
}

impl Neighbours {
    /// Finds the CTA's place.
    pub fn new(k: &mut KernelBuilder, along: (u32, u32)) -> Neighbours {
        let rank = k.cluster_ctarank();
        let position = (k.and_b32(rank, along.0 - 1), k.shr_u32(rank, along.0.trailing_zeros()));
        let below = (along.0 > 1).then(|| k.xor_b32(rank, 1));
        let beside = (along.1 > 1).then(|| k.xor_b32(rank, along.0));
        Neighbours { along, position, others: [below, beside] }
    }

    /// CTAs of the cluster.
    pub fn count(&self) -> u32 {
        self.along.0 * self.along.1
    }

    /// CTAs whose readers must have read a stage before a CTA writes to it again: itself, and the others.
    pub fn receivers(along: (u32, u32)) -> u32 {
        along.0 + along.1 - 1
    }

    /// Parts in which an operand's tile is brought.
    pub fn slices(along: (u32, u32), side: Side) -> u32 {
        if side == Side::A { along.1 } else { along.0 }
    }

    /// From the place of the block to that of the CTA's own tile.
    pub fn step_to_own(&self, k: &mut KernelBuilder, block: (u32, u32), place: &mut TilePlace) {
        place.row = k.mad_lo_u32(self.position.0, block.0 / self.along.0, place.row);
        place.column = k.mad_lo_u32(self.position.1, block.1 / self.along.1, place.column);
    }

    /// What the CTA asks for of an operand.
    pub fn share(&self, k: &mut KernelBuilder, side: Side) -> Share {
        if Self::slices(self.along, side) == 1 {
            return Share { slice: None, receivers: Receivers::Own };
        }
        // Ranks that share rows of A are as far apart as a column has CTAs; those that share columns of B follow each other.
        let (slice, mask, first) = match side {
            Side::A => (self.position.1, 1 | 1 << self.along.0, self.position.0),
            _ => (self.position.0, 0b11, k.mul_lo_u32(self.position.1, self.along.0)),
        };
        let mask = k.mov_b32(mask);
        let mask = k.shl_b32(mask, first);
        Share { slice: Some(slice), receivers: Receivers::Ctas(k.cvt_u16_u32(mask)) }
    }
}
