//! Asynchronous copies, tensor copies, tensor maps.

use super::{has, rows, sm};
use crate::target::Feature::{CtaPairCopies, SwizzleAtomicity, TensorMapReplace};

rows! {
    CpAsync:
        "cp.async.ca(.shared|.shared::cta).global{.L2::cache_hint}{.L2::64B|.L2::128B|.L2::256B}", sm(80, 7, 0);
        "cp.async.cg(.shared|.shared::cta).global{.L2::cache_hint}{.L2::64B|.L2::128B|.L2::256B}", sm(80, 7, 0);
    CpAsyncCommitGroup:
        "cp.async.commit_group", sm(80, 7, 0);
    CpAsyncWaitGroup:
        "cp.async.wait_group", sm(80, 7, 0);
    CpAsyncWaitAll:
        "cp.async.wait_all", sm(80, 7, 0);
    CpAsyncMbarrierArrive:
        "cp.async.mbarrier.arrive{.noinc}{.shared|.shared::cta}.b64", sm(80, 7, 0);
    CpAsyncBulk:
        "cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes{.multicast::cluster}{.L2::cache_hint}", sm(90, 8, 0);
        "cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes{.L2::cache_hint}", sm(90, 8, 6);
        "cp.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes", sm(90, 8, 0);
        "cp.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}", sm(90, 8, 0);
        "cp.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}.cp_mask", sm(100, 8, 6);
    CpAsyncBulkPrefetch:
        "cp.async.bulk.prefetch.L2.global{.L2::cache_hint}", sm(90, 8, 0);
    CpReduceAsyncBulk:
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes(.and.b32|.or.b32|.xor.b32|.inc.u32|.dec.u32)", sm(90, 8, 0);
        "cp.reduce.async.bulk.shared::cluster.shared::cta.mbarrier::complete_tx::bytes(.add.u32|.add.s32|.add.u64|.min.u32|.min.s32|.max.u32|.max.s32)", sm(90, 8, 0);
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}(.and|.or|.xor)(.b32|.b64)", sm(90, 8, 0);
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}(.inc|.dec).u32", sm(90, 8, 0);
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}.add(.u32|.s32|.u64|.f32|.f64|.noftz.f16|.noftz.bf16)", sm(90, 8, 0);
        "cp.reduce.async.bulk.global.shared::cta.bulk_group{.L2::cache_hint}(.min|.max)(.u32|.s32|.u64|.s64|.f16|.bf16)", sm(90, 8, 0);
    CpAsyncBulkCommitGroup:
        "cp.async.bulk.commit_group", sm(90, 8, 0);
    CpAsyncBulkWaitGroup:
        "cp.async.bulk.wait_group{.read}", sm(90, 8, 0);
    CpAsyncBulkTensor:
        "cp.async.bulk.tensor$DIM.shared::cluster.global{.tile|.im2col}.mbarrier::complete_tx::bytes{.multicast::cluster}{.L2::cache_hint}", sm(90, 8, 0);
        "cp.async.bulk.tensor$DIM.shared::cta.global{.tile|.im2col}.mbarrier::complete_tx::bytes{.L2::cache_hint}", sm(90, 8, 6);
        "cp.async.bulk.tensor$DIM.shared::cta.global(.tile::gather4|.im2col::w).mbarrier::complete_tx::bytes{.L2::cache_hint}", sm(100, 8, 6);
        "cp.async.bulk.tensor$DIM(.shared::cluster|.shared::cta).global{.tile|.tile::gather4|.im2col|.im2col::w|.im2col::w::128}.mbarrier::complete_tx::bytes{.multicast::cluster}{$CTA_GROUP}{.L2::cache_hint}", has(CtaPairCopies, 8, 6);
        "cp.async.bulk.tensor$DIM.global.shared::cta{.tile|.im2col_no_offs}.bulk_group{.L2::cache_hint}", sm(90, 8, 0);
        "cp.async.bulk.tensor$DIM.global.shared::cta.tile::scatter4.bulk_group{.L2::cache_hint}", has(CtaPairCopies, 8, 6);
    CpAsyncBulkPrefetchTensor:
        "cp.async.bulk.prefetch.tensor$DIM.L2.global{.tile|.im2col}{.L2::cache_hint}", sm(90, 8, 0);
        "cp.async.bulk.prefetch.tensor$DIM.L2.global(.tile::gather4|.im2col::w|.im2col::w::128){.L2::cache_hint}", has(CtaPairCopies, 8, 6);
    CpReduceAsyncBulkTensor:
        "cp.reduce.async.bulk.tensor$DIM.global.shared::cta(.add|.min|.max|.inc|.dec|.and|.or|.xor){.tile|.im2col_no_offs}.bulk_group{.L2::cache_hint}", sm(90, 8, 0);
    MultimemCpAsyncBulk:
        "multimem.cp.async.bulk.global.shared::cta.bulk_group{.cp_mask}", sm(90, 9, 1);
    MultimemCpReduceAsyncBulk:
        "multimem.cp.reduce.async.bulk.global.shared::cta.bulk_group(.and|.or|.xor)(.b32|.b64)", sm(90, 9, 1);
        "multimem.cp.reduce.async.bulk.global.shared::cta.bulk_group(.add|.min|.max|.inc|.dec)(.u32|.s32|.u64|.s64|.f32|.f64|.f16|.bf16|.noftz.f16|.noftz.bf16)", sm(90, 9, 1);
    TensormapReplace:
        "tensormap.replace.tile(.global_address|.global_stride){.global|.shared::cta}.b1024.b64", has(TensorMapReplace, 8, 3);
        "tensormap.replace.tile(.rank|.box_dim|.global_dim|.element_stride|.elemtype|.interleave_layout|.swizzle_mode|.fill_mode){.global|.shared::cta}.b1024.b32", has(TensorMapReplace, 8, 3);
        "tensormap.replace.tile.swizzle_atomicity{.global|.shared::cta}.b1024.b32", has(SwizzleAtomicity, 8, 6);
    TensormapCpFenceproxy:
        "tensormap.cp_fenceproxy.global.shared::cta.tensormap::generic.release$SCOPE.sync.aligned", sm(90, 8, 3);
}
