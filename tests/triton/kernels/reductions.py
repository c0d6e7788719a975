"""Reductions, scans, sorts, histograms: exchange between the threads of a block."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, SUM_EXACT, Const, In, InOut, Launch, Near, Out, Scalar, case, coarse, normal


@triton.jit
def reduce_rows(x, total, most, least, where, M: tl.constexpr, N: tl.constexpr, AXIS: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    kept = tl.arange(0, N if AXIS == 0 else M)
    tl.store(total + kept, tl.sum(v, axis=AXIS))
    value, index = tl.max(v, axis=AXIS, return_indices=True)
    tl.store(most + kept, value)
    tl.store(least + kept, tl.min(v, axis=AXIS))
    tl.store(where + kept, index * 1000 + tl.argmin(v, axis=AXIS))


def reduce_case(name, dtype, shape, axis, targets=ALL, **options):
    @case(f"reduce_{name}", targets=targets, **options)
    def _(rng):
        x = coarse(rng, shape, dtype, step=1 if np.dtype(dtype).kind == "i" else 0.125, most=50)
        where = x.argmax(axis) * 1000 + x.argmin(axis)
        args = dict(x=In(x), total=Out(x.sum(axis).astype(dtype), SUM_EXACT), most=Out(x.max(axis)), least=Out(x.min(axis)))
        args |= dict(where=Out(where.astype(np.int32)), M=Const(shape[0]), N=Const(shape[1]), AXIS=Const(axis))
        return Launch(reduce_rows, (1,), args)


reduce_case("rows_f32", np.float32, (32, 64), 1, num_warps=4)
reduce_case("columns_f32", np.float32, (64, 32), 0, num_warps=4)
reduce_case("rows_i32", np.int32, (16, 128), 1, num_warps=8)
reduce_case("one_warp", np.float32, (8, 32), 0, targets=(90, 120), num_warps=1)
reduce_case("cluster", np.float32, (64, 64), 0, targets=(90, 100), num_warps=4, num_ctas=2)


@triton.jit
def product(a, b):
    return a * b


@triton.jit
def welford(mean_a, spread_a, count_a, mean_b, spread_b, count_b):
    delta = mean_b - mean_a
    count = count_a + count_b
    share = tl.where(count == 0.0, 0.0, count_b / count)
    return mean_a + delta * share, spread_a + spread_b + delta * delta * count_a * share, count


@triton.jit
def custom_reduce(x, signs, mean, variance, parity, N: tl.constexpr):
    at = tl.arange(0, N)
    v = tl.load(x + at)
    s = tl.load(signs + at)
    m, spread, count = tl.reduce((v, tl.zeros((N,), tl.float32), tl.full((N,), 1.0, tl.float32)), 0, welford)
    tl.store(mean, m)
    tl.store(variance, spread / count)
    tl.store(parity, tl.reduce(s, 0, product))
    tl.store(parity + 1, tl.xor_sum(s, 0))


@case("reduce_custom", num_warps=4)
def _(rng):
    x, signs = normal(rng, 512), rng.choice([-1, 1, 3], 512).astype(np.int32)
    with np.errstate(over="ignore"):
        parity = np.array([np.multiply.reduce(signs, dtype=np.int32), np.bitwise_xor.reduce(signs)], dtype=np.int32)
    near = Near(1e-4, 1e-6, "f32 updates of a running mean in tree order")
    v = x.astype(np.float64)
    args = dict(x=In(x), signs=In(signs), mean=Out(np.array([v.mean()], np.float32), near))
    args |= dict(variance=Out(np.array([v.var()], np.float32), near), parity=Out(parity), N=Const(512))
    return Launch(custom_reduce, (1,), args)


@triton.jit
def block_sum(x, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.atomic_add(out, tl.sum(tl.load(x + at, mask=at < n, other=0.0).to(tl.float32)))


@case("sum_to_scalar", num_warps=4)
def _(rng):
    x = coarse(rng, 1000, np.float16)
    out = InOut(np.zeros(1, np.float32), np.array([x.astype(np.float64).sum()], np.float32), SUM_EXACT)
    return Launch(block_sum, (4,), dict(x=In(x), out=out, n=Scalar("i32", 1000), BLOCK=Const(256)))


@triton.jit
def recurrence(a1, b1, a2, b2):
    return a1 * a2, b1 * a2 + b2


@triton.jit
def scans(x, a, total, reverse, products, state, M: tl.constexpr, N: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    at = i * N + j
    v = tl.load(x + at)
    tl.store(total + at, tl.cumsum(v, axis=1))
    tl.store(reverse + at, tl.cumsum(v, axis=0, reverse=True))
    decay = tl.load(a + at)
    tl.store(products + at, tl.cumprod(decay, axis=1))
    _, y = tl.associative_scan((decay, v), 1, recurrence)
    tl.store(state + at, y)


@case("scans", num_warps=4)
def _(rng):
    x, a = coarse(rng, (16, 64), np.float32), (0.5 + 0.5 * rng.random((16, 64))).astype(np.float32)
    state, y = np.zeros((16, 64)), np.zeros(16)
    for step in range(64):
        y = y * a[:, step].astype(np.float64) + x[:, step]
        state[:, step] = y
    near = Near(1e-4, 1e-4, "f32 products and sums in tree order")
    products = np.cumprod(a.astype(np.float64), axis=1)
    args = dict(x=In(x), a=In(a), total=Out(np.cumsum(x, axis=1, dtype=np.float32), SUM_EXACT))
    args |= dict(reverse=Out(np.cumsum(x[::-1], axis=0, dtype=np.float32)[::-1].copy(), SUM_EXACT))
    args |= dict(products=Out(products.astype(np.float32), Near(1e-5, 0.0, near.why)))
    return Launch(scans, (1,), args | dict(state=Out(state.astype(np.float32), near), M=Const(16), N=Const(64)))


@triton.jit
def long_scan(x, y, N: tl.constexpr):
    at = tl.arange(0, N)
    tl.store(y + at, tl.cumsum(tl.load(x + at), axis=0))


@case("scan_long", num_warps=8)
def _(rng):
    x = rng.integers(-1000, 1000, 2048).astype(np.int32)
    return Launch(long_scan, (1,), dict(x=In(x), y=Out(np.cumsum(x, dtype=np.int32)), N=Const(2048)))


@triton.jit
def lookback_scan(x, y, flags, sums, n, BLOCK: tl.constexpr):
    """Prefix sum in one pass: each block waits for the running total of the block before it."""
    block = tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    local = tl.cumsum(tl.load(x + at, mask=at < n, other=0), axis=0)
    own = tl.sum(tl.load(x + at, mask=at < n, other=0), axis=0)
    before = 0
    if block > 0:
        while tl.atomic_add(flags + block - 1, 0, sem="acquire") == 0:
            pass
        before = tl.load(sums + block - 1)
    tl.store(sums + block, before + own)
    tl.atomic_xchg(flags + block, 1, sem="release")
    tl.store(y + at, before + local, mask=at < n)


@case("scan_lookback", num_warps=2)
def _(rng):
    x = rng.integers(-100, 100, 500).astype(np.int32)
    y = np.cumsum(x, dtype=np.int32)
    sums = y[np.minimum(np.arange(1, 5) * 128, 500) - 1]
    args = dict(x=In(x), y=Out(y), flags=InOut(np.zeros(4, np.int32), np.ones(4, np.int32)), sums=Out(sums))
    return Launch(lookback_scan, (4,), args | dict(n=Scalar("i32", 500), BLOCK=Const(128)))


@triton.jit
def sort_rows(x, up, down, best, M: tl.constexpr, N: tl.constexpr, K: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    tl.store(up + i * N + j, tl.sort(v, 1))
    tl.store(down + i * N + j, tl.sort(v, 1, descending=True))
    tl.store(best + i * K + tl.arange(0, K)[None, :], tl.topk(v, K, 1))


def sort_case(name, dtype, shape, **options):
    @case(f"sort_{name}", **options)
    def _(rng):
        x = coarse(rng, shape, dtype, most=1000, step=1)
        up = np.sort(x, axis=1)
        args = dict(x=In(x), up=Out(up), down=Out(up[:, ::-1].copy()), best=Out(up[:, ::-1][:, :8].copy()))
        return Launch(sort_rows, (1,), args | dict(M=Const(shape[0]), N=Const(shape[1]), K=Const(8)))


sort_case("i32", np.int32, (4, 64), num_warps=4)
sort_case("f16", np.float16, (8, 32), targets=(90, 120), num_warps=2)
sort_case("f32", np.float32, (1, 256), targets=(100,), num_warps=8)


@triton.jit
def histogram(x, counts, masked, n, BLOCK: tl.constexpr, BINS: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=0)
    bins = tl.arange(0, BINS)
    tl.atomic_add(counts + bins, tl.histogram(v, BINS, mask=at < n))
    tl.atomic_add(masked + bins, tl.histogram(v, BINS, mask=(at < n) & (v % 3 == 0)))


@case("histogram", num_warps=4)
def _(rng):
    x = rng.integers(0, 64, 900).astype(np.int32)
    count = lambda values: np.bincount(values, minlength=64).astype(np.int32)
    zero = np.zeros(64, np.int32)
    args = dict(x=In(x), counts=InOut(zero, count(x)), masked=InOut(zero, count(x[x % 3 == 0])), n=Scalar("i32", 900))
    return Launch(histogram, (2,), args | dict(BLOCK=Const(512), BINS=Const(64)))


@triton.jit
def gather_within(x, index, y, N: tl.constexpr, M: tl.constexpr):
    i, j = tl.arange(0, M)[:, None], tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    k = tl.load(index + i * N + j)
    tl.store(y + i * N + j, tl.gather(v, k, 1) + tl.gather(v, k % M, 0))


@case("gather_within", num_warps=4)
def _(rng):
    x, index = normal(rng, (16, 64)), rng.integers(0, 64, (16, 64)).astype(np.int32)
    y = np.take_along_axis(x, index, 1) + np.take_along_axis(x, index % 16, 0)
    return Launch(gather_within, (1,), dict(x=In(x), index=In(index), y=Out(y), N=Const(64), M=Const(16)))
