//! What is reported: two accesses that nothing orders, and which kind of ordering is missing.

use std::fmt;

use crate::order::access::{Kind, OperationKind, Place, Proxy};

/// Two accesses to the same byte, at least one of them a write, without the ordering that they need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Which ordering is missing.
    pub reason: Reason,
    /// The memory.
    pub place: Place,
    /// The first byte found in conflict, in the terms of `place`.
    pub address: u64,
    /// The access that was there.
    pub first: Side,
    /// The access that found it.
    pub second: Side,
}

/// One of the two accesses of a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// Who did it.
    pub agent: Agent,
    /// What was done.
    pub kind: Kind,
    /// By which path.
    pub proxy: Proxy,
    /// Index of the instruction.
    pub at: u32,
}

/// Who accesses memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Agent {
    /// A thread.
    Lane {
        /// Cluster in the grid.
        cluster: u32,
        /// Warp in the cluster.
        warp: u32,
        /// Lane in the warp.
        lane: u32,
    },
    /// An asynchronous operation.
    Operation {
        /// Cluster in the grid.
        cluster: u32,
        /// What it is.
        kind: OperationKind,
    },
}

/// Which ordering is missing between the two accesses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// No barrier, fence or other synchronisation orders two threads.
    Race,
    /// Both are strong, but one's scope leaves the other thread out.
    Scope,
    /// An asynchronous operation may still be reading or writing: its completion was not waited for.
    NotWaited,
    /// Written through the generic proxy, then accessed through the async proxy without `fence.proxy.async` between.
    ProxyFence,
    /// A tensor map written, then used without `fence.proxy.tensormap` between.
    TensorMapFence,
    /// Tensor memory accessed after another thread's access without `tcgen05.fence` on the way.
    TensorFence,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Reason::Race => "data race",
            Reason::Scope => "strong accesses whose scopes do not include each other",
            Reason::NotWaited => "an asynchronous operation was not waited for",
            Reason::ProxyFence => "fence.proxy.async is missing",
            Reason::TensorMapFence => "fence.proxy.tensormap is missing",
            Reason::TensorFence => "tcgen05.fence is missing",
        })
    }
}
