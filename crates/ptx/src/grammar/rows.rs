//! The rows: every instruction form, by chapter.

use super::Row;
use crate::form::Floor;

const BASE: Floor = Floor::BASE;

macro_rules! rows {
    ($($Op:ident: $($pattern:literal, $floor:expr;)+)*) => {
        /// An instruction. Its forms are the rows that name it.
        #[expect(missing_docs, reason = "each is named like its mnemonic, which its rows spell")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op { $($Op),*, Activemask, AddCc, Addc, And, Applypriority, Atom, BarArrive, BarRed, BarSync, BarWarpSync, BarrierClusterArrive, BarrierClusterWait, Bra, Brkpt, Brx, Call, CpAsync, CpAsyncCommitGroup, CpAsyncWaitAll, CpAsyncWaitGroup, Createpolicy, Cvta, Discard, ElectSync, Exit, Fence, FenceMbarrierInit, FenceProxy, Getctarank, Griddepcontrol, Isspacep, Ld, Ldu, Lop3, MadCc, Madc, Mapa, Match, Max, Membar, Min, Mov, Nanosleep, Not, Or, Pmevent, Prefetch, Prefetchu, Red, Redux, Ret, Selp, Set, Setmaxnreg, Setp, Shfl, St, SubCc, Subc, Trap, Vote, Xor, Sub, Mul, Mad, Mad24, Mul24, Sad, Div, Rem, Abs, Neg, Fma, Rcp, Sqrt, Rsqrt, Sin, Cos, Lg2, Ex2, Tanh, Copysign, Testp, Cvt, CvtPack, Prmt, Dp4a, Dp2a, Cnot, Shl, Shr, Shf, Bfe, Bfi, Bfind, Brev, Clz, Popc, Fns, Szext, Bmsk, Slct }

        pub(super) static ROWS: &[Row] = &[$($(Row { op: Op::$Op, pattern: $pattern, floor: $floor }),+),*];
    };
}

rows! {
    Add:
        "add(.u16|.u32|.u64|.s16|.s64)", BASE;
        "add{.sat}.s32", BASE;
        "add{$RND}{.ftz}{.sat}.f32", BASE;
}
