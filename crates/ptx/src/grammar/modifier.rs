//! The words between the dots of a mnemonic.

use std::borrow::Cow;
use std::fmt;

macro_rules! modifiers {
    (types { $($Type:ident = $type_text:literal),* $(,)? } others { $($Other:ident = $other_text:literal),* $(,)? }) => {
        /// A word of a mnemonic after a dot.
        #[expect(missing_docs, reason = "each is named like its text, which `text` gives")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Modifier {
            $($Type,)*
            $($Other,)*
            /// `m16n8k32`, or `m8n8` with a `k` of 0: the shape of a matrix.
            Matrix { m: u16, n: u16, k: u16 },
        }

        impl Modifier {
            /// Every modifier but the shapes of matrices.
            pub const WORDS: &'static [Modifier] = &[$(Modifier::$Type,)* $(Modifier::$Other,)*];

            /// As written, without the dot.
            pub fn text(self) -> Cow<'static, str> {
                Cow::Borrowed(match self {
                    $(Modifier::$Type => $type_text,)*
                    $(Modifier::$Other => $other_text,)*
                    Modifier::Matrix { m, n, k: 0 } => return Cow::Owned(format!("m{m}n{n}")),
                    Modifier::Matrix { m, n, k } => return Cow::Owned(format!("m{m}n{n}k{k}")),
                })
            }

            /// Whether it is a type.
            pub const fn is_type(self) -> bool {
                matches!(self, $(Modifier::$Type)|*)
            }

            /// The modifier of that text.
            pub fn of(text: &str) -> Option<Modifier> {
                match text {
                    $($type_text => Some(Modifier::$Type),)*
                    $($other_text => Some(Modifier::$Other),)*
                    _ => matrix(text),
                }
            }
        }
    };
}

impl Modifier {
    /// Whether it is a state space.
    pub const fn is_space(self) -> bool {
        use Modifier as M;
        matches!(self, M::Global | M::Local | M::Const | M::Param | M::Shared | M::SharedCta | M::SharedCluster)
    }
}

impl fmt::Display for Modifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// `m16n8k32` or `m8n8`.
fn matrix(text: &str) -> Option<Modifier> {
    let size = |digits: &str| {
        let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
        if is_plain { digits.parse().ok() } else { None }
    };
    let (m, rest) = text.strip_prefix('m')?.split_once('n')?;
    let (n, k) = match rest.split_once('k') {
        Some((n, k)) => (n, size(k)?),
        None => (rest, 0),
    };
    Some(Modifier::Matrix { m: size(m)?, n: size(n)?, k })
}

modifiers! {
    types {
        Pred = "pred", B1 = "b1", B8 = "b8", B16 = "b16", B32 = "b32", B64 = "b64", B128 = "b128", B1024 = "b1024",
        U2 = "u2", S2 = "s2", U4 = "u4", S4 = "s4", U8 = "u8", S8 = "s8", U16 = "u16", S16 = "s16", U32 = "u32",
        S32 = "s32", U64 = "u64", S64 = "s64", U16x2 = "u16x2", S16x2 = "s16x2", U8x4 = "u8x4", S8x4 = "s8x4", F16 = "f16", F16x2 = "f16x2",
        Bf16 = "bf16", Bf16x2 = "bf16x2", Tf32 = "tf32", F32 = "f32", F32x2 = "f32x2", F64 = "f64", E4m3 = "e4m3",
        E5m2 = "e5m2", E2m3 = "e2m3", E3m2 = "e3m2", E2m1 = "e2m1", Ue8m0 = "ue8m0", Ue4m3 = "ue4m3",
        E4m3x2 = "e4m3x2", E5m2x2 = "e5m2x2", E2m3x2 = "e2m3x2", E3m2x2 = "e3m2x2", E2m1x2 = "e2m1x2",
        Ue8m0x2 = "ue8m0x2", S2f6x2 = "s2f6x2", E4m3x4 = "e4m3x4", E5m2x4 = "e5m2x4", E2m3x4 = "e2m3x4", E3m2x4 = "e3m2x4",
        E2m1x4 = "e2m1x4",
    }
    others {
        ScaledN2Ue8m0 = "scaled::n2::ue8m0", Sat = "sat", Cc = "cc", Lo = "lo", Hi = "hi", Wide = "wide", Relu = "relu", Shiftamt = "shiftamt",
        Clamp = "clamp", Wrap = "wrap", Ftz = "ftz", Rn = "rn", Oob = "oob", Approx = "approx", Full = "full",
        Nan = "NaN", Xorsign = "xorsign", Abs = "abs", Finite = "finite", Infinite = "infinite", Number = "number",
        Notanumber = "notanumber", Normal = "normal", Subnormal = "subnormal", Or = "or", And = "and", L = "l",
        R = "r", F4e = "f4e", B4e = "b4e", Rc8 = "rc8", Ecl = "ecl", Ecr = "ecr", Rc16 = "rc16", Rz = "rz",
        Satfinite = "satfinite", Rna = "rna", Rp = "rp", Rs = "rs", Pack = "pack", To = "to", Global = "global",
        Local = "local", Shared = "shared", SharedCta = "shared::cta", SharedCluster = "shared::cluster",
        Const = "const", Param = "param", ParamEntry = "param::entry", Weak = "weak", Volatile = "volatile",
        L2CacheHint = "L2::cache_hint", Relaxed = "relaxed", Acquire = "acquire", Ca = "ca", Cg = "cg", Cs = "cs",
        Nc = "nc", Mmio = "mmio", Sys = "sys", Wb = "wb", Wt = "wt", Release = "release", Async = "async",
        MbarrierCompleteTxBytes = "mbarrier::complete_tx::bytes", V2 = "v2", V4 = "v4", Gpu = "gpu", Bulk = "bulk",
        Xor = "xor", Exch = "exch", Cas = "cas", Add = "add", Noftz = "noftz", Inc = "inc", Dec = "dec", Min = "min",
        Max = "max", V8 = "v8", Cluster = "cluster", LdReduce = "ld_reduce", AccF32 = "acc::f32", AccF16 = "acc::f16",
        V16 = "v16", St = "st", Red = "red", L1 = "L1", L2 = "L2", L2EvictLast = "L2::evict_last",
        L2EvictNormal = "L2::evict_normal", Tensormap = "tensormap", Fractional = "fractional",
        L2EvictFirst = "L2::evict_first", L2EvictUnchanged = "L2::evict_unchanged", Range = "range", Cvt = "cvt",
        L2Prefetch64B = "L2::64B", L2Prefetch128B = "L2::128B", L2Prefetch256B = "L2::256B", CommitGroup = "commit_group",
        WaitGroup = "wait_group", WaitAll = "wait_all", Mbarrier = "mbarrier", Arrive = "arrive", Noinc = "noinc",
        MulticastCluster = "multicast::cluster", BulkGroup = "bulk_group", CpMask = "cp_mask", Prefetch = "prefetch",
        Reduce = "reduce", Read = "read", Tensor = "tensor", Tile = "tile", Im2col = "im2col",
        TileGather4 = "tile::gather4", Im2colW = "im2col::w", Im2colW128 = "im2col::w::128",
        Im2colNoOffs = "im2col_no_offs", TileScatter4 = "tile::scatter4", Cp = "cp", Replace = "replace",
        GlobalAddress = "global_address", GlobalStride = "global_stride", Rank = "rank", BoxDim = "box_dim",
        GlobalDim = "global_dim", ElementStride = "element_stride", Elemtype = "elemtype",
        InterleaveLayout = "interleave_layout", SwizzleMode = "swizzle_mode", FillMode = "fill_mode",
        SwizzleAtomicity = "swizzle_atomicity", CpFenceproxy = "cp_fenceproxy",
        TensormapGeneric = "tensormap::generic", Sync = "sync", Aligned = "aligned", Cta = "cta", Popc = "popc",
        Warp = "warp", Wait = "wait", Gl = "gl", Sc = "sc", AcqRel = "acq_rel",
        SyncRestrictSharedCluster = "sync_restrict::shared::cluster",
        SyncRestrictSharedCta = "sync_restrict::shared::cta", MbarrierInit = "mbarrier_init", Proxy = "proxy",
        Alias = "alias", AsyncGeneric = "async::generic", Init = "init", Inval = "inval", ExpectTx = "expect_tx",
        CompleteTx = "complete_tx", NoComplete = "noComplete", ArriveDrop = "arrive_drop", TestWait = "test_wait",
        Parity = "parity", TryWait = "try_wait", PendingCount = "pending_count",
        LaunchDependents = "launch_dependents", TryCancel = "try_cancel",
        MulticastClusterAll = "multicast::cluster::all", QueryCancel = "query_cancel", IsCanceled = "is_canceled",
        GetFirstCtaid = "get_first_ctaid", GetFirstCtaidX = "get_first_ctaid::x",
        GetFirstCtaidY = "get_first_ctaid::y", GetFirstCtaidZ = "get_first_ctaid::z", All = "all", Any = "any",
        Uni = "uni", Ballot = "ballot", Up = "up", Down = "down", Bfly = "bfly", Idx = "idx", Mask = "mask",
        X1 = "x1", X2 = "x2", X4 = "x4", Trans = "trans", B8x16 = "b8x16", B6x16P32 = "b6x16_p32",
        B4x16P64 = "b4x16_p64", Row = "row", Col = "col", KindF8f6f4 = "kind::f8f6f4",
        KindMxf8f6f4 = "kind::mxf8f6f4", BlockScale = "block_scale", ScaleVec1X = "scale_vec::1X",
        KindMxf4 = "kind::mxf4", KindMxf4nvf4 = "kind::mxf4nvf4", ScaleVec2X = "scale_vec::2X",
        ScaleVec4X = "scale_vec::4X", Sp = "sp", SpOrderedMetadata = "sp::ordered_metadata", Load = "load", A = "a",
        B = "b", C = "c", Store = "store", D = "d", Mma = "mma", Fence = "fence", MmaAsync = "mma_async",
        Alloc = "alloc", Dealloc = "dealloc", RelinquishAllocPermit = "relinquish_alloc_permit", Ld = "ld",
        Pack16b = "pack::16b", Shape32x32b = "32x32b", Shape16x32bx2 = "16x32bx2", Unpack16b = "unpack::16b",
        WaitLd = "wait::ld", WaitSt = "wait::st", Shape128x256b = "128x256b", Shape4x256b = "4x256b",
        Shape128x128b = "128x128b", Shape64x128b = "64x128b", Warpx2Lanes0213 = "warpx2::02_13",
        Warpx2Lanes0123 = "warpx2::01_23", Shape32x128b = "32x128b", Warpx4 = "warpx4", Shift = "shift",
        KindF16 = "kind::f16", KindTf32 = "kind::tf32", Ashift = "ashift", KindI8 = "kind::i8", Block32 = "block32",
        Block16 = "block16", Ws = "ws", CtaGroup1 = "cta_group::1", Commit = "commit",
        MbarrierArriveOne = "mbarrier::arrive::one", FenceBeforeThreadSync = "fence::before_thread_sync",
        FenceAfterThreadSync = "fence::after_thread_sync", Po = "po", Shr7 = "shr7", Shr15 = "shr15", Eq = "eq",
        Ne = "ne", Lt = "lt", Le = "le", Gt = "gt", Ge = "ge", Rm = "rm", Rni = "rni", Rzi = "rzi", Rmi = "rmi",
        Rpi = "rpi", Ls = "ls", Hs = "hs", Equ = "equ", Neu = "neu", Ltu = "ltu", Leu = "leu", Gtu = "gtu",
        Geu = "geu", Num = "num", IsNan = "nan", ParamFunc = "param::func", Lu = "lu", Cv = "cv",
        L1EvictNormal = "L1::evict_normal", L1EvictUnchanged = "L1::evict_unchanged",
        L1EvictFirst = "L1::evict_first", L1EvictLast = "L1::evict_last", L1NoAllocate = "L1::no_allocate", D1 = "1d",
        D2 = "2d", D3 = "3d", D4 = "4d", D5 = "5d", CtaGroup2 = "cta_group::2", Shape16x64b = "16x64b",
        Shape16x128b = "16x128b", Shape16x256b = "16x256b", X8 = "x8", X16 = "x16", X32 = "x32", X64 = "x64",
        X128 = "x128", CollectorAFill = "collector::a::fill", CollectorAUse = "collector::a::use",
        CollectorALastuse = "collector::a::lastuse", CollectorADiscard = "collector::a::discard",
        CollectorB0Fill = "collector::b0::fill", CollectorB0Use = "collector::b0::use",
        CollectorB0Lastuse = "collector::b0::lastuse", CollectorB0Discard = "collector::b0::discard",
        CollectorB1Fill = "collector::b1::fill", CollectorB1Use = "collector::b1::use",
        CollectorB1Lastuse = "collector::b1::lastuse", CollectorB1Discard = "collector::b1::discard",
        CollectorB2Fill = "collector::b2::fill", CollectorB2Use = "collector::b2::use",
        CollectorB2Lastuse = "collector::b2::lastuse", CollectorB2Discard = "collector::b2::discard",
        CollectorB3Fill = "collector::b3::fill", CollectorB3Use = "collector::b3::use",
        CollectorB3Lastuse = "collector::b3::lastuse", CollectorB3Discard = "collector::b3::discard",
    }
}
