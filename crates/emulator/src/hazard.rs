//! What can be wrong with a kernel, and where.

use std::fmt;

/// The kind of a fault, for tools and tests; the message says the particulars.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HazardKind {
    /// Two accesses of which one writes, and nothing orders them.
    Race,
    /// A generic access and one through the asynchronous proxy without the proxy fence between.
    MissingProxyFence,
    /// Use of what an asynchronous operation still reads or writes.
    NotWaitedFor,
    /// A read of bytes that nobody wrote.
    Uninitialized,
    /// An access outside every allocation.
    OutOfBounds,
    /// An address that is not a multiple of what the access needs.
    Misaligned,
    /// A write to what may only be read.
    ReadOnly,
    /// A collective instruction that not all its threads reach together.
    Divergence,
    /// No thread can go on.
    Deadlock,
    /// A barrier object used against its rules.
    Barrier,
    /// Tensor memory used against its rules.
    TensorMemory,
    /// A matrix or instruction descriptor, tensor map or operand value that is not allowed.
    Descriptor,
    /// A resource of the machine that the kernel exceeds.
    Limit,
    /// The kernel stopped itself: `trap`, a failed assertion.
    Trap,
    /// More instructions than the launch allows.
    Endless,
    /// An operation that this emulator does not run.
    Unsupported,
}

impl HazardKind {
    /// A short name, stable for tools.
    pub fn name(self) -> &'static str {
        match self {
            HazardKind::Race => "race",
            HazardKind::MissingProxyFence => "missing-proxy-fence",
            HazardKind::NotWaitedFor => "not-waited-for",
            HazardKind::Uninitialized => "uninitialized",
            HazardKind::OutOfBounds => "out-of-bounds",
            HazardKind::Misaligned => "misaligned",
            HazardKind::ReadOnly => "read-only",
            HazardKind::Divergence => "divergence",
            HazardKind::Deadlock => "deadlock",
            HazardKind::Barrier => "barrier",
            HazardKind::TensorMemory => "tensor-memory",
            HazardKind::Descriptor => "descriptor",
            HazardKind::Limit => "limit",
            HazardKind::Trap => "trap",
            HazardKind::Endless => "endless",
            HazardKind::Unsupported => "unsupported",
        }
    }
}

/// A fault before it is known who ran into it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Its kind.
    pub kind: HazardKind,
    /// What was found and what is expected.
    pub message: String,
    /// The lane that ran into it, where one did.
    pub lane: Option<u32>,
    /// The address at fault, where there is one.
    pub address: Option<u64>,
}

impl Fault {
    /// A fault of no particular lane.
    pub fn new(kind: HazardKind, message: impl Into<String>) -> Self {
        Fault { kind, message: message.into(), lane: None, address: None }
    }

    /// The same, of a lane.
    pub fn lane(mut self, lane: usize) -> Self {
        self.lane.get_or_insert(lane as u32);
        self
    }

    /// The same, at an address.
    pub fn at(mut self, address: u64) -> Self {
        self.address.get_or_insert(address);
        self
    }
}

/// A fault with its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hazard {
    /// Its kind.
    pub kind: HazardKind,
    /// What was found and what is expected.
    pub message: String,
    /// The CTA in the grid.
    pub cta: [u32; 3],
    /// The thread in the CTA, or the first of its warp.
    pub thread: [u32; 3],
    /// Line of the PTX, from 1; 0 where no instruction is at fault.
    pub line: u32,
    /// The instruction as it is spelled; empty where none is at fault.
    pub instruction: String,
    /// The address at fault, where there is one.
    pub address: Option<u64>,
}

impl fmt::Display for Hazard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([cx, cy, cz], [x, y, z]) = (self.cta, self.thread);
        write!(f, "{}: {}", self.kind.name(), self.message)?;
        if self.line > 0 {
            write!(f, "\n  at line {}: `{}`", self.line, self.instruction)?;
        }
        write!(f, "\n  CTA ({cx}, {cy}, {cz}), thread ({x}, {y}, {z})")?;
        if let Some(address) = self.address {
            write!(f, ", address {address:#x}")?;
        }
        Ok(())
    }
}
