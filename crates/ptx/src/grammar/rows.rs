//! The rows: every instruction form, by chapter.

use super::Row;
use crate::form::Floor;

const BASE: Floor = Floor::BASE;

macro_rules! rows {
    ($($Op:ident: $($pattern:literal, $floor:expr;)+)*) => {
        /// An instruction. Its forms are the rows that name it.
        #[expect(missing_docs, reason = "each is named like its mnemonic, which its rows spell")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op { $($Op),*, Abs, Activemask, AddCc, Addc, And, Applypriority, Atom, BarArrive, BarRed, BarSync, BarWarpSync, BarrierClusterArrive, BarrierClusterWait, Bfe, Bfi, Bfind, Bmsk, Bra, Brev, Brkpt, Brx, Call, ClusterlaunchcontrolQueryCancel, ClusterlaunchcontrolTryCancel, Clz, Cnot, Copysign, Cos, CpAsync, CpAsyncBulk, CpAsyncBulkCommitGroup, CpAsyncBulkPrefetch, CpAsyncBulkPrefetchTensor, CpAsyncBulkTensor, CpAsyncBulkWaitGroup, CpAsyncCommitGroup, CpAsyncMbarrierArrive, CpAsyncWaitAll, CpAsyncWaitGroup, CpReduceAsyncBulk, CpReduceAsyncBulkTensor, Createpolicy, Cvt, CvtPack, Cvta, Discard, Div, Dp2a, Dp4a, ElectSync, Ex2, Exit, Fence, FenceMbarrierInit, FenceProxy, Fma, Fns, Getctarank, Griddepcontrol, Isspacep, Ld, Ldu, Lg2, Lop3, Mad, Mad24, MadCc, Madc, Mapa, Match, Max, MbarrierArrive, MbarrierArriveDrop, MbarrierCompleteTx, MbarrierExpectTx, MbarrierInit, MbarrierInval, MbarrierPendingCount, MbarrierTestWait, MbarrierTryWait, Membar, Min, Mov, Mul, Mul24, Nanosleep, Neg, Not, Or, Pmevent, Popc, Prefetch, Prefetchu, Prmt, Rcp, Red, RedAsync, Redux, Rem, Ret, Rsqrt, Sad, Selp, Set, Setmaxnreg, Setp, Shf, Shfl, Shl, Shr, Sin, Slct, Sqrt, St, StAsync, StBulk, Sub, SubCc, Subc, Szext, Tanh, TensormapCpFenceproxy, TensormapReplace, Testp, Trap, Vote, Xor }

        pub(super) static ROWS: &[Row] = &[$($(Row { op: Op::$Op, pattern: $pattern, floor: $floor }),+),*];
    };
}

rows! {
    Add:
        "add(.u16|.u32|.u64|.s16|.s64)", BASE;
        "add{.sat}.s32", BASE;
        "add{$RND}{.ftz}{.sat}.f32", BASE;
}
