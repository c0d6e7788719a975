//! The words between the dots of a mnemonic, and named lists of them.

macro_rules! modifiers {
    (types { $($Type:ident = $type_text:literal),* $(,)? } others { $($Other:ident = $other_text:literal),* $(,)? }) => {
        /// A word of a mnemonic after a dot.
        #[expect(missing_docs, reason = "each is named like its text, which `text` gives")]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Modifier { $($Type,)* $($Other,)* }

        impl Modifier {
            /// Every modifier.
            pub const ALL: &'static [Modifier] = &[$(Modifier::$Type,)* $(Modifier::$Other,)*];

            /// As written, without the dot.
            pub const fn text(self) -> &'static str {
                match self { $(Modifier::$Type => $type_text,)* $(Modifier::$Other => $other_text,)* }
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
                    _ => None,
                }
            }
        }
    };
}

modifiers! {
    types {
        Pred = "pred", B1 = "b1", B8 = "b8", B16 = "b16", B32 = "b32", B64 = "b64", B128 = "b128",
        U4 = "u4", S4 = "s4", U8 = "u8", S8 = "s8", U16 = "u16", S16 = "s16", U32 = "u32", S32 = "s32", U64 = "u64", S64 = "s64",
        U2 = "u2", S2 = "s2", U16x2 = "u16x2", S16x2 = "s16x2",
        F16 = "f16", F16x2 = "f16x2", Bf16 = "bf16", Bf16x2 = "bf16x2", Tf32 = "tf32", F32 = "f32", F32x2 = "f32x2", F64 = "f64",
        E4m3 = "e4m3", E5m2 = "e5m2", E2m3 = "e2m3", E3m2 = "e3m2", E2m1 = "e2m1", Ue8m0 = "ue8m0", Ue4m3 = "ue4m3",
        E4m3x2 = "e4m3x2", E5m2x2 = "e5m2x2", E2m3x2 = "e2m3x2", E3m2x2 = "e3m2x2", E2m1x2 = "e2m1x2", Ue8m0x2 = "ue8m0x2",
        E4m3x4 = "e4m3x4", E5m2x4 = "e5m2x4", E2m3x4 = "e2m3x4", E3m2x4 = "e3m2x4", E2m1x4 = "e2m1x4",
    }
    others {
        Rn = "rn", Rz = "rz", Rm = "rm", Rp = "rp", Rna = "rna", Rs = "rs", Rni = "rni", Rzi = "rzi", Rmi = "rmi", Rpi = "rpi",
        Ftz = "ftz", Sat = "sat", Satfinite = "satfinite", Relu = "relu", Approx = "approx", Full = "full", Nan = "NaN",
        Lo = "lo", Hi = "hi", Wide = "wide", L = "l", R = "r", Wrap = "wrap", Clamp = "clamp", Cc = "cc",
Abs = "prov_Abs", AcqRel = "prov_AcqRel", Acquire = "prov_Acquire", Add = "prov_Add", Aligned = "prov_Aligned", All = "prov_All", And = "prov_And", Any = "prov_Any", Async = "prov_Async", AsyncGeneric = "prov_AsyncGeneric", AsyncGlobal = "prov_AsyncGlobal", AsyncSharedCluster = "prov_AsyncSharedCluster", AsyncSharedCta = "prov_AsyncSharedCta", Ballot = "prov_Ballot", Bfly = "prov_Bfly", Cas = "prov_Cas", Cg = "prov_Cg", Cluster = "prov_Cluster", Const = "prov_Const", Cta = "prov_Cta", Dec = "prov_Dec", Down = "prov_Down", Exch = "prov_Exch", Global = "prov_Global", Gpu = "prov_Gpu", Idx = "prov_Idx", Inc = "prov_Inc", L2CacheHint = "prov_L2CacheHint", Local = "prov_Local", Max = "prov_Max", Min = "prov_Min", Mmio = "prov_Mmio", Or = "prov_Or", Param = "prov_Param", ParamEntry = "prov_ParamEntry", ParamFunc = "prov_ParamFunc", Popc = "prov_Popc", Relaxed = "prov_Relaxed", Release = "prov_Release", Shared = "prov_Shared", SharedCluster = "prov_SharedCluster", SharedCta = "prov_SharedCta", Sys = "prov_Sys", To = "prov_To", Uni = "prov_Uni", Up = "prov_Up", V2 = "prov_V2", V4 = "prov_V4", V8 = "prov_V8", Volatile = "prov_Volatile", Xor = "prov_Xor",
Eq = "prov_Eq", Ne = "prov_Ne", Lt = "prov_Lt", Le = "prov_Le", Gt = "prov_Gt", Ge = "prov_Ge", Ls = "prov_Ls", Hs = "prov_Hs", Equ = "prov_Equ", Neu = "prov_Neu", Ltu = "prov_Ltu", Leu = "prov_Leu", Gtu = "prov_Gtu", Geu = "prov_Geu", Num = "prov_Num", NanWord = "prov_NanWord", Finite = "prov_Finite", Infinite = "prov_Infinite", Number = "prov_Number", Notanumber = "prov_Notanumber", Normal = "prov_Normal", Subnormal = "prov_Subnormal", F4e = "prov_F4e", B4e = "prov_B4e", Rc8 = "prov_Rc8", Ecl = "prov_Ecl", Ecr = "prov_Ecr", Rc16 = "prov_Rc16", Xorsign = "prov_Xorsign", Oob = "prov_Oob", Shiftamt = "prov_Shiftamt",
    }
}

/// Named lists that patterns refer to with `$`.
pub(super) fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "RND" => ".rn|.rz|.rm|.rp",
        _ => return None,
    })
}
