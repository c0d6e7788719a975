//! Named lists of choices that patterns refer to with `$`, and the floors that words bring with them.

use super::modifier::Modifier;
use crate::form::Floor;
use crate::target::PtxVersion;

/// The choices of a list, as they stand in a pattern; a choice may name another list.
pub(super) fn named(name: &str) -> Option<&'static str> {
    Some(match name {
        "RND" => ".rn|.rz|.rm|.rp",
        "INTEGER_RND" => ".rni|.rzi|.rmi|.rpi",
        "INT" => ".u16|.u32|.u64|.s16|.s32|.s64",
        "INTEGER" => ".u8|.u16|.u32|.u64|.s8|.s16|.s32|.s64",
        "CARRY" => ".u32|.s32|.u64|.s64",
        "COMPARE_BITS" => ".eq|.ne",
        "COMPARE_SIGNED" => ".eq|.ne|.lt|.le|.gt|.ge",
        "COMPARE_UNSIGNED" => "$COMPARE_SIGNED|.lo|.ls|.hi|.hs",
        "COMPARE_FLOAT" => "$COMPARE_SIGNED|.equ|.neu|.ltu|.leu|.gtu|.geu|.num|.nan",
        "BOOL" => ".and|.or|.xor",
        "SCOPE" => ".cta|.cluster|.gpu|.sys",
        "SPACE" => ".global|.local|.const|.shared|.shared::cta|.shared::cluster|.param|.param::entry|.param::func",
        "STORE_SPACE" => ".global|.local|.shared|.shared::cta|.shared::cluster|.param|.param::func",
        "ATOM_SPACE" => ".global|.shared|.shared::cta|.shared::cluster",
        "ATOM_ORDER" => ".relaxed|.acquire|.release|.acq_rel",
        "RED_ORDER" => ".relaxed|.release",
        "SHARED" => ".shared|.shared::cta|.shared::cluster",
        "STORE_CACHE" => ".wb|.cg|.cs|.wt",
        "LOAD_CACHE" => ".ca|.cg|.cs|.lu|.cv",
        "L1_EVICT" => ".L1::evict_normal|.L1::evict_unchanged|.L1::evict_first|.L1::evict_last|.L1::no_allocate",
        "L2_EVICT" => ".L2::evict_normal|.L2::evict_first|.L2::evict_last",
        "PREFETCH" => ".L2::64B|.L2::128B|.L2::256B",
        "POLICY" => ".L2::evict_last|.L2::evict_normal|.L2::evict_first|.L2::evict_unchanged",
        "NARROW" => ".b8|.b16|.b32|.u8|.u16|.u32|.s8|.s16|.s32|.f32",
        "WORD" => ".b32|.u32|.s32|.f32",
        "LONG" => ".b64|.u64|.s64|.f64",
        "SCALAR" => "$NARROW|$LONG",
        "DATA" => "$SCALAR|.b128|.v2$SCALAR|.v4$NARROW",
        "DATA_256" => ".v8$WORD|.v4$LONG",
        "HALF_DATA" => {
            ".f16x2|.bf16x2|.v2.f16x2|.v2.bf16x2|.v4.f16x2|.v4.bf16x2|.v2.f16|.v2.bf16|.v4.f16|.v4.bf16|.v8.f16|.v8.bf16"
        }
        "F8_DATA" => {
            ".e4m3x4|.e5m2x4|.v2.e4m3x4|.v2.e5m2x4|.v4.e4m3x4|.v4.e5m2x4|.v2.e4m3x2|.v2.e5m2x2|.v4.e4m3x2|.v4.e5m2x2|.v8.e4m3x2|.v8.e5m2x2|.v4.e4m3|.v4.e5m2|.v8.e4m3|.v8.e5m2|.v16.e4m3|.v16.e5m2"
        }
        "DIM" => ".1d|.2d|.3d|.4d|.5d",
        "CTA_GROUP" => ".cta_group::1|.cta_group::2",
        "MBARRIER_RELEASE" => ".release.cta|.release.cluster|.relaxed.cta|.relaxed.cluster",
        "MBARRIER_ACQUIRE" => ".acquire.cta|.acquire.cluster|.relaxed.cta|.relaxed.cluster",
        "F8F6F4" => ".e4m3|.e5m2|.e2m3|.e3m2|.e2m1",
        "WMMA_SHAPE" => ".m16n16k16|.m8n32k16|.m32n8k16",
        "TMEM_SHAPE" => ".16x64b|.16x128b|.16x256b|.32x32b|.16x32bx2",
        "TMEM_COUNT" => ".x1|.x2|.x4|.x8|.x16|.x32|.x64|.x128",
        "COLLECTOR_A" => ".collector::a::fill|.collector::a::use|.collector::a::lastuse|.collector::a::discard",
        "COLLECTOR_B" => {
            ".collector::b0::fill|.collector::b0::use|.collector::b0::lastuse|.collector::b0::discard|.collector::b1::fill|.collector::b1::use|.collector::b1::lastuse|.collector::b1::discard|.collector::b2::fill|.collector::b2::use|.collector::b2::lastuse|.collector::b2::discard|.collector::b3::fill|.collector::b3::use|.collector::b3::lastuse|.collector::b3::discard"
        }
        _ => return None,
    })
}

/// The floor of a word that came later than the instructions it stands in.
pub(super) fn floor(modifier: Modifier) -> Option<Floor> {
    use Modifier as M;
    let (sm, major, minor) = match modifier {
        M::SharedCta => (30, 7, 8),
        M::SharedCluster | M::Cluster => (90, 7, 8),
        M::Acquire | M::Release | M::Relaxed | M::AcqRel => (70, 6, 0),
        M::ParamEntry | M::ParamFunc => (30, 8, 3),
        M::B128 => (70, 8, 3),
        M::L1EvictNormal | M::L1EvictUnchanged | M::L1EvictFirst | M::L1EvictLast | M::L1NoAllocate => (70, 7, 4),
        M::L2Prefetch64B | M::L2Prefetch128B => (75, 7, 4),
        M::L2Prefetch256B | M::L2CacheHint => (80, 7, 4),
        _ => return None,
    };
    Some(Floor::sm(sm, PtxVersion::new(major, minor)))
}
