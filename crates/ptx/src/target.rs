//! The targets that Gable compiles for, one row each, and PTX versions.
//!
//! `a` targets run on one chip only and have all its features; `f` targets run on every chip of a family and have the
//! features that the family shares.

use std::fmt;
use std::str::FromStr;

/// A version of the PTX language, as in `.version 8.6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PtxVersion {
    /// Left of the dot.
    pub major: u8,
    /// Right of the dot.
    pub minor: u8,
}

impl PtxVersion {
    /// Version `major.minor`.
    pub const fn new(major: u8, minor: u8) -> Self {
        PtxVersion { major, minor }
    }
}

impl fmt::Display for PtxVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

/// Abilities that a compute capability alone does not imply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Feature {
    /// Asynchronous matrix multiply by a warpgroup (`wgmma`).
    Wgmma,
    /// Tensor memory and the matrix unit beside it (`tcgen05`).
    Tcgen05,
    /// `mma.sync` on 8-, 6- and 4-bit floats with block scales.
    BlockScaledMma,
    /// Conversions to and from fp6, fp4 and ue8m0.
    NarrowFloatConvert,
    /// Registers moved between warpgroups (`setmaxnreg`).
    RegisterReallocation,
    /// Tensor maps changed by a kernel (`tensormap.replace`).
    TensorMapReplace,
    /// The atoms of swizzles in tensor maps that a kernel changes.
    SwizzleAtomicity,
    /// `tcgen05.mma` on 8-bit integers.
    Tcgen05Int8,
    /// Block scales of `tcgen05.mma` spelled `.scale_vec::2X`.
    ScaleVectorSpelling,
    /// Sparse `tcgen05.mma` on 4-bit floats.
    SparseTcgen05Fp4,
    /// `tcgen05.shift`.
    TensorMemoryShift,
    /// Minimum and maximum by `tcgen05.ld.red`.
    TensorMemoryReduce,
    /// Conversions with `.rs`.
    StochasticRounding,
    /// Conversions to and from the fixed-point format `s2f6`.
    FixedPointConvert,
    /// Arithmetic on four bytes of a register.
    PackedBytes,
    /// `redux.sync` on f32.
    FloatRedux,
    /// `ldmatrix` and `stmatrix` on elements of 8, 6 and 4 bits.
    NarrowMatrixLoad,
    /// Tensor copies for pairs of CTAs, and `scatter4`.
    CtaPairCopies,
    /// `clusterlaunchcontrol.try_cancel` with an answer to every CTA of the cluster.
    ClusterWideCancel,
    /// `multimem` on 8-bit floats.
    NarrowMultimem,
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Feature::Wgmma => "wgmma",
            Feature::Tcgen05 => "tcgen05",
            Feature::BlockScaledMma => "block-scaled mma.sync",
            Feature::NarrowFloatConvert => "fp6, fp4 and ue8m0 conversions",
            Feature::RegisterReallocation => "setmaxnreg",
            Feature::TensorMapReplace => "tensormap.replace",
            Feature::SwizzleAtomicity => "tensormap.replace of the swizzle's atom",
            Feature::Tcgen05Int8 => "tcgen05.mma on integers",
            Feature::ScaleVectorSpelling => "scale vectors of tcgen05.mma by size",
            Feature::SparseTcgen05Fp4 => "sparse tcgen05.mma on fp4",
            Feature::TensorMemoryShift => "tcgen05.shift",
            Feature::TensorMemoryReduce => "tcgen05.ld.red",
            Feature::StochasticRounding => "stochastic rounding",
            Feature::FixedPointConvert => "s2f6 conversions",
            Feature::PackedBytes => "arithmetic on packed bytes",
            Feature::FloatRedux => "redux.sync on f32",
            Feature::NarrowMatrixLoad => "ldmatrix and stmatrix on narrow elements",
            Feature::CtaPairCopies => "tensor copies for pairs of CTAs",
            Feature::ClusterWideCancel => "cluster-wide answers of clusterlaunchcontrol",
            Feature::NarrowMultimem => "multimem on 8-bit floats",
        })
    }
}

/// Chips that share the features of an `f` target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    /// H100, H200.
    Sm90,
    /// B200, B300.
    Sm100,
    /// RTX 50, RTX PRO, GB10.
    Sm120,
}

/// What a target has: one row of the table below.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TargetRow {
    /// As in `.target`.
    pub name: &'static str,
    /// Compute capability times ten: 90 for 9.0.
    pub sm: u32,
    /// The chips that it shares features with.
    pub family: Family,
    /// Whether one build runs on the whole family.
    pub is_family_target: bool,
    /// The lowest PTX version that knows the target.
    pub lowest_ptx: PtxVersion,
    /// Shared memory that a CTA can ask for, in bytes; static arrays end at `STATIC_SHARED_BYTES`.
    pub max_shared_bytes: u32,
    /// 32-bit registers of one SM.
    pub registers_per_sm: u32,
    /// Registers that one thread can use.
    pub max_registers_per_thread: u32,
    /// Threads that one SM holds at once.
    pub max_threads_per_sm: u32,
    /// Abilities beyond the compute capability.
    pub features: &'static [Feature],
}

/// Shared memory that a kernel can declare with a size, on every target; the rest is dynamic.
pub const STATIC_SHARED_BYTES: u32 = 48 * 1024;

/// Threads that one CTA can have, on every target.
pub const MAX_THREADS_PER_CTA: u32 = 1024;

/// CTAs that one cluster can have, on every target; beyond 8 the launch must say that it knows.
pub const MAX_CTAS_PER_CLUSTER: u32 = 16;

macro_rules! targets {
    ($($(#[$doc:meta])* $Variant:ident = $name:literal: sm $sm:literal $family:ident $is_family:literal, ptx $major:literal . $minor:literal,
        $shared:literal bytes, $threads:literal threads, [$($feature:ident)*];)*) => {
        /// A machine that PTX can be written for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Target { $( $(#[$doc])* $Variant, )* }

        impl Target {
            /// Every target, in the order of the table.
            pub const ALL: &'static [Target] = &[ $( Target::$Variant ),* ];

            /// What the target has.
            pub const fn row(self) -> &'static TargetRow {
                match self { $( Target::$Variant => {
                    const ROW: TargetRow = TargetRow {
                        name: $name,
                        sm: $sm,
                        family: Family::$family,
                        is_family_target: $is_family,
                        lowest_ptx: PtxVersion::new($major, $minor),
                        max_shared_bytes: $shared,
                        // The same on every chip from compute capability 9.0 to 12.1.
                        registers_per_sm: 65_536,
                        max_registers_per_thread: 255,
                        max_threads_per_sm: $threads,
                        features: &[ $( Feature::$feature ),* ],
                    };
                    &ROW
                } )* }
            }
        }
    };
}

targets! {
    /// H100, H200.
    Sm90a = "sm_90a": sm 90 Sm90 false, ptx 8 . 0, 232_448 bytes, 2048 threads,
        [Wgmma RegisterReallocation TensorMapReplace];
    /// B200.
    Sm100a = "sm_100a": sm 100 Sm100 false, ptx 8 . 6, 232_448 bytes, 2048 threads,
        [Tcgen05 NarrowFloatConvert FixedPointConvert RegisterReallocation TensorMapReplace SwizzleAtomicity
         FloatRedux NarrowMatrixLoad CtaPairCopies ClusterWideCancel NarrowMultimem Tcgen05Int8 ScaleVectorSpelling
         SparseTcgen05Fp4 TensorMemoryShift StochasticRounding];
    /// B300.
    Sm103a = "sm_103a": sm 103 Sm100 false, ptx 8 . 8, 232_448 bytes, 2048 threads,
        [Tcgen05 NarrowFloatConvert FixedPointConvert RegisterReallocation TensorMapReplace SwizzleAtomicity
         FloatRedux NarrowMatrixLoad CtaPairCopies ClusterWideCancel NarrowMultimem ScaleVectorSpelling
         SparseTcgen05Fp4 TensorMemoryShift TensorMemoryReduce StochasticRounding];
    /// RTX 50, RTX PRO.
    Sm120a = "sm_120a": sm 120 Sm120 false, ptx 8 . 7, 101_376 bytes, 1536 threads,
        [BlockScaledMma NarrowFloatConvert FixedPointConvert PackedBytes RegisterReallocation TensorMapReplace
         SwizzleAtomicity NarrowMatrixLoad ClusterWideCancel NarrowMultimem];
    /// GB10.
    Sm121a = "sm_121a": sm 121 Sm120 false, ptx 8 . 8, 101_376 bytes, 1536 threads,
        [BlockScaledMma NarrowFloatConvert FixedPointConvert PackedBytes RegisterReallocation TensorMapReplace
         SwizzleAtomicity NarrowMatrixLoad ClusterWideCancel NarrowMultimem];
    /// B200 and B300 in one build.
    Sm100f = "sm_100f": sm 100 Sm100 true, ptx 8 . 8, 232_448 bytes, 2048 threads,
        [Tcgen05 NarrowFloatConvert RegisterReallocation TensorMapReplace SwizzleAtomicity FloatRedux
         NarrowMatrixLoad CtaPairCopies ClusterWideCancel NarrowMultimem];
    /// RTX 50, RTX PRO and GB10 in one build.
    Sm120f = "sm_120f": sm 120 Sm120 true, ptx 8 . 8, 101_376 bytes, 1536 threads,
        [BlockScaledMma NarrowFloatConvert PackedBytes RegisterReallocation TensorMapReplace SwizzleAtomicity
         NarrowMatrixLoad ClusterWideCancel];
}

impl Target {
    /// As in `.target`.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// Whether the target has `feature`.
    pub fn has(self, feature: Feature) -> bool {
        self.row().features.contains(&feature)
    }

    /// Whether code built for this target runs on a chip of compute capability `major.minor`.
    pub fn runs_on(self, major: u32, minor: u32) -> bool {
        let row = self.row();
        let chip = major * 10 + minor;
        if row.is_family_target { chip / 10 == row.sm / 10 && chip >= row.sm } else { chip == row.sm }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The text names no target of the table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{found}` is not a target, expected one of {}", Target::ALL.iter().map(|t| t.name()).collect::<Vec<_>>().join(", "))]
pub struct UnknownTarget {
    /// The text.
    pub found: String,
}

impl FromStr for Target {
    type Err = UnknownTarget;
    fn from_str(text: &str) -> Result<Self, UnknownTarget> {
        Target::ALL
            .iter()
            .copied()
            .find(|target| target.name() == text)
            .ok_or_else(|| UnknownTarget { found: text.to_owned() })
    }
}
