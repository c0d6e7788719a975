//! Tensor memory and the matrix unit beside it (`tcgen05`).
//!
//! `cta_pair`: whether the instruction is for the two CTAs of a pair. All of a kernel are, or none.

/// Steps of tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorMemory {
    /// Allocates columns, and writes their address to shared memory. May wait for those of another CTA.
    Allocate {
        /// For a pair.
        cta_pair: bool,
    },
    /// Frees columns.
    Free {
        /// For a pair.
        cta_pair: bool,
    },
    /// Says that this CTA allocates no more.
    Relinquish {
        /// For a pair.
        cta_pair: bool,
    },
    /// To registers, in the background. A warp reaches the quarter of the lanes that its number modulo 4 gives.
    Load(TensorAccess),
    /// From registers, in the background.
    Store(TensorAccess),
    /// Waits for the loads of the thread.
    WaitLoads,
    /// Waits for the stores of the thread.
    WaitStores,
    /// From shared memory, in the background.
    Copy(TensorCopy),
    /// All rows down by one lane, in the background.
    Shift {
        /// For a pair.
        cta_pair: bool,
    },
    /// Lets an mbarrier arrive when the copies, shifts and multiplies that the thread has begun are finished.
    Commit {
        /// For a pair.
        cta_pair: bool,
        /// Whether an operand says in which CTAs of the cluster; else in the own one.
        multicast: bool,
    },
    /// Orders what the thread did in tensor memory before it meets others.
    FenceBefore,
    /// Orders what the thread does in tensor memory after it met others.
    FenceAfter,
}

/// How a warp's registers map to tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorAccess {
    /// Lanes and bits of one piece.
    pub shape: TensorShape,
    /// Pieces side by side: a power of two.
    pub count: u8,
    /// Whether two 16-bit elements of neighbouring columns share a register.
    pub packed: bool,
}

/// Lanes and bits of a column that one piece of a load or store covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorShape {
    /// 16 lanes of 64 bits: one register.
    Lanes16Bits64,
    /// 16 lanes of 128 bits: two registers.
    Lanes16Bits128,
    /// 16 lanes of 256 bits, as the accumulators of `mma.sync`: four registers.
    Lanes16Bits256,
    /// 32 lanes of 32 bits, one lane a thread: one register.
    Lanes32Bits32,
    /// 16 lanes of 32 bits, and again so many columns further on: one register.
    Lanes16Bits32Twice,
}

impl TensorShape {
    /// Registers of a thread for one piece.
    pub const fn registers(self) -> u8 {
        match self {
            TensorShape::Lanes16Bits64 | TensorShape::Lanes32Bits32 | TensorShape::Lanes16Bits32Twice => 1,
            TensorShape::Lanes16Bits128 => 2,
            TensorShape::Lanes16Bits256 => 4,
        }
    }
}

/// A copy from shared to tensor memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorCopy {
    /// What is copied where.
    pub shape: TensorCopyShape,
    /// Which elements become bytes on the way.
    pub unpack: TensorUnpack,
    /// For a pair.
    pub cta_pair: bool,
}

/// Lanes and bits of one copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorCopyShape {
    /// 128 lanes of 256 bits.
    Lanes128Bits256,
    /// 4 lanes of 256 bits.
    Lanes4Bits256,
    /// 128 lanes of 128 bits.
    Lanes128Bits128,
    /// 64 lanes of 128 bits, for warps 0 and 2, and again for 1 and 3.
    Lanes64Bits128Warps02And13,
    /// 64 lanes of 128 bits, for warps 0 and 1, and again for 2 and 3.
    Lanes64Bits128Warps01And23,
    /// 32 lanes of 128 bits, the same for each warp: how block scales are copied.
    Lanes32Bits128,
}

/// Elements that a copy unpacks into bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorUnpack {
    /// None.
    None,
    /// 16 of 6 bits and 32 bits of padding.
    Bits6,
    /// 16 of 4 bits and 64 bits of padding.
    Bits4,
}

/// One `tcgen05.mma`. Shapes, element types and transposes are in its instruction descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorMultiply {
    /// What types the elements can have.
    pub kind: TensorKind,
    /// For a pair.
    pub cta_pair: bool,
    /// Whether `a` is in tensor memory and not in shared memory.
    pub a_in_tensor_memory: bool,
    /// What becomes of the collector's `a`.
    pub collector: Collector,
}

/// One `tcgen05.mma.ws`, whose 32 or 64 rows leave room for more columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TensorMultiplyByWarp {
    /// What types the elements can have: none with block scales.
    pub kind: TensorKind,
    /// Whether `a` is in tensor memory and not in shared memory.
    pub a_in_tensor_memory: bool,
    /// Which of the collector's four buffers of `b` is meant.
    pub buffer: u8,
    /// What becomes of it.
    pub collector: Collector,
}

/// Element types of a multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TensorKind {
    /// f16 or bf16.
    F16,
    /// tf32.
    Tf32,
    /// Floats of 8, 6 and 4 bits, one a byte.
    F8f6f4,
    /// Bytes.
    I8,
    /// Floats of 8, 6 and 4 bits, one a byte, with a ue8m0 scale for each 32.
    Mxf8f6f4,
    /// e2m1, two a byte, with a ue8m0 scale for each 32.
    Mxf4,
    /// e2m1, two a byte, with a ue4m3 or ue8m0 scale for each 16.
    Mxf4nvf4Block16,
    /// e2m1, two a byte, with a ue8m0 scale for each 32.
    Mxf4nvf4Block32,
}

impl TensorKind {
    /// Whether two operands are block scales in tensor memory.
    pub const fn is_scaled(self) -> bool {
        use TensorKind::*;
        matches!(self, Mxf8f6f4 | Mxf4 | Mxf4nvf4Block16 | Mxf4nvf4Block32)
    }
}

/// What becomes of the collector, which can hold an operand for the next multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Collector {
    /// Nothing is said: it is not kept.
    Default,
    /// It is filled.
    Fill,
    /// It is used, and kept.
    Use,
    /// It is used for the last time.
    LastUse,
    /// It is not kept.
    Discard,
}
