//! Warp-wide matrix instructions: `ldmatrix`, `stmatrix`, `mma.sync`.
//!
//! Lane `l` with `g = l / 4`, `t = l % 4` holds of an m16n8 accumulator the elements (g, 2t), (g, 2t+1), (g+8, 2t),
//! (g+8, 2t+1). All lanes of the warp must execute these together, at the same place.

use super::columns::*;
use crate::meaning::Element::{Bf16 as BF, E4m3, E5m2, F16 as H, F32 as S, S8 as I, S32 as W, Tf32 as T, U8 as UI};
use crate::meaning::{Element, MatrixMultiply as Shape, Meaning};
use crate::operand::Shared;

/// `m16n8k` with the element types of a, b and the accumulator.
const fn m16n8(k: u8, a: Element, b: Element, accumulator: Element) -> Meaning {
    MatrixMultiply(Shape { m: 16, n: 8, k, a, b, accumulator })
}

super::forms! {
    { "warp-level-matrix-instructions-ldmatrix", LoadStore, WarpReadsShared, from(75, 6, 5) }
    ldmatrix_x1(B32x1 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x1.shared.b16" => LoadMatrix { count: 1, transposed: false };
    ldmatrix_x2(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x2.shared.b16" => LoadMatrix { count: 2, transposed: false };
    ldmatrix_x4(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x4.shared.b16" => LoadMatrix { count: 4, transposed: false };
    ldmatrix_x1_trans(B32x1 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x1.trans.shared.b16" => LoadMatrix { count: 1, transposed: true };
    ldmatrix_x2_trans(B32x2 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16" => LoadMatrix { count: 2, transposed: true };
    ldmatrix_x4_trans(B32x4 <- address: Shared) = "ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16" => LoadMatrix { count: 4, transposed: true };

    { "warp-level-matrix-instructions-stmatrix", LoadStore, WarpWritesShared, from(90, 7, 8) }
    stmatrix_x1(Nothing <- address: Shared, value: RegB32x1) = "stmatrix.sync.aligned.m8n8.x1.shared.b16" => StoreMatrix { count: 1, transposed: false };
    stmatrix_x2(Nothing <- address: Shared, value: RegB32x2) = "stmatrix.sync.aligned.m8n8.x2.shared.b16" => StoreMatrix { count: 2, transposed: false };
    stmatrix_x4(Nothing <- address: Shared, value: RegB32x4) = "stmatrix.sync.aligned.m8n8.x4.shared.b16" => StoreMatrix { count: 4, transposed: false };
    stmatrix_x1_trans(Nothing <- address: Shared, value: RegB32x1) = "stmatrix.sync.aligned.m8n8.x1.trans.shared.b16" => StoreMatrix { count: 1, transposed: true };
    stmatrix_x2_trans(Nothing <- address: Shared, value: RegB32x2) = "stmatrix.sync.aligned.m8n8.x2.trans.shared.b16" => StoreMatrix { count: 2, transposed: true };
    stmatrix_x4_trans(Nothing <- address: Shared, value: RegB32x4) = "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16" => StoreMatrix { count: 4, transposed: true };

    { "warp-level-matrix-instructions-mma", Tensor, WarpSync, from(75, 6, 5) }
    mma_m16n8k8_f32_f16(F32x4 <- a: RegB32x2, b: RegB32x1, c: RegF32x4) = "mma.sync.aligned.m16n8k8.row.col.f32.f16.f16.f32" => m16n8(8, H, H, S);
    mma_m16n8k8_f16_f16(B32x2 <- a: RegB32x2, b: RegB32x1, c: RegB32x2) = "mma.sync.aligned.m16n8k8.row.col.f16.f16.f16.f16" => m16n8(8, H, H, H);

    { "warp-level-matrix-instructions-mma", Tensor, WarpSync, from(80, 7, 0) }
    mma_m16n8k8_f32_bf16(F32x4 <- a: RegB32x2, b: RegB32x1, c: RegF32x4) = "mma.sync.aligned.m16n8k8.row.col.f32.bf16.bf16.f32" => m16n8(8, BF, BF, S);
    mma_m16n8k16_f32_f16(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32" => m16n8(16, H, H, S);
    mma_m16n8k16_f32_bf16(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32" => m16n8(16, BF, BF, S);
    mma_m16n8k16_f16_f16(B32x2 <- a: RegB32x4, b: RegB32x2, c: RegB32x2) = "mma.sync.aligned.m16n8k16.row.col.f16.f16.f16.f16" => m16n8(16, H, H, H);
    mma_m16n8k4_f32_tf32(F32x4 <- a: RegB32x2, b: RegB32x1, c: RegF32x4) = "mma.sync.aligned.m16n8k4.row.col.f32.tf32.tf32.f32" => m16n8(4, T, T, S);
    mma_m16n8k8_f32_tf32(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32" => m16n8(8, T, T, S);
    mma_m16n8k16_s32_s8(B32x4 <- a: RegB32x2, b: RegB32x1, c: RegB32x4) = "mma.sync.aligned.m16n8k16.row.col.s32.s8.s8.s32" => m16n8(16, I, I, W);
    mma_m16n8k32_s32_s8(B32x4 <- a: RegB32x4, b: RegB32x2, c: RegB32x4) = "mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32" => m16n8(32, I, I, W);
    mma_m16n8k32_s32_u8_s8(B32x4 <- a: RegB32x4, b: RegB32x2, c: RegB32x4) = "mma.sync.aligned.m16n8k32.row.col.s32.u8.s8.s32" => m16n8(32, UI, I, W);
    mma_m16n8k32_s32_s8_u8(B32x4 <- a: RegB32x4, b: RegB32x2, c: RegB32x4) = "mma.sync.aligned.m16n8k32.row.col.s32.s8.u8.s32" => m16n8(32, I, UI, W);
    mma_m16n8k32_s32_u8(B32x4 <- a: RegB32x4, b: RegB32x2, c: RegB32x4) = "mma.sync.aligned.m16n8k32.row.col.s32.u8.u8.s32" => m16n8(32, UI, UI, W);

    // sm_90 and sm_100 have no such unit: `ptxas` converts to f16 there.
    { "warp-level-matrix-instructions-mma", Tensor, WarpSync, from(89, 8, 4) }
    mma_m16n8k32_f32_e4m3(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e4m3.f32" => m16n8(32, E4m3, E4m3, S);
    mma_m16n8k32_f32_e5m2(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e5m2.f32" => m16n8(32, E5m2, E5m2, S);
    mma_m16n8k32_f32_e4m3_e5m2(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k32.row.col.f32.e4m3.e5m2.f32" => m16n8(32, E4m3, E5m2, S);
    mma_m16n8k32_f32_e5m2_e4m3(F32x4 <- a: RegB32x4, b: RegB32x2, c: RegF32x4) = "mma.sync.aligned.m16n8k32.row.col.f32.e5m2.e4m3.f32" => m16n8(32, E5m2, E4m3, S);

    { "warp-level-matrix-instructions-mma", Tensor, WarpSync, from(89, 8, 7) }
    mma_m16n8k32_f16_e4m3(B32x2 <- a: RegB32x4, b: RegB32x2, c: RegB32x2) = "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e4m3.f16" => m16n8(32, E4m3, E4m3, H);
    mma_m16n8k32_f16_e5m2(B32x2 <- a: RegB32x4, b: RegB32x2, c: RegB32x2) = "mma.sync.aligned.m16n8k32.row.col.f16.e5m2.e5m2.f16" => m16n8(32, E5m2, E5m2, H);
    mma_m16n8k32_f16_e4m3_e5m2(B32x2 <- a: RegB32x4, b: RegB32x2, c: RegB32x2) = "mma.sync.aligned.m16n8k32.row.col.f16.e4m3.e5m2.f16" => m16n8(32, E4m3, E5m2, H);
    mma_m16n8k32_f16_e5m2_e4m3(B32x2 <- a: RegB32x4, b: RegB32x2, c: RegB32x2) = "mma.sync.aligned.m16n8k32.row.col.f16.e5m2.e4m3.f16" => m16n8(32, E5m2, E4m3, H);
}
