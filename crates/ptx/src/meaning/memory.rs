//! How memory is loaded, stored, combined and ordered.

use crate::scalar::{ScalarType, Space};

/// How a load or store touches memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Access {
    /// Where.
    pub space: Space,
    /// Type of one element in memory; narrow integers are extended to 32 bits in the register.
    pub ty: ScalarType,
    /// Elements moved at once.
    pub count: u8,
    /// Which caches take part.
    pub cache: Cache,
}

/// Which caches a load or store uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cache {
    /// The default.
    Default,
    /// The read-only path: no thread may write the data while the kernel runs.
    ReadOnly,
    /// The read-only path, without a copy in L1: data used once.
    ReadOnlyStream,
    /// Without a copy in L1.
    Stream,
    /// As `ReadOnlyStream`, and the 256 bytes around come to L2.
    ReadOnlyStream256,
    /// As `ReadOnlyStream`, with a policy of the L2 cache as an operand.
    ReadOnlyStreamHint,
}

/// How an atomic combines values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AtomicOp {
    /// Sum.
    Add,
    /// Smaller.
    Min,
    /// Larger.
    Max,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// The operand alone.
    Exchange,
    /// The second operand where the value equals the first.
    CompareAndSwap,
}

/// How strong a fence is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Fence {
    /// Acquire and release.
    AcquireRelease,
    /// Sequentially consistent.
    SequentiallyConsistent,
    /// The older `membar`, as strong as a sequentially consistent fence.
    Membar,
}

/// Among whom a fence orders memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Threads of the CTA.
    Cta,
    /// Threads of the cluster.
    Cluster,
    /// Threads of the device.
    Device,
    /// Every thread, the host's included.
    System,
}
