//! Asynchronous copies, the barriers that tell when they have finished, and requests for work.

/// Steps of an mbarrier. A phase ends when all threads that it counts have arrived and all bytes it expects have come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mbarrier {
    /// Makes one that counts so many arrivals.
    Init,
    /// Ends its life; the memory can be used otherwise.
    Invalidate,
    /// Makes the initialised ones visible to the cluster and to asynchronous copies.
    FenceInit,
    /// Arrives once.
    Arrive,
    /// Arrives so many times.
    ArriveCount,
    /// Expects so many bytes more in this phase, and arrives once.
    ArriveExpectBytes,
    /// Expects so many bytes more in this phase.
    ExpectBytes,
    /// Arrives once at one of a CTA of the cluster.
    ArriveCluster,
    /// The same, ordered as arrivals at one's own barrier are: enough where only asynchronous copies follow.
    ArriveRemote,
    /// Expects bytes and arrives once at one of a CTA of the cluster.
    ArriveExpectBytesCluster,
    /// Whether the phase of the parity has ended; may wait a while.
    TryWaitParity,
    /// The same, and sees what threads of the cluster wrote before they arrived.
    TryWaitParityCluster,
    /// Whether the phase of the parity has ended, at once.
    TestWaitParity,
    /// Arrives once when the `cp.async` copies of the thread have finished, as one of the counted arrivals.
    ArriveAfterCopies,
}

/// Steps of the barrier of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterBarrier {
    /// Arrives, and shows what it wrote before.
    Arrive,
    /// Arrives, and shows nothing.
    ArriveRelaxed,
    /// Waits until all threads of the cluster have arrived, and sees what they showed.
    Wait,
}

/// A copy of a box of a tensor to shared memory, which an mbarrier counts. Where the box leaves the tensor come zeros, or
/// what the tensor map says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorLoad {
    /// Dimensions of the tensor, 1 to 5.
    pub rank: u8,
    /// Whether an operand says to which CTAs of the cluster it goes; else to the own one.
    pub multicast: bool,
    /// Whether an operand is a policy of the L2 cache.
    pub hint: bool,
    /// Whether the mbarrier may be that of the other CTA of the pair.
    pub cta_pair: bool,
    /// Whether the destination is spelled as memory of the own CTA: chips of the RTX line want it so for 4- and 6-bit types.
    pub own_cta: bool,
}

/// A copy of a box of a tensor to global memory, in the thread's bulk group. What leaves the tensor is dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorStore {
    /// Dimensions of the tensor, 1 to 5.
    pub rank: u8,
    /// Whether the values are added to those in memory.
    pub add: bool,
    /// Whether an operand is a policy of the L2 cache.
    pub hint: bool,
}

/// Copies of bytes in a row, and groups of bulk copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bulk {
    /// From global to shared memory; an mbarrier counts the bytes.
    Load {
        /// Whether an operand says to which CTAs of the cluster it goes; else to the own one.
        multicast: bool,
        /// Whether an operand is a policy of the L2 cache.
        hint: bool,
    },
    /// From shared to global memory, in the thread's bulk group.
    Store {
        /// Whether an operand is a policy of the L2 cache.
        hint: bool,
    },
    /// From shared memory to that of a CTA of the cluster, whose mbarrier counts the bytes.
    ToCluster,
    /// From global memory to the L2 cache.
    PrefetchL2,
    /// Closes the thread's group of copies begun since the last one.
    Commit,
    /// Waits until at most so many groups are pending.
    Wait,
    /// Waits until at most so many groups still read their source.
    WaitRead,
}

/// Memory that a fence between instructions and asynchronous copies and multiplies is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProxyFence {
    /// All.
    All,
    /// Global.
    Global,
    /// Shared memory of the CTA.
    SharedCta,
    /// Shared memory of the cluster.
    SharedCluster,
}

/// What the L2 cache does with the lines of an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CachePolicy {
    /// They go first: data used once.
    EvictFirst,
    /// They go last: data used again.
    EvictLast,
    /// They go as others.
    EvictNormal,
    /// Their place among those that go is left as it is.
    EvictUnchanged,
}

/// Steps of taking over the work of a cluster that has not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaunchControl {
    /// Asks, in the background: 16 bytes of answer come to shared memory, which an mbarrier counts.
    TryCancel {
        /// Whether the answer goes to every CTA of the cluster.
        multicast: bool,
    },
    /// Whether an answer gives work.
    IsCanceled,
    /// CTA of the work, x.
    FirstCtaidX,
    /// CTA of the work, y.
    FirstCtaidY,
    /// CTA of the work, z.
    FirstCtaidZ,
}
