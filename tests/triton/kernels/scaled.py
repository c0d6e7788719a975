"""Block-scaled products, `tl.dot_scaled`: MXFP8, MXFP4, NVFP4, mixed, and with one unscaled side."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, BLACKWELL, SUM_EXACT, Const, In, Launch, Near, Out, Scalar, case

E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6], dtype=np.float64)
E2M1 = np.concatenate([E2M1, -E2M1])


@triton.jit
def scaled(
    a, a_scale, b, b_scale, c, N, K,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, GROUP: tl.constexpr,
    A_FORMAT: tl.constexpr, B_FORMAT: tl.constexpr, A_PACK: tl.constexpr, B_PACK: tl.constexpr,
    A_SCALED: tl.constexpr, B_SCALED: tl.constexpr,
):  # fmt: skip
    """`c = a @ b.T`; both stored with K innermost, packed two to a byte when four bits wide, a scale for each GROUP of K."""
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        ka = start // A_PACK + tl.arange(0, BK // A_PACK)
        kb = start // B_PACK + tl.arange(0, BK // B_PACK)
        ks = start // GROUP + tl.arange(0, BK // GROUP)
        x = tl.load(a + m[:, None] * (K // A_PACK) + ka[None, :])
        y = tl.load(b + n[None, :] * (K // B_PACK) + kb[:, None])
        x_scale = tl.load(a_scale + m[:, None] * (K // GROUP) + ks[None, :]) if A_SCALED else None
        y_scale = tl.load(b_scale + n[:, None] * (K // GROUP) + ks[None, :]) if B_SCALED else None
        acc = tl.dot_scaled(x, x_scale, A_FORMAT, y, y_scale, B_FORMAT, acc)
    tl.store(c + m[:, None] * N + n[None, :], acc)


def operand(rng, rows, k, form):
    """Stored array and the values it means. Values are few and coarse, so that sums stay exact in f32."""
    if form == "e2m1":
        codes = rng.integers(0, 16, (rows, k)).astype(np.uint8)
        return (codes[:, 0::2] | (codes[:, 1::2] << 4)).astype(np.uint8), E2M1[codes]
    values = rng.integers(-8, 9, (rows, k)) * 0.25
    dtype = {
        "e4m3": ml_dtypes.float8_e4m3fn,
        "e5m2": ml_dtypes.float8_e5m2,
        "bf16": ml_dtypes.bfloat16,
        "fp16": np.float16,
    }[form]
    if form == "e5m2":
        values = rng.integers(-4, 5, (rows, k)) * 0.5
    stored = values.astype(dtype)
    return stored, stored.astype(np.float64)


def scales(rng, rows, groups, group):
    """A power of two for groups of 32 (bits of UE8M0), a small E4M3 number for groups of 16."""
    if group == 32:
        exponents = rng.integers(-2, 3, (rows, groups))
        return (exponents + 127).astype(np.uint8), np.exp2(exponents)
    values = rng.choice([0.5, 1.0, 1.5, 2.0, 3.0], (rows, groups))
    return values.astype(ml_dtypes.float8_e4m3fn), values


def scaled_case(name, a_form, b_form, shape, block, group=32, targets=ALL, a_scaled=True, b_scaled=True, **options):
    @case(f"dot_scaled_{name}", targets=targets, **options)
    def _(rng):
        m, n, k = shape
        a, a_values = operand(rng, m, k, a_form)
        b, b_values = operand(rng, n, k, b_form)
        a_scale, a_factor = scales(rng, m, k // group, group)
        b_scale, b_factor = scales(rng, n, k // group, group)
        left = a_values * np.repeat(a_factor, group, axis=1) if a_scaled else a_values
        right = b_values * np.repeat(b_factor, group, axis=1) if b_scaled else b_values
        args = dict(a=In(a), a_scale=In(a_scale), b=In(b), b_scale=In(b_scale))
        args |= dict(c=Out((left @ right.T).astype(np.float32), SUM_EXACT))
        size = lambda value: Scalar("i32", value, divisible=True)
        bm, bn, bk = block
        args |= dict(N=size(n), K=size(k), BM=Const(bm), BN=Const(bn), BK=Const(bk), GROUP=Const(group))
        pack = lambda form: Const(2 if form == "e2m1" else 1)
        args |= dict(A_FORMAT=Const(a_form), B_FORMAT=Const(b_form), A_PACK=pack(a_form), B_PACK=pack(b_form))
        return Launch(scaled, (m // bm, n // bn), args | dict(A_SCALED=Const(a_scaled), B_SCALED=Const(b_scaled)))


TILE = ((128, 128, 256), (128, 128, 128))
scaled_case("mxfp8", "e4m3", "e4m3", *TILE, num_warps=4, num_stages=2)
scaled_case("mxfp8_wide", "e5m2", "e4m3", (128, 64, 128), (128, 64, 128), targets=BLACKWELL, num_warps=4, num_stages=2)
scaled_case("mxfp4", "e2m1", "e2m1", *TILE, num_warps=4, num_stages=2)
scaled_case("nvfp4", "e2m1", "e2m1", *TILE, group=16, targets=BLACKWELL, num_warps=4, num_stages=2)
scaled_case("mixed", "e4m3", "e2m1", (128, 64, 128), (128, 64, 128), num_warps=4, num_stages=2)
scaled_case("mixed_other", "e2m1", "e5m2", (128, 64, 128), (128, 64, 128), targets=(100,), num_warps=4, num_stages=2)
scaled_case("small", "e4m3", "e4m3", (32, 32, 64), (32, 32, 64), targets=(90, 120), num_warps=1, num_stages=2)
scaled_case("mxfp8_8_warps", "e4m3", "e4m3", (128, 128, 128), (128, 128, 128), targets=BLACKWELL, num_warps=8, num_stages=2)
scaled_case("bf16_mxfp4", "bf16", "e2m1", (64, 64, 128), (64, 64, 64), a_scaled=False, num_warps=4, num_stages=2)
scaled_case("f16_mxfp8", "fp16", "e4m3", (64, 64, 64), (64, 64, 64), targets=(90, 100), a_scaled=False, num_warps=4, num_stages=2)
