"""Matrix products: by pointer, by descriptor, persistent, warp-specialised, narrow types, block-scaled, split."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, BLACKWELL, SUM_EXACT, Const, Descriptor, In, InOut, Launch, Near, Out, Scalar, case, coarse, matmul_exact

F8 = ml_dtypes.float8_e4m3fn
F8_WIDE = ml_dtypes.float8_e5m2
BF16 = ml_dtypes.bfloat16


@triton.jit
def by_pointer(
    a, b, c, M, N, K, stride_am, stride_ak, stride_bk, stride_bn, stride_cm,
    BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, PRECISION: tl.constexpr, ACC: tl.constexpr,
):  # fmt: skip
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    k = tl.arange(0, BK)
    a_at = a + m[:, None] * stride_am + k[None, :] * stride_ak
    b_at = b + k[:, None] * stride_bk + n[None, :] * stride_bn
    acc = tl.zeros((BM, BN), dtype=ACC)
    for start in range(0, K, BK):
        x = tl.load(a_at, mask=(m[:, None] < M) & (k[None, :] + start < K), other=0.0)
        y = tl.load(b_at, mask=(n[None, :] < N) & (k[:, None] + start < K), other=0.0)
        acc = tl.dot(x, y, acc, input_precision=PRECISION, out_dtype=ACC)
        a_at += BK * stride_ak
        b_at += BK * stride_bk
    tl.store(c + m[:, None] * stride_cm + n[None, :], acc.to(c.dtype.element_ty), mask=(m[:, None] < M) & (n[None, :] < N))


def pointer_case(
    name, operand, result, shape, block, targets=ALL, a_major="k", b_major="n", precision="tf32", accumulator=tl.float32,
    step=0.125, most=8, near=SUM_EXACT, **options,
):  # fmt: skip
    @case(f"matmul_{name}", targets=targets, **options)
    def _(rng):
        m, n, k = shape
        a, b = coarse(rng, (m, k), operand, step, most), coarse(rng, (k, n), operand, step, most)
        exact = matmul_exact(a, b)
        expected = exact.astype(result) if np.dtype(result).kind != "i" else exact.astype(np.int64).astype(result)
        a_stored = a if a_major == "k" else np.ascontiguousarray(a.T)
        b_stored = b if b_major == "n" else np.ascontiguousarray(b.T)
        # A stride of one is a constant for Triton, as it is when its own launcher sees the number.
        stride = lambda value: Const(1) if value == 1 else Scalar("i32", value, divisible=value % 16 == 0)
        size = lambda value: Scalar("i32", value, divisible=value % 16 == 0)
        args = dict(a=In(a_stored), b=In(b_stored), c=Out(expected, near), M=size(m), N=size(n), K=size(k))
        args |= dict(stride_am=stride(k if a_major == "k" else 1), stride_ak=stride(1 if a_major == "k" else m))
        args |= dict(stride_bk=stride(n if b_major == "n" else 1), stride_bn=stride(1 if b_major == "n" else k))
        bm, bn, bk = block
        args |= dict(stride_cm=stride(n), BM=Const(bm), BN=Const(bn), BK=Const(bk))
        args |= dict(PRECISION=Const(precision), ACC=Const(accumulator))
        return Launch(by_pointer, (-(-m // bm), -(-n // bn)), args)


I8_INTEGERS = dict(step=1, most=100, accumulator=tl.int32)
pointer_case("f16", np.float16, np.float16, (128, 128, 128), (64, 64, 32), num_warps=4, num_stages=3, near=Near(
    1e-3, 0.0, "sums are exact in f32, the result is rounded once to f16"))
pointer_case("f16_one_stage", np.float16, np.float32, (64, 64, 64), (64, 64, 32), targets=(90, 100), num_warps=4, num_stages=1)
pointer_case("f16_8_warps", np.float16, np.float32, (128, 128, 64), (128, 128, 32), targets=(90, 100), num_warps=8, num_stages=4)
pointer_case("f16_ragged", np.float16, np.float32, (70, 50, 40), (64, 32, 32), num_warps=4, num_stages=2)
pointer_case("f16_a_transposed", np.float16, np.float32, (64, 64, 64), (64, 64, 64), a_major="m", num_warps=4, num_stages=2)
pointer_case("bf16_b_transposed", BF16, np.float32, (64, 128, 64), (64, 64, 32), b_major="k", num_warps=4, num_stages=3)
pointer_case("f16_small_tile", np.float16, np.float32, (32, 32, 32), (16, 16, 16), num_warps=1, num_stages=2)
pointer_case("f16_accumulator_f16", np.float16, np.float16, (64, 64, 32), (64, 64, 32), targets=(90, 120), num_warps=4,
             num_stages=2, accumulator=tl.float16, step=1, most=4)
pointer_case("tf32", np.float32, np.float32, (64, 64, 64), (64, 64, 32), num_warps=4, num_stages=2)
pointer_case("f32_three_tf32", np.float32, np.float32, (64, 32, 32), (64, 32, 32), num_warps=4, precision="tf32x3")
pointer_case("f32_ieee", np.float32, np.float32, (32, 32, 32), (32, 32, 32), num_warps=4, precision="ieee")
pointer_case("f32_three_bf16", np.float32, np.float32, (64, 32, 32), (64, 32, 32), targets=(90, 120), num_warps=4,
             precision="bf16x3")
pointer_case("e4m3", F8, np.float32, (64, 64, 128), (64, 64, 64), b_major="k", num_warps=4, num_stages=2, step=0.25, most=8)
pointer_case("e5m2", F8_WIDE, np.float16, (64, 64, 64), (64, 64, 64), b_major="k", num_warps=4, num_stages=2, step=0.5, most=4)
pointer_case("i8", np.int8, np.int32, (64, 64, 64), (64, 64, 32), num_warps=4, num_stages=2, b_major="k", **I8_INTEGERS)
pointer_case("f64", np.float64, np.float64, (32, 32, 32), (32, 32, 16), num_warps=4, num_stages=2, accumulator=tl.float64)
pointer_case("f16_cluster", np.float16, np.float32, (128, 128, 64), (128, 128, 32), targets=(90,), num_warps=4, num_stages=2,
             num_ctas=2)
pointer_case("f16_cluster_blackwell", np.float16, np.float16, (256, 128, 64), (256, 128, 32), targets=(100,), num_warps=4,
             num_stages=2, num_ctas=2, near=Near(1e-3, 0.0, "sums are exact in f32, the result is rounded once to f16"))


@triton.jit
def by_device_descriptor(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, TRANSPOSED: tl.constexpr):
    a_tiles = tl.make_tensor_descriptor(a, shape=[M, K], strides=[K, 1], block_shape=[BM, BK])
    if TRANSPOSED:
        b_tiles = tl.make_tensor_descriptor(b, shape=[N, K], strides=[K, 1], block_shape=[BN, BK])
    else:
        b_tiles = tl.make_tensor_descriptor(b, shape=[K, N], strides=[N, 1], block_shape=[BK, BN])
    c_tiles = tl.make_tensor_descriptor(c, shape=[M, N], strides=[N, 1], block_shape=[BM, BN])
    m = tl.program_id(0) * BM
    n = tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        x = a_tiles.load([m, k])
        if TRANSPOSED:
            y = b_tiles.load([n, k]).T
        else:
            y = b_tiles.load([k, n])
        acc = tl.dot(x, y, acc)
    c_tiles.store([m, n], acc.to(c.dtype.element_ty))


def descriptor_case(name, operand, result, shape, block, targets=ALL, transposed=False, near=SUM_EXACT, **options):
    @case(f"matmul_device_descriptor_{name}", targets=targets, **options)
    def _(rng):
        m, n, k = shape
        a, b = coarse(rng, (m, k), operand), coarse(rng, (k, n), operand)
        expected = matmul_exact(a, b).astype(result)
        b_stored = np.ascontiguousarray(b.T) if transposed else b
        size = lambda value: Scalar("i32", value, divisible=value % 16 == 0)
        args = dict(a=In(a), b=In(b_stored), c=Out(expected, near), M=size(m), N=size(n), K=size(k))
        bm, bn, bk = block
        args |= dict(BM=Const(bm), BN=Const(bn), BK=Const(bk), TRANSPOSED=Const(transposed))
        return Launch(by_device_descriptor, (-(-m // bm), -(-n // bn)), args)


ROUND_F16 = Near(1e-3, 0.0, "sums are exact in f32, the result is rounded once to f16")
descriptor_case("f16", np.float16, np.float16, (128, 128, 128), (64, 64, 64), num_warps=4, num_stages=3, near=ROUND_F16)
descriptor_case("bf16_transposed", BF16, np.float32, (128, 64, 96), (64, 64, 32), transposed=True, num_warps=4, num_stages=2)
descriptor_case("e4m3", F8, np.float32, (64, 64, 128), (64, 64, 64), transposed=True, num_warps=4, num_stages=3)
descriptor_case("ragged", np.float16, np.float32, (72, 56, 72), (64, 32, 32), num_warps=4, num_stages=2)
descriptor_case("128", BF16, np.float32, (128, 128, 128), (128, 128, 64), targets=(90, 100), num_warps=8, num_stages=3)
descriptor_case("tf32", np.float32, np.float32, (64, 64, 64), (64, 64, 32), num_warps=4, num_stages=2)


@triton.jit
def by_host_descriptor(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM
    n = tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in range(0, K, BK):
        acc = tl.dot(a.load([m, k]), b.load([k, n]), acc)
    c.store([m, n], acc.to(c.dtype))


def host_descriptor_case(name, operand, result, shape, block, targets=ALL, near=SUM_EXACT, **options):
    @case(f"matmul_host_descriptor_{name}", targets=targets, **options)
    def _(rng):
        m, n, k = shape
        bm, bn, bk = block
        a, b = coarse(rng, (m, k), operand), coarse(rng, (k, n), operand)
        expected = matmul_exact(a, b).astype(result)
        args = dict(a=Descriptor(In(a), [bm, bk]), b=Descriptor(In(b), [bk, bn]), c=Descriptor(Out(expected, near), [bm, bn]))
        args |= dict(K=Scalar("i32", k), BM=Const(bm), BN=Const(bn), BK=Const(bk))
        return Launch(by_host_descriptor, (-(-m // bm), -(-n // bn)), args)


host_descriptor_case("f16", np.float16, np.float16, (128, 64, 128), (64, 64, 32), num_warps=4, num_stages=3, near=ROUND_F16)
host_descriptor_case("bf16_128", BF16, np.float32, (128, 128, 64), (128, 128, 64), targets=(90, 100), num_warps=4, num_stages=2)
host_descriptor_case("cluster", np.float16, np.float16, (256, 128, 64), (256, 128, 64), targets=(90, 100), num_warps=4,
                     num_stages=2, num_ctas=2, near=ROUND_F16)


@triton.jit
def persistent(
    a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SPECIALIZED: tl.constexpr, FLATTEN: tl.constexpr,
    SUBTILE: tl.constexpr,
):  # fmt: skip
    a_tiles = tl.make_tensor_descriptor(a, shape=[M, K], strides=[K, 1], block_shape=[BM, BK])
    b_tiles = tl.make_tensor_descriptor(b, shape=[N, K], strides=[K, 1], block_shape=[BN, BK])
    c_tiles = tl.make_tensor_descriptor(c, shape=[M, N], strides=[N, 1], block_shape=[BM, BN if not SUBTILE else BN // 2])
    columns = tl.cdiv(N, BN)
    tiles = tl.cdiv(M, BM) * columns
    for tile in tl.range(tl.program_id(0), tiles, tl.num_programs(0), flatten=FLATTEN, warp_specialize=SPECIALIZED):
        m = (tile // columns) * BM
        n = (tile % columns) * BN
        acc = tl.zeros((BM, BN), dtype=tl.float32)
        for k in range(0, K, BK):
            acc = tl.dot(a_tiles.load([m, k]), b_tiles.load([n, k]).T, acc)
        if SUBTILE:
            halves = tl.permute(tl.reshape(acc, (BM, 2, BN // 2)), (0, 2, 1))
            left, right = tl.split(halves)
            c_tiles.store([m, n], left.to(c.dtype.element_ty))
            c_tiles.store([m, n + BN // 2], right.to(c.dtype.element_ty))
        else:
            c_tiles.store([m, n], acc.to(c.dtype.element_ty))


def persistent_case(name, operand, result, shape, block, programs, targets=ALL, specialized=False, flatten=False,
                    subtile=False, near=SUM_EXACT, **options):  # fmt: skip
    @case(f"matmul_persistent_{name}", targets=targets, **options)
    def _(rng):
        m, n, k = shape
        a, b = coarse(rng, (m, k), operand), coarse(rng, (n, k), operand)
        expected = matmul_exact(a, b.T).astype(result)
        size = lambda value: Scalar("i32", value, divisible=value % 16 == 0)
        args = dict(a=In(a), b=In(b), c=Out(expected, near), M=size(m), N=size(n), K=size(k))
        bm, bn, bk = block
        args |= dict(BM=Const(bm), BN=Const(bn), BK=Const(bk), SPECIALIZED=Const(specialized), FLATTEN=Const(flatten))
        return Launch(persistent, (programs,), args | dict(SUBTILE=Const(subtile)))


persistent_case("f16", np.float16, np.float16, (192, 128, 64), (64, 64, 32), 2, num_warps=4, num_stages=3, near=ROUND_F16)
persistent_case("flattened", BF16, np.float32, (128, 128, 64), (64, 64, 32), 3, flatten=True, num_warps=4, num_stages=3)
persistent_case("specialized", np.float16, np.float16, (256, 128, 128), (128, 64, 64), 2, specialized=True, num_warps=4,
                num_stages=3, near=ROUND_F16)
persistent_case("specialized_flattened", np.float16, np.float16, (256, 128, 64), (128, 128, 64), 1, targets=(90, 100),
                specialized=True, flatten=True, near=ROUND_F16, num_warps=4, num_stages=2)
persistent_case("specialized_8_warps", BF16, np.float16, (256, 128, 64), (128, 128, 64), 1, targets=(90, 100),
                specialized=True, near=ROUND_F16, num_warps=8, num_stages=2)
persistent_case("subtile", np.float16, np.float16, (128, 128, 64), (128, 64, 64), 1, targets=(90, 100), subtile=True,
                near=ROUND_F16, num_warps=4, num_stages=2)
persistent_case("specialized_e4m3", F8, np.float32, (128, 128, 128), (128, 128, 128), 1, targets=(90, 100),
                specialized=True, num_warps=4, num_stages=2)


@case("matmul_persistent_stolen", targets=BLACKWELL, num_warps=4, num_stages=2, clc=True)
def _(rng):
    m, n, k = 128, 128, 64
    a, b = coarse(rng, (m, k), np.float16), coarse(rng, (n, k), np.float16)
    size = lambda value: Scalar("i32", value, divisible=True)
    args = dict(a=In(a), b=In(b), c=Out(matmul_exact(a, b.T).astype(np.float32), SUM_EXACT), M=size(m), N=size(n), K=size(k))
    args |= dict(BM=Const(64), BN=Const(64), BK=Const(32), TRANSPOSED=Const(True))
    return Launch(by_device_descriptor, (2, 2), args)


@triton.jit
def specialized_inner(a, b, c, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM
    n = tl.program_id(1) * BN
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for k in tl.range(0, K, BK, warp_specialize=True):
        acc = tl.dot(a.load([m, k]), b.load([n, k]).T, acc)
    c.store([m, n], acc.to(c.dtype))


@case("matmul_specialized_inner", targets=(100,), num_warps=4, num_stages=3)
def _(rng):
    m, n, k = 128, 128, 256
    a, b = coarse(rng, (m, k), np.float16), coarse(rng, (n, k), np.float16)
    out = Out(matmul_exact(a, b.T).astype(np.float16), ROUND_F16)
    args = dict(a=Descriptor(In(a), [128, 64]), b=Descriptor(In(b), [64, 64]), c=Descriptor(out, [128, 64]))
    args |= dict(K=Scalar("i32", k), BM=Const(128), BN=Const(64), BK=Const(64))
    return Launch(specialized_inner, (1, 2), args)


@triton.jit
def split_k(a, b, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr, SPLIT: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(tl.program_id(2) * BK, K, BK * SPLIT):
        k = start + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + m[:, None] * K + k[None, :]), tl.load(b + k[:, None] * N + n[None, :]), acc)
    tl.atomic_add(c + m[:, None] * N + n[None, :], acc.to(c.dtype.element_ty), sem="relaxed")


@case("matmul_split", num_warps=4, num_stages=2)
def _(rng):
    m, n, k = 64, 64, 128
    a, b = coarse(rng, (m, k), np.float16), coarse(rng, (k, n), np.float16)
    start = coarse(rng, (m, n), np.float32)
    size = lambda value: Scalar("i32", value, divisible=True)
    c = InOut(start, (start + matmul_exact(a, b)).astype(np.float32), SUM_EXACT)
    args = dict(a=In(a), b=In(b), c=c, M=size(m), N=size(n), K=size(k), BM=Const(32), BN=Const(64), BK=Const(32))
    return Launch(split_k, (2, 1, 2), args | dict(SPLIT=Const(2)))


@triton.jit
def grouped(a, b, c, tiles_of, K, N, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    """One product for each of several groups of rows; every tile of rows looks up which matrix is its right side."""
    tile = tl.program_id(0)
    group = tl.load(tiles_of + tile)
    m = tile * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        x = tl.load(a + m[:, None] * K + k[None, :])
        y = tl.load(b + group * K * N + k[:, None] * N + n[None, :])
        acc += tl.dot(x, y)
    tl.store(c + m[:, None] * N + n[None, :], acc)


@case("matmul_grouped", num_warps=4, num_stages=3)
def _(rng):
    k, n = 64, 64
    a, b = coarse(rng, (128, k), np.float16), coarse(rng, (3, k, n), np.float16)
    groups = np.array([2, 0, 1, 2], dtype=np.int32)
    expected = np.concatenate([matmul_exact(a[32 * i : 32 * i + 32], b[g]) for i, g in enumerate(groups)])
    size = lambda value: Scalar("i32", value, divisible=True)
    args = dict(a=In(a), b=In(b), c=Out(expected.astype(np.float32), SUM_EXACT), tiles_of=In(groups), K=size(k), N=size(n))
    return Launch(grouped, (4, 1), args | dict(BM=Const(32), BN=Const(64), BK=Const(32)))


@triton.jit
def batched(a, b, c, B: tl.constexpr, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i = tl.arange(0, B)[:, None, None]
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, K)
    x = tl.load(a + i * M * K + m[None, :, None] * K + k[None, None, :])
    y = tl.load(b + i * K * N + k[None, :, None] * N + n[None, None, :])
    tl.store(c + i * M * N + m[None, :, None] * N + n[None, None, :], tl.dot(x, y))


@case("matmul_batched", num_warps=4)
def _(rng):
    a, b = coarse(rng, (4, 16, 32), np.float16), coarse(rng, (4, 32, 16), np.float16)
    c = Out(matmul_exact(a, b).astype(np.float32), SUM_EXACT)
    return Launch(batched, (1,), dict(a=In(a), b=In(b), c=c, B=Const(4), M=Const(16), N=Const(16), K=Const(32)))


@triton.jit
def convolution(x, w, y, H, W, BLOCK: tl.constexpr, C: tl.constexpr, F: tl.constexpr, R: tl.constexpr):
    """3 x 3 convolution of one NHWC image with zero padding: a product for each position of the window."""
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    row, column = at // W, at % W
    c, f = tl.arange(0, C), tl.arange(0, F)
    acc = tl.zeros((BLOCK, F), dtype=tl.float32)
    for tap in range(R * R):
        i = row + tap // R - R // 2
        j = column + tap % R - R // 2
        inside = (i >= 0) & (i < H) & (j >= 0) & (j < W)
        v = tl.load(x + (i * W + j)[:, None] * C + c[None, :], mask=inside[:, None], other=0.0)
        acc = tl.dot(v, tl.load(w + tap * C * F + c[:, None] * F + f[None, :]), acc)
    tl.store(y + at[:, None] * F + f[None, :], tl.maximum(acc, 0.0).to(y.dtype.element_ty), mask=at[:, None] < H * W)


@case("convolution", num_warps=4, num_stages=2)
def _(rng):
    h, w, c, f = 9, 10, 16, 32
    x, k = coarse(rng, (h, w, c), np.float16), coarse(rng, (3, 3, c, f), np.float16)
    padded = np.pad(x.astype(np.float64), ((1, 1), (1, 1), (0, 0)))
    y = sum(padded[i : i + h, j : j + w] @ k[i, j].astype(np.float64) for i in range(3) for j in range(3))
    args = dict(x=In(x), w=In(k), y=Out(np.maximum(y, 0).astype(np.float32), SUM_EXACT), H=Scalar("i32", h), W=Scalar("i32", w))
    return Launch(convolution, (2,), args | dict(BLOCK=Const(64), C=Const(c), F=Const(f), R=Const(3)))


@triton.jit
def bias_gelu(a, b, bias, c, M, N, K, BM: tl.constexpr, BN: tl.constexpr, BK: tl.constexpr):
    m = tl.program_id(0) * BM + tl.arange(0, BM)
    n = tl.program_id(1) * BN + tl.arange(0, BN)
    acc = tl.zeros((BM, BN), dtype=tl.float32)
    for start in range(0, K, BK):
        k = start + tl.arange(0, BK)
        acc = tl.dot(tl.load(a + m[:, None] * K + k[None, :]), tl.load(b + n[None, :] * K + k[:, None]), acc)
    v = acc + tl.load(bias + n)[None, :].to(tl.float32)
    v = 0.5 * v * (1.0 + tl.erf(v * 0.7071067811865476))
    tl.store(c + m[:, None] * N + n[None, :], v.to(c.dtype.element_ty))


@case("matmul_bias_gelu", num_warps=4, num_stages=3)
def _(rng):
    m, n, k = 64, 64, 64
    a, b, bias = coarse(rng, (m, k), BF16, most=4), coarse(rng, (n, k), BF16, most=4), coarse(rng, n, BF16)
    v = matmul_exact(a, b.T) + bias.astype(np.float64)
    erf = np.vectorize(__import__("math").erf)
    near = Near(8e-3, 1e-6, "the result is rounded to bf16, whose spacing is 2^-8 of the value, after f32 arithmetic")
    size = lambda value: Scalar("i32", value, divisible=True)
    c = Out((0.5 * v * (1 + erf(v * 0.7071067811865476))).astype(BF16), near)
    args = dict(a=In(a), b=In(b), bias=In(bias), c=c, M=size(m), N=size(n), K=size(k))
    return Launch(bias_gelu, (2, 1), args | dict(BM=Const(32), BN=Const(64), BK=Const(32)))
