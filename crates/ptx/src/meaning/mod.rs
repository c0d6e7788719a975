//! What an instruction computes, as data: the key by which code that picks types at run time finds a row, and what an
//! emulator will evaluate.
//!
//! No two rows mean the same, so `Opcode::of(meaning)` is a function. Types follow PTX: the type of `MulWide` and
//! `MadWide` is the one of the narrow operands, that of `Compare` is the one compared.

mod arithmetic;
mod asynchronous;
mod matrix;
mod memory;
mod special_register;
mod tensor_memory;
mod warp;

pub use arithmetic::{Binary, Clamp, Comparison, Convert, Rounding, Ternary, Unary};
pub use asynchronous::{
    Bulk, CachePolicy, ClusterBarrier, LaunchControl, Mbarrier, ProxyFence, TensorLoad, TensorStore,
};
pub use matrix::{BlockScaledMultiply, BlockScales, Element, MatrixMultiply, NarrowMatrix, WarpgroupMultiply};
pub use memory::{Access, AtomicOp, Cache, Fence, Scope};
pub use special_register::SpecialRegister;
pub use tensor_memory::{
    Collector, TensorAccess, TensorCopy, TensorCopyShape, TensorKind, TensorMemory, TensorMultiply,
    TensorMultiplyByWarp, TensorShape, TensorUnpack,
};
pub use warp::{Shuffle, Vote, WarpReduce};

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
    /// `prefetch` of the line at an address to L2.
    PrefetchL2,
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
