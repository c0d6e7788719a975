//! The machine that runs a decoded kernel: grid, clusters, CTAs, warps.
//!
//! A cluster is the unit of work: one host thread runs all its warps in turns. Lanes of a warp that stand at the same instruction
//! form a group and run together; groups split at branches and merge where they meet. Asynchronous operations are queued with the
//! cluster and finish when the schedule says, or when nothing else can go on.

mod access;
mod blame;
mod cluster;
mod grid;
mod launch;
mod queue;
mod special;
mod turn;
mod warp;

pub use access::{LaneBytes, MOST, Space};
pub use cluster::{Cluster, Cta};
pub use launch::{Launch, LaunchError, Options, Outcome, Schedule};
pub use queue::{Asynchronous, Queue};
pub use warp::{Group, Meeting, Parked, Warp};

/// Lanes of a warp.
pub const LANES: usize = 32;

/// The lanes of a mask.
pub fn lanes(mask: u32) -> impl Iterator<Item = usize> {
    let mut rest = mask;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let lane = rest.trailing_zeros();
            rest &= rest - 1;
            lane as usize
        })
    })
}
