//! Loads and stores beyond those that every target has for every type: 256 and 128 bits at once, the shared memory of the
//! cluster, and hints to the L2 cache.

use super::columns::*;
use crate::meaning::{Access, Cache, CachePolicy as Policy};
use crate::operand::{Global, Shared, SharedCluster};
use crate::scalar::ScalarType;

const fn access(space: Space, ty: ScalarType, count: u8, cache: Cache) -> Access {
    Access { space, ty, count, cache }
}

super::forms! {
    { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_v8_b32(B32x8 <- address: Global) = "ld.global.v8.b32" => Load(access(Space::Global, B32, 8, Cache::Default));
    ld_global_stream_v8_b32(B32x8 <- address: Global) = "ld.global.L1::no_allocate.v8.b32" => Load(access(Space::Global, B32, 8, Cache::Stream));
    { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_nc_v8_b32(B32x8 <- address: Global) = "ld.global.nc.v8.b32" => Load(access(Space::Global, B32, 8, Cache::ReadOnly));
    ld_global_nc_stream_v8_b32(B32x8 <- address: Global) = "ld.global.nc.L1::no_allocate.v8.b32" => Load(access(Space::Global, B32, 8, Cache::ReadOnlyStream));
    { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Global), from(100, 8, 8) }
    st_global_v8_b32(Nothing <- address: Global, value: B32x8) = "st.global.v8.b32" => Store(access(Space::Global, B32, 8, Cache::Default));
    st_global_stream_v8_b32(Nothing <- address: Global, value: B32x8) = "st.global.L1::no_allocate.v8.b32" => Store(access(Space::Global, B32, 8, Cache::Stream));

    { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_v8_f32(F32x8 <- address: Global) = "ld.global.v8.f32" => Load(access(Space::Global, F32, 8, Cache::Default));
    ld_global_stream_v8_f32(F32x8 <- address: Global) = "ld.global.L1::no_allocate.v8.f32" => Load(access(Space::Global, F32, 8, Cache::Stream));
    { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_nc_v8_f32(F32x8 <- address: Global) = "ld.global.nc.v8.f32" => Load(access(Space::Global, F32, 8, Cache::ReadOnly));
    ld_global_nc_stream_v8_f32(F32x8 <- address: Global) = "ld.global.nc.L1::no_allocate.v8.f32" => Load(access(Space::Global, F32, 8, Cache::ReadOnlyStream));
    { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Global), from(100, 8, 8) }
    st_global_v8_f32(Nothing <- address: Global, value: F32x8) = "st.global.v8.f32" => Store(access(Space::Global, F32, 8, Cache::Default));
    st_global_stream_v8_f32(Nothing <- address: Global, value: F32x8) = "st.global.L1::no_allocate.v8.f32" => Store(access(Space::Global, F32, 8, Cache::Stream));

    { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_v4_b64(B64x4 <- address: Global) = "ld.global.v4.b64" => Load(access(Space::Global, B64, 4, Cache::Default));
    ld_global_stream_v4_b64(B64x4 <- address: Global) = "ld.global.L1::no_allocate.v4.b64" => Load(access(Space::Global, B64, 4, Cache::Stream));
    { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), from(100, 8, 8) }
    ld_global_nc_v4_b64(B64x4 <- address: Global) = "ld.global.nc.v4.b64" => Load(access(Space::Global, B64, 4, Cache::ReadOnly));
    ld_global_nc_stream_v4_b64(B64x4 <- address: Global) = "ld.global.nc.L1::no_allocate.v4.b64" => Load(access(Space::Global, B64, 4, Cache::ReadOnlyStream));
    { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::Global), from(100, 8, 8) }
    st_global_v4_b64(Nothing <- address: Global, value: B64x4) = "st.global.v4.b64" => Store(access(Space::Global, B64, 4, Cache::Default));
    st_global_stream_v4_b64(Nothing <- address: Global, value: B64x4) = "st.global.L1::no_allocate.v4.b64" => Store(access(Space::Global, B64, 4, Cache::Stream));

    // The 256 bytes around come to L2: weights that are read once, in order.
    { "data-movement-and-conversion-instructions-ld-global-nc", LoadStore, Reads(Space::Global), from(80, 7, 4) }
    ld_global_nc_stream_256_b32(B32 <- address: Global) = "ld.global.nc.L1::no_allocate.L2::256B.b32" => Load(access(Space::Global, B32, 1, Cache::ReadOnlyStream256));
    ld_global_nc_stream_256_v2_b32(B32x2 <- address: Global) = "ld.global.nc.L1::no_allocate.L2::256B.v2.b32" => Load(access(Space::Global, B32, 2, Cache::ReadOnlyStream256));
    ld_global_nc_stream_256_v4_b32(B32x4 <- address: Global) = "ld.global.nc.L1::no_allocate.L2::256B.v4.b32" => Load(access(Space::Global, B32, 4, Cache::ReadOnlyStream256));
    ld_global_nc_stream_256_v4_f32(F32x4 <- address: Global) = "ld.global.nc.L1::no_allocate.L2::256B.v4.f32" => Load(access(Space::Global, F32, 4, Cache::ReadOnlyStream256));
    ld_global_nc_stream_256_v2_b64(B64x2 <- address: Global) = "ld.global.nc.L1::no_allocate.L2::256B.v2.b64" => Load(access(Space::Global, B64, 2, Cache::ReadOnlyStream256));
    ld_global_nc_stream_hint_b32(B32 <- address: Global, policy: B64) = "ld.global.nc.L1::no_allocate.L2::cache_hint.b32" => Load(access(Space::Global, B32, 1, Cache::ReadOnlyStreamHint));
    ld_global_nc_stream_hint_v2_b32(B32x2 <- address: Global, policy: B64) = "ld.global.nc.L1::no_allocate.L2::cache_hint.v2.b32" => Load(access(Space::Global, B32, 2, Cache::ReadOnlyStreamHint));
    ld_global_nc_stream_hint_v4_b32(B32x4 <- address: Global, policy: B64) = "ld.global.nc.L1::no_allocate.L2::cache_hint.v4.b32" => Load(access(Space::Global, B32, 4, Cache::ReadOnlyStreamHint));
    ld_global_nc_stream_hint_v4_f32(F32x4 <- address: Global, policy: B64) = "ld.global.nc.L1::no_allocate.L2::cache_hint.v4.f32" => Load(access(Space::Global, F32, 4, Cache::ReadOnlyStreamHint));
    ld_global_nc_stream_hint_v2_b64(B64x2 <- address: Global, policy: B64) = "ld.global.nc.L1::no_allocate.L2::cache_hint.v2.b64" => Load(access(Space::Global, B64, 2, Cache::ReadOnlyStreamHint));

    { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::SharedCluster), from(90, 7, 8) }
    ld_shared_cluster_b16(B16 <- address: SharedCluster) = "ld.shared::cluster.b16" => Load(access(Space::SharedCluster, B16, 1, Cache::Default));
    ld_shared_cluster_b32(B32 <- address: SharedCluster) = "ld.shared::cluster.b32" => Load(access(Space::SharedCluster, B32, 1, Cache::Default));
    ld_shared_cluster_b64(B64 <- address: SharedCluster) = "ld.shared::cluster.b64" => Load(access(Space::SharedCluster, B64, 1, Cache::Default));
    ld_shared_cluster_f32(F32 <- address: SharedCluster) = "ld.shared::cluster.f32" => Load(access(Space::SharedCluster, F32, 1, Cache::Default));
    ld_shared_cluster_v2_b32(B32x2 <- address: SharedCluster) = "ld.shared::cluster.v2.b32" => Load(access(Space::SharedCluster, B32, 2, Cache::Default));
    ld_shared_cluster_v4_b32(B32x4 <- address: SharedCluster) = "ld.shared::cluster.v4.b32" => Load(access(Space::SharedCluster, B32, 4, Cache::Default));
    ld_shared_cluster_v2_f32(F32x2 <- address: SharedCluster) = "ld.shared::cluster.v2.f32" => Load(access(Space::SharedCluster, F32, 2, Cache::Default));
    ld_shared_cluster_v4_f32(F32x4 <- address: SharedCluster) = "ld.shared::cluster.v4.f32" => Load(access(Space::SharedCluster, F32, 4, Cache::Default));
    ld_shared_cluster_v2_b64(B64x2 <- address: SharedCluster) = "ld.shared::cluster.v2.b64" => Load(access(Space::SharedCluster, B64, 2, Cache::Default));

    { "data-movement-and-conversion-instructions-st", LoadStore, Writes(Space::SharedCluster), from(90, 7, 8) }
    st_shared_cluster_b16(Nothing <- address: SharedCluster, value: B16) = "st.shared::cluster.b16" => Store(access(Space::SharedCluster, B16, 1, Cache::Default));
    st_shared_cluster_b32(Nothing <- address: SharedCluster, value: B32) = "st.shared::cluster.b32" => Store(access(Space::SharedCluster, B32, 1, Cache::Default));
    st_shared_cluster_b64(Nothing <- address: SharedCluster, value: B64) = "st.shared::cluster.b64" => Store(access(Space::SharedCluster, B64, 1, Cache::Default));
    st_shared_cluster_f32(Nothing <- address: SharedCluster, value: F32) = "st.shared::cluster.f32" => Store(access(Space::SharedCluster, F32, 1, Cache::Default));
    st_shared_cluster_v2_b32(Nothing <- address: SharedCluster, value: B32x2) = "st.shared::cluster.v2.b32" => Store(access(Space::SharedCluster, B32, 2, Cache::Default));
    st_shared_cluster_v4_b32(Nothing <- address: SharedCluster, value: B32x4) = "st.shared::cluster.v4.b32" => Store(access(Space::SharedCluster, B32, 4, Cache::Default));
    st_shared_cluster_v2_f32(Nothing <- address: SharedCluster, value: F32x2) = "st.shared::cluster.v2.f32" => Store(access(Space::SharedCluster, F32, 2, Cache::Default));
    st_shared_cluster_v4_f32(Nothing <- address: SharedCluster, value: F32x4) = "st.shared::cluster.v4.f32" => Store(access(Space::SharedCluster, F32, 4, Cache::Default));
    st_shared_cluster_v2_b64(Nothing <- address: SharedCluster, value: B64x2) = "st.shared::cluster.v2.b64" => Store(access(Space::SharedCluster, B64, 2, Cache::Default));

    { "data-movement-and-conversion-instructions-ld", LoadStore, Reads(Space::Shared), from(75, 8, 3) }
    ld_shared_b128(B128 <- address: Shared) = "ld.shared.b128" => Load(access(Space::Shared, B128, 1, Cache::Default));

    // For all lines of an access or a copy that takes a policy.
    { "data-movement-and-conversion-instructions-createpolicy", Alu, Pure, from(80, 7, 4) }
    createpolicy_evict_first(B64 <- ) = "createpolicy.fractional.L2::evict_first.b64" => CachePolicy(Policy::EvictFirst);
    createpolicy_evict_last(B64 <- ) = "createpolicy.fractional.L2::evict_last.b64" => CachePolicy(Policy::EvictLast);
    createpolicy_evict_normal(B64 <- ) = "createpolicy.fractional.L2::evict_normal.b64" => CachePolicy(Policy::EvictNormal);
    createpolicy_evict_unchanged(B64 <- ) = "createpolicy.fractional.L2::evict_unchanged.b64" => CachePolicy(Policy::EvictUnchanged);
}
