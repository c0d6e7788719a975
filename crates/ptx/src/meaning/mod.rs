//! What an instruction computes, as data: the key by which code that picks types at run time finds a row, and what an
//! emulator will evaluate.
//!
//! No two rows mean the same, so `Opcode::of(meaning)` is a function. Types follow PTX: the type of `MulWide` and
//! `MadWide` is the one of the narrow operands, that of `Compare` is the one compared.

mod asynchronous;
mod matrix;
mod tensor_memory;

pub use asynchronous::{
    Bulk, CachePolicy, ClusterBarrier, LaunchControl, Mbarrier, ProxyFence, TensorLoad, TensorStore,
};
pub use matrix::{BlockScaledMultiply, BlockScales, Element, MatrixMultiply, NarrowMatrix, WarpgroupMultiply};
pub use tensor_memory::{
    Collector, TensorAccess, TensorCopy, TensorCopyShape, TensorKind, TensorMemory, TensorMultiply,
    TensorMultiplyByWarp, TensorShape, TensorUnpack,
};

use crate::scalar::{ScalarType, Space};

/// What an instruction computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Meaning {
    /// One source, one result of the same type unless the operation says otherwise.
    Unary(Unary, ScalarType),
    /// Two sources.
    Binary(Binary, ScalarType),
    /// Three or more sources.
    Ternary(Ternary, ScalarType),
    /// A predicate from two values.
    Compare(Comparison, ScalarType),
    /// The first value where the predicate holds, else the second.
    Select(ScalarType),
    /// A copy.
    Move(ScalarType),
    /// The same bits in a register of another class.
    Bits {
        /// Type of the result.
        to: ScalarType,
        /// Type of the source.
        from: ScalarType,
    },
    /// Narrow values joined into a wide one, the first in the lowest bits.
    Pack(ScalarType),
    /// A wide value split into narrow ones, the lowest bits first.
    Unpack(ScalarType),
    /// Four bytes joined into 32 bits, the first in the lowest.
    PackBytes,
    /// 32 bits split into four bytes, the lowest first.
    UnpackBytes,
    /// Another type, by value.
    Convert(Convert),
    /// The value of a special register.
    Special(SpecialRegister),
    /// The address of a named array or parameter.
    AddressOf(Space),
    /// A generic address as one of the given space.
    AddressTo(Space),
    /// An address of the given space as a generic one.
    AddressFrom(Space),
    /// From memory to registers.
    Load(Access),
    /// From registers to memory.
    Store(Access),
    /// Read, combine and write in one step.
    Atomic {
        /// Where.
        space: Space,
        /// How the value there and the operand are combined.
        op: AtomicOp,
        /// Of what type.
        ty: ScalarType,
        /// Whether the value from before comes back.
        returns: bool,
    },
    /// Global to shared memory without registers, finished by a wait.
    AsyncCopy {
        /// Whether L1 keeps a copy.
        in_l1: bool,
        /// Whether an operand says how many of the bytes are read, the others being zero.
        zero_fill: bool,
    },
    /// Closes the group of asynchronous copies begun since the last one.
    AsyncCommit,
    /// Waits until at most so many groups are pending.
    AsyncWait,
    /// Waits for every asynchronous copy.
    AsyncWaitAll,
    /// Values from other lanes.
    Shuffle {
        /// From which lane.
        mode: Shuffle,
        /// Whether a predicate says that the lane was in range.
        in_range: bool,
        /// Of what type.
        ty: ScalarType,
    },
    /// A predicate over the warp.
    Vote(Vote),
    /// A reduction over the warp.
    WarpReduce(WarpReduce, ScalarType),
    /// The lanes that run.
    ActiveMask,
    /// Waits for the threads of the CTA.
    BarrierSync {
        /// Whether an operand gives the number of threads.
        counted: bool,
        /// Whether the barrier's number is in a register.
        in_register: bool,
    },
    /// Arrives at a barrier without waiting.
    BarrierArrive {
        /// Whether the barrier's number is in a register.
        in_register: bool,
    },
    /// Waits for the lanes of a mask.
    WarpBarrier,
    /// Orders memory.
    Fence(Fence, Scope),
    /// 8 x 8 matrices of 16-bit elements from shared memory, in `mma` fragments.
    LoadMatrix {
        /// How many matrices.
        count: u8,
        /// Whether each is transposed.
        transposed: bool,
    },
    /// `mma` fragments to 8 x 8 matrices in shared memory.
    StoreMatrix {
        /// How many matrices.
        count: u8,
        /// Whether each is transposed.
        transposed: bool,
    },
    /// One of the matrices with elements of 8, 6 or 4 bits from shared memory, in `mma` fragments.
    LoadNarrowMatrix {
        /// Which.
        matrix: NarrowMatrix,
        /// How many matrices.
        count: u8,
    },
    /// 16 x 8 matrices of bytes to shared memory, transposed.
    StoreNarrowMatrix {
        /// How many matrices.
        count: u8,
    },
    /// `d = a * b + c` on the tensor cores.
    MatrixMultiply(MatrixMultiply),
    /// The same of 8-, 6- and 4-bit floats, each in a byte.
    NarrowMultiply(MatrixMultiply),
    /// The same of 8-, 6- and 4-bit floats with a scale for each block along K.
    BlockScaledMultiply(BlockScaledMultiply),
    /// `d = a * b + d` of a warpgroup, in the background.
    WarpgroupMultiply(WarpgroupMultiply),
    /// A step of tensor memory other than a multiply.
    TensorMemory(TensorMemory),
    /// `d = a * b + d` in tensor memory, in the background.
    TensorMultiply(TensorMultiply),
    /// The same with one warp's share of the rows in each quarter of the lanes.
    TensorMultiplyByWarp(TensorMultiplyByWarp),
    /// Orders accesses to registers before `wgmma` that use them.
    WarpgroupFence,
    /// Closes the group of `wgmma` begun since the last one.
    WarpgroupCommit,
    /// Waits until at most so many groups of `wgmma` are pending.
    WarpgroupWait,
    /// A step of an mbarrier, the barrier in shared memory that counts arrivals and bytes.
    Mbarrier(Mbarrier),
    /// Meets the CTAs of the cluster.
    ClusterBarrier(ClusterBarrier),
    /// The address of a CTA's shared memory that lies as the given one, of the CTA of a rank in the cluster.
    AddressInCluster,
    /// A box of a tensor from global to shared memory, in the background.
    TensorLoad(TensorLoad),
    /// A column of pixels of a tensor from global to shared memory, in the background.
    TensorLoadPixels(TensorLoad),
    /// A box of a tensor from global memory to the L2 cache.
    TensorPrefetch {
        /// Dimensions of the tensor, 1 to 5.
        rank: u8,
        /// Whether an operand is a policy of the L2 cache.
        hint: bool,
    },
    /// A box of a tensor from shared to global memory, in the background.
    TensorStore(TensorStore),
    /// Copies of bytes in a row, and groups of bulk copies.
    Bulk(Bulk),
    /// Brings a tensor map into the cache that copies read it from.
    PrefetchTensorMap,
    /// Orders accesses by instructions and by asynchronous copies and multiplies.
    ProxyFence(ProxyFence),
    /// One lane of those of a mask, the same each time, and whether it is the own.
    Elect,
    /// A policy of the L2 cache for accesses and copies that take one.
    CachePolicy(CachePolicy),
    /// Asks for, and reads, the work of a cluster that has not begun.
    LaunchControl(LaunchControl),
    /// Changes how many registers each thread of the warpgroup has.
    SetMaxRegisters {
        /// Whether there are more afterwards.
        increase: bool,
    },
    /// Goes to a label.
    Branch {
        /// Whether every lane of the warp goes the same way.
        uniform: bool,
    },
    /// Ends the thread.
    Exit,
    /// Ends the thread: a kernel has no caller.
    Return,
    /// Stops the kernel with an error.
    Trap,
    /// Waits for the memory of the kernels that this one depends on.
    GridWait,
    /// Lets the kernels that depend on this one start.
    GridLaunchDependents,
}

/// Operations on one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unary {
    /// `-a`
    Neg,
    /// `|a|`
    Abs,
    /// Every bit flipped.
    Not,
    /// Number of one bits, as u32.
    PopCount,
    /// Number of zero bits above the highest one bit, as u32.
    LeadingZeros,
    /// Bits in reverse order.
    ReverseBits,
    /// Square root, rounded to nearest.
    Sqrt,
    /// Square root, approximate.
    SqrtApprox,
    /// `1 / sqrt(a)`, approximate.
    RsqrtApprox,
    /// `1 / a`, rounded to nearest.
    Rcp,
    /// `1 / a`, approximate.
    RcpApprox,
    /// `1 / a`, approximate, subnormals flushed.
    RcpApproxFlush,
    /// `2^a`, approximate.
    Exp2Approx,
    /// `2^a`, approximate, subnormals flushed.
    Exp2ApproxFlush,
    /// `log2 a`, approximate.
    Log2Approx,
    /// `log2 a`, approximate, subnormals flushed.
    Log2ApproxFlush,
    /// Sine, approximate.
    SinApprox,
    /// Cosine, approximate.
    CosApprox,
    /// Hyperbolic tangent, approximate.
    TanhApprox,
    /// To the nearest integral value, ties to even.
    RoundEven,
    /// To the integral value toward zero.
    Truncate,
    /// To the integral value below.
    Floor,
    /// To the integral value above.
    Ceil,
    /// Clamped to `[0, 1]`, NaN to 0.
    Saturate,
    /// Whether neither infinite nor NaN.
    IsFinite,
    /// Whether infinite.
    IsInfinite,
    /// Whether NaN.
    IsNan,
    /// Whether not NaN.
    IsNumber,
    /// Whether normal.
    IsNormal,
    /// Whether subnormal.
    IsSubnormal,
}

/// Operations on two values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Binary {
    /// `a + b`
    Add,
    /// `a - b`
    Sub,
    /// `a * b`; for integers the low half.
    Mul,
    /// The high half of an integer product.
    MulHigh,
    /// The whole integer product, twice as wide.
    MulWide,
    /// `a / b`, rounded to nearest; for integers toward zero.
    Div,
    /// `a / b` within 2 ulp over the full range.
    DivFull,
    /// `a / b` within 2 ulp for `b` in [2^-126, 2^126].
    DivApprox,
    /// `a % b`
    Rem,
    /// The smaller; of a number and a NaN the number.
    Min,
    /// The larger; of a number and a NaN the number.
    Max,
    /// The smaller, or NaN where one is NaN.
    MinNan,
    /// The larger, or NaN where one is NaN.
    MaxNan,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
    /// `a << b` with `b` a u32; 0 where `b` is not below the width.
    Shl,
    /// `a >> b` with `b` a u32; arithmetic for signed types.
    Shr,
    /// The magnitude of `b` with the sign of `a`.
    CopySign,
}

/// Operations on three or more values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ternary {
    /// `a * b + c`, rounded once.
    Fma,
    /// `max(a * b + c, 0)`, rounded once; NaN stays NaN.
    FmaRelu,
    /// `a * b + c`, the low half of the product.
    Mad,
    /// `a * b + c`, the whole product, `c` twice as wide.
    MadWide,
    /// Any function of three bits, given by a truth table.
    Logic3,
    /// Four bytes picked out of eight.
    Permute,
    /// Four bytes from byte `c` on, upward.
    PermuteForward4,
    /// Four bytes from byte `c` on, downward.
    PermuteBackward4,
    /// Byte `c` four times.
    PermuteReplicate8,
    /// Bytes 0 to 3, those below `c` replaced by it.
    PermuteEdgeLeft,
    /// Bytes 0 to 3, those above `c` replaced by it.
    PermuteEdgeRight,
    /// 16-bit half `c` twice.
    PermuteReplicate16,
    /// A field of `length` bits of `a` from bit `start`.
    BitFieldExtract,
    /// The low `length` bits of `a` put into `b` at bit `start`.
    BitFieldInsert,
    /// The high word of `(b:a) << c`.
    FunnelShiftLeft,
    /// The low word of `(b:a) >> c`.
    FunnelShiftRight,
    /// Four products of bytes added to `c`.
    DotProduct4,
}

/// Comparisons. The `U` forms also hold where an operand is NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Comparison {
    /// `a = b`
    Eq,
    /// `a != b`
    Ne,
    /// `a < b`
    Lt,
    /// `a <= b`
    Le,
    /// `a > b`
    Gt,
    /// `a >= b`
    Ge,
    /// `a = b`, or one is NaN.
    EqU,
    /// `a != b`, or one is NaN.
    NeU,
    /// `a < b`, or one is NaN.
    LtU,
    /// `a <= b`, or one is NaN.
    LeU,
    /// `a > b`, or one is NaN.
    GtU,
    /// `a >= b`, or one is NaN.
    GeU,
    /// Neither is NaN.
    Num,
    /// One is NaN.
    Nan,
}

/// A change of type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Convert {
    /// Type of the result.
    pub to: ScalarType,
    /// Type of the source. A packed result takes two sources of it, the upper half first.
    pub from: ScalarType,
    /// What happens to values between two values of `to`.
    pub rounding: Rounding,
    /// What happens to values outside `to`.
    pub clamp: Clamp,
}

/// Rounding of a conversion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rounding {
    /// Every value of the source has one in the result, or integers wrap.
    Exact,
    /// To nearest, ties to even.
    Nearest,
    /// To nearest, ties away from zero.
    NearestAway,
    /// Toward zero.
    Zero,
    /// Upward.
    Up,
    /// Downward.
    Down,
    /// Up or down by the bits of an operand, the nearer the likelier.
    Stochastic,
}

/// What a conversion does with values outside the result type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Clamp {
    /// Integers wrap, floats overflow to infinity; float to integer clamps by itself.
    Off,
    /// To the nearest end of an integer type.
    Saturate,
    /// To the largest finite value.
    Finite,
    /// Negative values to zero.
    Relu,
    /// Both of the last.
    FiniteRelu,
}

/// Registers that the hardware sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpecialRegister {
    /// Thread in the CTA, x.
    TidX,
    /// Thread in the CTA, y.
    TidY,
    /// Thread in the CTA, z.
    TidZ,
    /// Threads of a CTA, x.
    NtidX,
    /// Threads of a CTA, y.
    NtidY,
    /// Threads of a CTA, z.
    NtidZ,
    /// CTA in the grid, x.
    CtaidX,
    /// CTA in the grid, y.
    CtaidY,
    /// CTA in the grid, z.
    CtaidZ,
    /// CTAs of the grid, x.
    NctaidX,
    /// CTAs of the grid, y.
    NctaidY,
    /// CTAs of the grid, z.
    NctaidZ,
    /// Lane in the warp.
    LaneId,
    /// Warp slot: not a stable name of a warp.
    WarpId,
    /// SM that the CTA runs on.
    SmId,
    /// Numbers that SMs have: above the highest of them.
    NsmId,
    /// CTA in the cluster, all directions in one number.
    ClusterCtaRank,
    /// CTAs of the cluster.
    ClusterNctaRank,
    /// CTA in the cluster, x.
    ClusterCtaidX,
    /// CTA in the cluster, y.
    ClusterCtaidY,
    /// CTA in the cluster, z.
    ClusterCtaidZ,
    /// CTAs of the cluster, x.
    ClusterNctaidX,
    /// CTAs of the cluster, y.
    ClusterNctaidY,
    /// CTAs of the cluster, z.
    ClusterNctaidZ,
    /// Cluster in the grid, x.
    ClusteridX,
    /// Cluster in the grid, y.
    ClusteridY,
    /// Cluster in the grid, z.
    ClusteridZ,
    /// Clusters of the grid, x.
    NclusteridX,
    /// Clusters of the grid, y.
    NclusteridY,
    /// Clusters of the grid, z.
    NclusteridZ,
    /// Cycles, the low 32 bits.
    Clock,
    /// Cycles, 64 bits.
    Clock64,
    /// Nanoseconds.
    GlobalTimer,
    /// Bytes of dynamic shared memory.
    DynamicSharedSize,
}

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

/// Which lane a shuffle reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Shuffle {
    /// Own lane xor `b`.
    Butterfly,
    /// Own lane plus `b`.
    Down,
    /// Own lane minus `b`.
    Up,
    /// Lane `b`.
    Index,
}

/// What a vote tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Vote {
    /// Whether all lanes hold.
    All,
    /// Whether any lane holds.
    Any,
    /// Whether all lanes agree.
    Uniform,
    /// One bit per lane.
    Ballot,
}

/// Reductions over a warp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WarpReduce {
    /// Sum.
    Add,
    /// Smallest.
    Min,
    /// Largest.
    Max,
    /// Smallest, or NaN where one is NaN.
    MinNan,
    /// Largest, or NaN where one is NaN.
    MaxNan,
    /// Largest magnitude.
    MaxAbs,
    /// Largest magnitude, or NaN where one is NaN.
    MaxAbsNan,
    /// Bitwise and.
    And,
    /// Bitwise or.
    Or,
    /// Bitwise exclusive or.
    Xor,
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
