//! Registers that the hardware sets.

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
