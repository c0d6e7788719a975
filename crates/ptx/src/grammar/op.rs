//! The instructions.

macro_rules! ops {
    ($($Op:ident),* $(,)?) => {
        /// An instruction: a mnemonic with the words that select its meaning. Its forms are the rows that name it.
        #[expect(missing_docs, reason = "each is named like its mnemonic, which its rows spell")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Op { $($Op),* }

        impl Op {
            /// Every instruction.
            pub const ALL: &'static [Op] = &[$(Op::$Op),*];
        }
    };
}

ops! {
        Add, AddCc, Addc, Sub, SubCc, Subc, Mul, Mad, MadCc, Madc, Mul24, Mad24, Sad, Div, Rem, Abs, Neg, Min, Max,
        Popc, Clz, Brev, Bfind, Fns, Bfe, Bfi, Szext, Bmsk, Dp4a, Dp2a,
        Fma, Testp, Copysign, Rcp, Sqrt, Rsqrt, Sin, Cos, Lg2, Ex2, Tanh,
        Set, Setp, Selp, Slct, And, Or, Xor, Not, Cnot, Lop3, Shf, Shl, Shr, Prmt, Mov,
        Cvt, CvtPack, Cvta, Isspacep, Mapa, Getctarank,
        Ld, Ldu, St, StAsync, StBulk, Atom, Red, RedAsync, MultimemLdReduce, MultimemSt, MultimemRed, Prefetch,
        Prefetchu, Applypriority, Discard, Createpolicy,
        CpAsync, CpAsyncCommitGroup, CpAsyncWaitGroup, CpAsyncWaitAll, CpAsyncMbarrierArrive, CpAsyncBulk,
        CpAsyncBulkPrefetch, CpReduceAsyncBulk, CpAsyncBulkCommitGroup, CpAsyncBulkWaitGroup, CpAsyncBulkTensor,
        CpAsyncBulkPrefetchTensor, CpReduceAsyncBulkTensor, MultimemCpAsyncBulk, MultimemCpReduceAsyncBulk,
        TensormapReplace, TensormapCpFenceproxy,
        BarSync, BarArrive, BarRed, BarWarpSync, BarrierClusterArrive, BarrierClusterWait, Membar, Fence,
        FenceMbarrierInit, FenceProxy, MbarrierInit, MbarrierInval, MbarrierExpectTx, MbarrierCompleteTx,
        MbarrierArrive, MbarrierArriveDrop, MbarrierTestWait, MbarrierTryWait, MbarrierPendingCount, Griddepcontrol,
        ClusterlaunchcontrolTryCancel, ClusterlaunchcontrolQueryCancel, Setmaxnreg, Nanosleep,
        Activemask, Vote, Match, Redux, Shfl, ElectSync, Pmevent,
        Ldmatrix, Stmatrix, Movmatrix, Mma, MmaSparse, WmmaLoad, WmmaStore, WmmaMma, WgmmaFence, WgmmaCommitGroup,
        WgmmaWaitGroup, WgmmaMma, WgmmaMmaSparse,
        Tcgen05Alloc, Tcgen05Dealloc, Tcgen05RelinquishAllocPermit, Tcgen05Ld, Tcgen05LdRed, Tcgen05St, Tcgen05WaitLd,
        Tcgen05WaitSt, Tcgen05Cp, Tcgen05Shift, Tcgen05Mma, Tcgen05MmaSparse, Tcgen05MmaWs, Tcgen05MmaWsSparse,
        Tcgen05Commit, Tcgen05Fence,
        Bra, Brx, Call, Ret, Exit, Trap, Brkpt, Alloca, Stacksave, Stackrestore,
        Vadd, Vsub, Vabsdiff, Vmin, Vmax, Vshl, Vshr, Vmad, Vset, Vadd2, Vsub2, Vavrg2, Vabsdiff2, Vmin2, Vmax2,
        Vset2, Vadd4, Vsub4, Vavrg4, Vabsdiff4, Vmin4, Vmax4, Vset4,
}
