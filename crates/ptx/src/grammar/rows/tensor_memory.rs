//! Tensor memory and the matrix unit beside it (`tcgen05`).

use super::{has, rows};
use crate::target::Feature::{
    ScaleVectorSpelling, SparseTcgen05Fp4, Tcgen05, Tcgen05Int8, TensorMemoryReduce, TensorMemoryShift,
};

rows! {
    Tcgen05Alloc:
        "tcgen05.alloc$CTA_GROUP.sync.aligned{.shared::cta}.b32", has(Tcgen05, 8, 6);
    Tcgen05Dealloc:
        "tcgen05.dealloc$CTA_GROUP.sync.aligned.b32", has(Tcgen05, 8, 6);
    Tcgen05RelinquishAllocPermit:
        "tcgen05.relinquish_alloc_permit$CTA_GROUP.sync.aligned", has(Tcgen05, 8, 6);
    Tcgen05Ld:
        "tcgen05.ld.sync.aligned$TMEM_SHAPE$TMEM_COUNT{.pack::16b}.b32", has(Tcgen05, 8, 6);
    Tcgen05LdRed:
        "tcgen05.ld.red.sync.aligned(.32x32b|.16x32bx2)$TMEM_COUNT(.min|.max){.abs}{.NaN}.f32", has(TensorMemoryReduce, 8, 8);
        "tcgen05.ld.red.sync.aligned(.32x32b|.16x32bx2)$TMEM_COUNT(.min|.max)(.u32|.s32)", has(TensorMemoryReduce, 8, 8);
    Tcgen05St:
        "tcgen05.st.sync.aligned$TMEM_SHAPE$TMEM_COUNT{.unpack::16b}.b32", has(Tcgen05, 8, 6);
    Tcgen05WaitLd:
        "tcgen05.wait::ld.sync.aligned", has(Tcgen05, 8, 6);
    Tcgen05WaitSt:
        "tcgen05.wait::st.sync.aligned", has(Tcgen05, 8, 6);
    Tcgen05Cp:
        "tcgen05.cp$CTA_GROUP(.128x256b|.4x256b|.128x128b){.b8x16.b6x16_p32|.b8x16.b4x16_p64}", has(Tcgen05, 8, 6);
        "tcgen05.cp$CTA_GROUP(.64x128b.warpx2::02_13|.64x128b.warpx2::01_23|.32x128b.warpx4){.b8x16.b6x16_p32|.b8x16.b4x16_p64}", has(Tcgen05, 8, 6);
    Tcgen05Shift:
        "tcgen05.shift$CTA_GROUP.down", has(TensorMemoryShift, 8, 6);
    Tcgen05Mma:
        "tcgen05.mma$CTA_GROUP(.kind::f16|.kind::tf32|.kind::f8f6f4){$COLLECTOR_A}", has(Tcgen05, 8, 6);
        "tcgen05.mma$CTA_GROUP(.kind::f16|.kind::tf32|.kind::f8f6f4).ashift{.collector::a::lastuse|.collector::a::discard}", has(Tcgen05, 8, 6);
        "tcgen05.mma$CTA_GROUP.kind::i8{$COLLECTOR_A}", has(Tcgen05Int8, 8, 6);
        "tcgen05.mma$CTA_GROUP.kind::i8.ashift{.collector::a::lastuse|.collector::a::discard}", has(Tcgen05Int8, 8, 6);
        "tcgen05.mma$CTA_GROUP(.kind::mxf8f6f4|.kind::mxf4).block_scale{$COLLECTOR_A}", has(Tcgen05, 8, 6);
        "tcgen05.mma$CTA_GROUP(.kind::mxf8f6f4|.kind::mxf4|.kind::mxf4nvf4).block_scale.block32{$COLLECTOR_A}", has(Tcgen05, 8, 8);
        "tcgen05.mma$CTA_GROUP.kind::mxf4nvf4.block_scale.block16{$COLLECTOR_A}", has(Tcgen05, 8, 8);
        "tcgen05.mma$CTA_GROUP(.kind::mxf8f6f4.block_scale.scale_vec::1X|.kind::mxf4.block_scale.scale_vec::2X){$COLLECTOR_A}", has(ScaleVectorSpelling, 8, 6);
        "tcgen05.mma$CTA_GROUP.kind::mxf4nvf4.block_scale(.scale_vec::2X|.scale_vec::4X){$COLLECTOR_A}", has(ScaleVectorSpelling, 8, 7);
    Tcgen05MmaSparse:
        "tcgen05.mma.sp$CTA_GROUP(.kind::f16|.kind::tf32|.kind::f8f6f4){$COLLECTOR_A}", has(Tcgen05, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP(.kind::f16|.kind::tf32|.kind::f8f6f4).ashift{.collector::a::lastuse|.collector::a::discard}", has(Tcgen05, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::i8{$COLLECTOR_A}", has(Tcgen05Int8, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::i8.ashift{.collector::a::lastuse|.collector::a::discard}", has(Tcgen05Int8, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::mxf8f6f4.block_scale{$COLLECTOR_A}", has(Tcgen05, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::mxf4.block_scale{$COLLECTOR_A}", has(SparseTcgen05Fp4, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::mxf8f6f4.block_scale.block32{$COLLECTOR_A}", has(Tcgen05, 8, 8);
        "tcgen05.mma.sp$CTA_GROUP(.kind::mxf4|.kind::mxf4nvf4).block_scale.block32{$COLLECTOR_A}", has(SparseTcgen05Fp4, 8, 8);
        "tcgen05.mma.sp$CTA_GROUP.kind::mxf4nvf4.block_scale.block16{$COLLECTOR_A}", has(SparseTcgen05Fp4, 8, 8);
        "tcgen05.mma.sp$CTA_GROUP(.kind::mxf8f6f4.block_scale.scale_vec::1X|.kind::mxf4.block_scale.scale_vec::2X){$COLLECTOR_A}", has(ScaleVectorSpelling, 8, 6);
        "tcgen05.mma.sp$CTA_GROUP.kind::mxf4nvf4.block_scale(.scale_vec::2X|.scale_vec::4X){$COLLECTOR_A}", has(ScaleVectorSpelling, 8, 7);
    Tcgen05MmaWs:
        "tcgen05.mma.ws.cta_group::1(.kind::f16|.kind::tf32|.kind::f8f6f4){$COLLECTOR_B}", has(Tcgen05, 8, 6);
        "tcgen05.mma.ws.cta_group::1.kind::i8{$COLLECTOR_B}", has(Tcgen05Int8, 8, 6);
    Tcgen05MmaWsSparse:
        "tcgen05.mma.ws.sp.cta_group::1(.kind::f16|.kind::tf32|.kind::f8f6f4){$COLLECTOR_B}", has(Tcgen05, 8, 6);
        "tcgen05.mma.ws.sp.cta_group::1.kind::i8{$COLLECTOR_B}", has(Tcgen05Int8, 8, 6);
    Tcgen05Commit:
        "tcgen05.commit$CTA_GROUP.mbarrier::arrive::one{.shared::cluster}{.multicast::cluster}.b64", has(Tcgen05, 8, 6);
    Tcgen05Fence:
        "tcgen05(.fence::before_thread_sync|.fence::after_thread_sync)", has(Tcgen05, 8, 6);
}
