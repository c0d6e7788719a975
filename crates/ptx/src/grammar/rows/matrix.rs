//! Matrix multiply by warps and warpgroups, and its loads and stores.
//!
//! In a shape, `N` stands for every multiple of 8 up to 256, and `I` for those that integer operands have.

use super::{has, rows, sm};
use crate::target::Feature::{BlockScaledMma, NarrowMatrixLoad, Tcgen05, Wgmma};

rows! {
    Ldmatrix:
        "ldmatrix.sync.aligned.m8n8(.x1|.x2|.x4){.trans}{.shared|.shared::cta}.b16", sm(75, 6, 5);
        "ldmatrix.sync.aligned.m8n16(.x1|.x2|.x4){.shared|.shared::cta}.b8x16(.b6x16_p32|.b4x16_p64)", has(NarrowMatrixLoad, 8, 6);
        "ldmatrix.sync.aligned.m16n16(.x1|.x2).trans{.shared|.shared::cta}(.b8|.b8x16.b6x16_p32|.b8x16.b4x16_p64)", has(NarrowMatrixLoad, 8, 6);
    Stmatrix:
        "stmatrix.sync.aligned.m8n8(.x1|.x2|.x4){.trans}{.shared|.shared::cta}.b16", sm(90, 7, 8);
        "stmatrix.sync.aligned.m16n8(.x1|.x2|.x4).trans{.shared|.shared::cta}.b8", has(NarrowMatrixLoad, 8, 6);
    Movmatrix:
        "movmatrix.sync.aligned.m8n8.trans.b16", sm(75, 7, 8);
    Mma:
        "mma.sync.aligned.m8n8k4(.row|.col)(.row|.col)(.f16|.f32).f16.f16(.f16|.f32)", sm(70, 6, 4);
        "mma.sync.aligned.m16n8k8.row.col(.f16|.f32).f16.f16(.f16|.f32)", sm(75, 6, 5);
        "mma.sync.aligned.m16n8k16.row.col(.f16|.f32).f16.f16(.f16|.f32)", sm(80, 7, 0);
        "mma.sync.aligned(.m16n8k8|.m16n8k16).row.col.f32.bf16.bf16.f32", sm(80, 7, 0);
        "mma.sync.aligned(.m16n8k4|.m16n8k8).row.col.f32.tf32.tf32.f32", sm(80, 7, 0);
        "mma.sync.aligned.m8n8k4.row.col{$RND}.f64.f64.f64.f64", sm(80, 7, 0);
        "mma.sync.aligned(.m16n8k4|.m16n8k8|.m16n8k16).row.col{$RND}.f64.f64.f64.f64", sm(90, 7, 8);
        "mma.sync.aligned.m16n8k32.row.col.f32(.e4m3|.e5m2)(.e4m3|.e5m2).f32", sm(89, 8, 4);
        "mma.sync.aligned(.m16n8k16|.m16n8k32).row.col(.f16|.f32)(.e4m3|.e5m2)(.e4m3|.e5m2)(.f16|.f32)", sm(89, 8, 7);
        "mma.sync.aligned.m8n8k16.row.col{.satfinite}.s32(.u8|.s8)(.u8|.s8).s32", sm(75, 6, 5);
        "mma.sync.aligned(.m16n8k16|.m16n8k32).row.col{.satfinite}.s32(.u8|.s8)(.u8|.s8).s32", sm(80, 7, 0);
        "mma.sync.aligned.m8n8k32.row.col{.satfinite}.s32(.u4|.s4)(.u4|.s4).s32", sm(75, 6, 5);
        "mma.sync.aligned(.m16n8k32|.m16n8k64).row.col{.satfinite}.s32(.u4|.s4)(.u4|.s4).s32", sm(80, 7, 0);
        "mma.sync.aligned.m8n8k128.row.col.s32.b1.b1.s32.xor.popc", sm(75, 7, 0);
        "mma.sync.aligned(.m16n8k128|.m16n8k256).row.col.s32.b1.b1.s32.xor.popc", sm(80, 7, 0);
        "mma.sync.aligned(.m8n8k128|.m16n8k128|.m16n8k256).row.col.s32.b1.b1.s32.and.popc", sm(80, 7, 1);
        "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4(.f16|.f32)$F8F6F4$F8F6F4(.f16|.f32)", has(BlockScaledMma, 8, 7);
        "mma.sync.aligned.m16n8k32.row.col.kind::f8f6f4(.f16|.f32)(.e4m3|.e5m2)(.e4m3|.e5m2)(.f16|.f32)", has(Tcgen05, 8, 7);
        "mma.sync.aligned.m16n8k32.row.col.kind::mxf8f6f4.block_scale{.scale_vec::1X}.f32$F8F6F4$F8F6F4.f32.ue8m0", has(BlockScaledMma, 8, 7);
        "mma.sync.aligned.m16n8k64.row.col(.kind::mxf4.block_scale|.kind::mxf4.block_scale.scale_vec::2X|.kind::mxf4nvf4.block_scale.scale_vec::2X).f32.e2m1.e2m1.f32.ue8m0", has(BlockScaledMma, 8, 7);
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3", has(BlockScaledMma, 8, 7);
        "mma.sync.aligned.m16n8k64.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue8m0", has(BlockScaledMma, 9, 1);
    MmaSparse:
        "mma.sp.sync.aligned(.m16n8k16|.m16n8k32).row.col(.f16|.f32).f16.f16(.f16|.f32)", sm(80, 7, 1);
        "mma.sp.sync.aligned(.m16n8k16|.m16n8k32).row.col.f32.bf16.bf16.f32", sm(80, 7, 1);
        "mma.sp.sync.aligned(.m16n8k8|.m16n8k16).row.col.f32.tf32.tf32.f32", sm(80, 7, 1);
        "mma.sp.sync.aligned(.m16n8k32|.m16n8k64).row.col{.satfinite}.s32(.u8|.s8)(.u8|.s8).s32", sm(80, 7, 1);
        "mma.sp.sync.aligned(.m16n8k64|.m16n8k128).row.col{.satfinite}.s32(.u4|.s4)(.u4|.s4).s32", sm(80, 7, 1);
        "mma.sp.sync.aligned.m16n8k64.row.col.f32(.e4m3|.e5m2)(.e4m3|.e5m2).f32", sm(89, 8, 4);
        "mma.sp::ordered_metadata.sync.aligned(.m16n8k16|.m16n8k32).row.col(.f16|.f32).f16.f16(.f16|.f32)", sm(80, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned(.m16n8k16|.m16n8k32).row.col.f32.bf16.bf16.f32", sm(80, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned(.m16n8k8|.m16n8k16).row.col.f32.tf32.tf32.f32", sm(80, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned(.m16n8k32|.m16n8k64).row.col{.satfinite}.s32(.u8|.s8)(.u8|.s8).s32", sm(80, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned(.m16n8k64|.m16n8k128).row.col{.satfinite}.s32(.u4|.s4)(.u4|.s4).s32", sm(80, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.f32(.e4m3|.e5m2)(.e4m3|.e5m2).f32", sm(89, 8, 5);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col(.f16|.f32)(.e4m3|.e5m2)(.e4m3|.e5m2)(.f16|.f32)", sm(89, 8, 7);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.kind::f8f6f4(.f16|.f32)$F8F6F4$F8F6F4(.f16|.f32)", has(BlockScaledMma, 8, 7);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k64.row.col.kind::mxf8f6f4.block_scale{.scale_vec::1X}.f32$F8F6F4$F8F6F4.f32.ue8m0", has(BlockScaledMma, 8, 7);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k128.row.col(.kind::mxf4.block_scale|.kind::mxf4.block_scale.scale_vec::2X|.kind::mxf4nvf4.block_scale.scale_vec::2X).f32.e2m1.e2m1.f32.ue8m0", has(BlockScaledMma, 8, 7);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k128.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue4m3", has(BlockScaledMma, 8, 7);
        "mma.sp::ordered_metadata.sync.aligned.m16n8k128.row.col.kind::mxf4nvf4.block_scale.scale_vec::4X.f32.e2m1.e2m1.f32.ue8m0", has(BlockScaledMma, 9, 1);
    WmmaLoad:
        "wmma.load(.a|.b).sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}.f16", sm(70, 6, 1);
        "wmma.load.c.sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}(.f16|.f32)", sm(70, 6, 1);
        "wmma.load(.a|.b).sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}(.u8|.s8)", sm(72, 6, 3);
        "wmma.load.c.sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}.s32", sm(72, 6, 3);
        "wmma.load(.a|.b|.c).sync.aligned(.row|.col)(.m8n8k32|.m8n8k128){$ATOM_SPACE}(.u4|.s4|.b1|.s32)", sm(75, 6, 3);
        "wmma.load(.a|.b).sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}.bf16", sm(80, 7, 0);
        "wmma.load(.a|.b|.c).sync.aligned(.row|.col).m16n16k8{$ATOM_SPACE}(.tf32|.f32)", sm(80, 7, 0);
        "wmma.load(.a|.b|.c).sync.aligned(.row|.col).m8n8k4{$ATOM_SPACE}.f64", sm(80, 7, 0);
    WmmaStore:
        "wmma.store.d.sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}(.f16|.f32)", sm(70, 6, 1);
        "wmma.store.d.sync.aligned(.row|.col)$WMMA_SHAPE{$ATOM_SPACE}.s32", sm(72, 6, 3);
        "wmma.store.d.sync.aligned(.row|.col)(.m8n8k32|.m8n8k128){$ATOM_SPACE}.s32", sm(75, 6, 3);
        "wmma.store.d.sync.aligned(.row|.col).m16n16k8{$ATOM_SPACE}.f32", sm(80, 7, 0);
        "wmma.store.d.sync.aligned(.row|.col).m8n8k4{$ATOM_SPACE}.f64", sm(80, 7, 0);
    WmmaMma:
        "wmma.mma.sync.aligned(.row|.col)(.row|.col)$WMMA_SHAPE(.f16|.f32)(.f16|.f32){.satfinite}", sm(70, 6, 1);
        "wmma.mma.sync.aligned(.row|.col)(.row|.col)$WMMA_SHAPE.s32(.u8|.s8)(.u8|.s8).s32{.satfinite}", sm(72, 6, 3);
        "wmma.mma.sync.aligned(.row|.col)(.row|.col)$WMMA_SHAPE.f32.bf16.bf16.f32", sm(80, 7, 0);
        "wmma.mma.sync.aligned(.row|.col)(.row|.col).m16n16k8.f32.tf32.tf32.f32", sm(80, 7, 0);
        "wmma.mma.sync.aligned(.row|.col)(.row|.col).m8n8k4{$RND}.f64.f64.f64.f64", sm(80, 7, 0);
        "wmma.mma.sync.aligned.row.col.m8n8k32.s32(.u4|.s4)(.u4|.s4).s32{.satfinite}", sm(75, 6, 3);
        "wmma.mma.xor.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32", sm(75, 6, 3);
        "wmma.mma.and.popc.sync.aligned.row.col.m8n8k128.s32.b1.b1.s32", sm(80, 7, 1);
    WgmmaFence:
        "wgmma.fence.sync.aligned", has(Wgmma, 8, 0);
    WgmmaCommitGroup:
        "wgmma.commit_group.sync.aligned", has(Wgmma, 8, 0);
    WgmmaWaitGroup:
        "wgmma.wait_group.sync.aligned", has(Wgmma, 8, 0);
    WgmmaMma:
        "wgmma.mma_async.sync.aligned.m64nNk16(.f16|.f32).f16.f16", has(Wgmma, 8, 0);
        "wgmma.mma_async.sync.aligned.m64nNk16.f32.bf16.bf16", has(Wgmma, 8, 0);
        "wgmma.mma_async.sync.aligned.m64nNk8.f32.tf32.tf32", has(Wgmma, 8, 0);
        "wgmma.mma_async.sync.aligned.m64nNk32(.f16|.f32)(.e4m3|.e5m2)(.e4m3|.e5m2)", has(Wgmma, 8, 0);
        "wgmma.mma_async.sync.aligned.m64nIk32{.satfinite}.s32(.u8.u8|.s8.s8)", has(Wgmma, 8, 0);
        "wgmma.mma_async.sync.aligned.m64nIk32{.satfinite}.s32(.u8.s8|.s8.u8)", has(Wgmma, 8, 4);
        "wgmma.mma_async.sync.aligned.m64nIk256.s32.b1.b1.and.popc", has(Wgmma, 8, 0);
    WgmmaMmaSparse:
        "wgmma.mma_async.sp.sync.aligned.m64nNk32(.f16|.f32).f16.f16", has(Wgmma, 8, 2);
        "wgmma.mma_async.sp.sync.aligned.m64nNk32.f32.bf16.bf16", has(Wgmma, 8, 2);
        "wgmma.mma_async.sp.sync.aligned.m64nNk16.f32.tf32.tf32", has(Wgmma, 8, 2);
        "wgmma.mma_async.sp.sync.aligned.m64nNk64(.f16|.f32)(.e4m3|.e5m2)(.e4m3|.e5m2)", has(Wgmma, 8, 2);
        "wgmma.mma_async.sp.sync.aligned.m64nIk64{.satfinite}.s32(.u8.u8|.s8.s8)", has(Wgmma, 8, 2);
        "wgmma.mma_async.sp.sync.aligned.m64nIk64{.satfinite}.s32(.u8.s8|.s8.u8)", has(Wgmma, 8, 4);
}
