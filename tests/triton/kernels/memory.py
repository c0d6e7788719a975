"""Traffic: atomics, gather and scatter, transposes, descriptors of one to five dimensions, counters shared by blocks."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, BLACKWELL, SUM_EXACT, Const, Descriptor, In, InOut, Launch, Near, Out, Scalar, case, coarse, normal


@triton.jit
def atomics_i32(x, slots, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, mask=at < n, other=0)
    inside = at < n
    tl.atomic_add(slots + v % 8, v, mask=inside)
    tl.atomic_max(slots + 8 + v % 8, v, mask=inside)
    tl.atomic_min(slots + 16 + v % 8, v, mask=inside)
    tl.atomic_or(slots + 24 + v % 8, v, mask=inside, sem="relaxed")
    tl.atomic_and(slots + 32 + v % 8, v, mask=inside, sem="acquire")
    tl.atomic_xor(slots + 40 + v % 8, v, mask=inside, scope="sys")


@case("atomics_i32", num_warps=4)
def _(rng):
    x = rng.integers(0, 2**20, 400).astype(np.int32)
    start = np.array([0] * 16 + [2**30] * 8 + [0] * 8 + [-1] * 8 + [0] * 8, dtype=np.int32)
    slots = start.copy()
    for v in x:
        k = v % 8
        slots[k] += v
        slots[8 + k] = max(slots[8 + k], v)
        slots[16 + k] = min(slots[16 + k], v)
        slots[24 + k] |= v
        slots[32 + k] &= v
        slots[40 + k] ^= v
    return Launch(atomics_i32, (2,), dict(x=In(x), slots=InOut(start, slots), n=Scalar("i32", 400), BLOCK=Const(256)))


@triton.jit
def atomics_float(x, f32, f16, bf16, f64, most, wide, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    v = tl.load(x + at, mask=inside, other=0.0)
    slot = at % 16
    tl.atomic_add(f32 + slot, v, mask=inside)
    tl.atomic_add(f16 + slot, v.to(tl.float16), mask=inside)
    tl.atomic_add(bf16 + slot, v.to(tl.bfloat16), mask=inside)
    tl.atomic_add(f64 + slot, v.to(tl.float64), mask=inside, sem="release")
    tl.atomic_max(most + slot, v, mask=inside)
    tl.atomic_min(most + 16 + slot, v, mask=inside)
    tl.atomic_add(wide + slot, (v * 8).to(tl.int64) * 4294967296, mask=inside)


@case("atomics_float", num_warps=4)
def _(rng):
    # 16 terms of at most 2 in steps of 1/4: below 32, exact in f16 (11 bits) and in bf16 (8 bits).
    x = coarse(rng, 256, np.float32, step=0.25, most=4)
    by_slot = x.reshape(16, 16).astype(np.float64)
    total = by_slot.sum(0)
    zeros = lambda dtype: np.zeros(16, dtype)
    after = lambda dtype: total.astype(dtype)
    args = dict(x=In(x))
    for name, dtype in dict(f32=np.float32, f16=np.float16, bf16=ml_dtypes.bfloat16, f64=np.float64).items():
        args[name] = InOut(zeros(dtype), after(dtype), SUM_EXACT)
    bounds = np.concatenate([np.maximum(by_slot.max(0), -100), np.minimum(by_slot.min(0), 100)]).astype(np.float32)
    args["most"] = InOut(np.array([-100] * 16 + [100] * 16, np.float32), bounds)
    args["wide"] = InOut(np.zeros(16, np.int64), ((x * 8).astype(np.int64) << 32).reshape(16, 16).sum(0))
    return Launch(atomics_float, (2,), args | dict(n=Scalar("i32", 256), BLOCK=Const(128)))


@triton.jit
def ticket_tiles(x, y, counter, tiles, BLOCK: tl.constexpr):
    """Blocks draw tiles from a shared counter until none is left."""
    tile = tl.atomic_add(counter, 1)
    while tile < tiles:
        at = tile * BLOCK + tl.arange(0, BLOCK)
        tl.store(y + at, tl.load(x + at) * 2.0)
        tile = tl.atomic_add(counter, 1)


@case("ticket_tiles", num_warps=4)
def _(rng):
    x = normal(rng, 7 * 128)
    counter = InOut(np.zeros(1, np.int32), np.array([10], np.int32))
    return Launch(ticket_tiles, (3,), dict(x=In(x), y=Out(x * 2), counter=counter, tiles=Scalar("i32", 7), BLOCK=Const(128)))


@triton.jit
def last_block(x, parts, out, counter, BLOCK: tl.constexpr, BLOCKS: tl.constexpr):
    """Each block leaves a partial sum; the last to arrive adds them up."""
    block = tl.program_id(0)
    tl.store(parts + block, tl.sum(tl.load(x + block * BLOCK + tl.arange(0, BLOCK)), 0))
    if tl.atomic_add(counter, 1, sem="acq_rel") == BLOCKS - 1:
        tl.store(out, tl.sum(tl.load(parts + tl.arange(0, BLOCKS), volatile=True), 0))


@case("last_block", num_warps=2)
def _(rng):
    x = coarse(rng, 4 * 128, np.float32)
    args = dict(x=In(x), parts=Out(x.reshape(4, 128).sum(1), SUM_EXACT), out=Out(np.array([x.sum()]), SUM_EXACT))
    args |= dict(counter=InOut(np.zeros(1, np.int32), np.array([4], np.int32)), BLOCK=Const(128), BLOCKS=Const(4))
    return Launch(last_block, (4,), args)


@triton.jit
def embedding(table, rows, out, D: tl.constexpr, ROWS: tl.constexpr):
    i = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
    row = tl.load(rows + i)
    d = tl.arange(0, D)
    tl.store(out + i[:, None] * D + d[None, :], tl.load(table + row[:, None] * D + d[None, :]))


@case("embedding", num_warps=2)
def _(rng):
    table, rows = normal(rng, (50, 32), np.float16), rng.integers(0, 50, 16).astype(np.int64)
    args = dict(table=In(table), rows=In(rows), out=Out(table[rows]), D=Const(32), ROWS=Const(8))
    return Launch(embedding, (2,), args)


@triton.jit
def scatter(x, index, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    tl.store(out + tl.load(index + at, mask=at < n, other=0), tl.load(x + at, mask=at < n), mask=at < n)


@case("scatter", num_warps=4)
def _(rng):
    x, index = normal(rng, 300), rng.permutation(300).astype(np.int32)
    out = np.empty_like(x)
    out[index] = x
    return Launch(scatter, (2,), dict(x=In(x), index=In(index), out=Out(out), n=Scalar("i32", 300), BLOCK=Const(256)))


@triton.jit
def transpose(x, y, M, N, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    j = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + i[:, None] * N + j[None, :], mask=(i[:, None] < M) & (j[None, :] < N))
    tl.store(y + j[:, None] * M + i[None, :], v.T, mask=(j[:, None] < N) & (i[None, :] < M))


@case("transpose", num_warps=4)
def _(rng):
    x = normal(rng, (50, 70), np.float16)
    args = dict(x=In(x), y=Out(x.T.copy()), M=Scalar("i32", 50), N=Scalar("i32", 70), BLOCK=Const(32))
    return Launch(transpose, (2, 3), args)


@triton.jit
def descriptor_copy_1d(x, y, n, BLOCK: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[n], strides=[1], block_shape=[BLOCK])
    target = tl.make_tensor_descriptor(y, shape=[n], strides=[1], block_shape=[BLOCK])
    at = tl.program_id(0) * BLOCK
    target.store([at], source.load([at]) + 1.0)


@case("descriptor_1d", num_warps=1)
def _(rng):
    x = coarse(rng, 200, np.float32)
    return Launch(descriptor_copy_1d, (2,), dict(x=In(x), y=Out(x + 1), n=Scalar("i32", 200), BLOCK=Const(128)))


@triton.jit
def descriptor_copy_3d(x, y, A, B, C, BA: tl.constexpr, BB: tl.constexpr, BC: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[A, B, C], strides=[B * C, C, 1], block_shape=[BA, BB, BC])
    target = tl.make_tensor_descriptor(y, shape=[A, B, C], strides=[B * C, C, 1], block_shape=[BA, BB, BC])
    at = [tl.program_id(0) * BA, tl.program_id(1) * BB, 0]
    target.store(at, source.load(at) * 2.0)


@case("descriptor_3d", num_warps=4)
def _(rng):
    x = coarse(rng, (3, 10, 16), np.float16)
    args = dict(x=In(x), y=Out(x * np.float16(2)), A=Scalar("i32", 3), B=Scalar("i32", 10), C=Scalar("i32", 16, divisible=True))
    return Launch(descriptor_copy_3d, (2, 2), args | dict(BA=Const(2), BB=Const(8), BC=Const(16)))


@triton.jit
def descriptor_copy_5d(x, y, D: tl.constexpr, C: tl.constexpr):
    source = tl.make_tensor_descriptor(
        x, shape=[D, D, D, D, C], strides=[D * D * D * C, D * D * C, D * C, C, 1], block_shape=[1, 2, 2, 2, C]
    )
    target = tl.make_tensor_descriptor(
        y, shape=[D, D, D, D, C], strides=[D * D * D * C, D * D * C, D * C, C, 1], block_shape=[1, 2, 2, 2, C]
    )
    for i in range(D):
        target.store([i, 0, 0, 0, 0], source.load([i, 0, 0, 0, 0]))


@case("descriptor_5d", num_warps=4)
def _(rng):
    x = rng.integers(-128, 128, (2, 2, 2, 2, 16)).astype(np.int8)
    return Launch(descriptor_copy_5d, (1,), dict(x=In(x), y=Out(x), D=Const(2), C=Const(16)))


@triton.jit
def descriptor_reduce(x, total, most, M, N, BM: tl.constexpr, BN: tl.constexpr):
    sums = tl.make_tensor_descriptor(total, shape=[BM, N], strides=[N, 1], block_shape=[BM, BN])
    tops = tl.make_tensor_descriptor(most, shape=[BM, N], strides=[N, 1], block_shape=[BM, BN])
    i = tl.program_id(0) * BM + tl.arange(0, BM)
    j = tl.program_id(1) * BN + tl.arange(0, BN)
    v = tl.load(x + i[:, None] * N + j[None, :])
    sums.atomic_add([0, tl.program_id(1) * BN], v.to(tl.float32))
    tops.atomic_max([0, tl.program_id(1) * BN], (v * 8).to(tl.int32))


@case("descriptor_reduce", num_warps=4)
def _(rng):
    x = coarse(rng, (48, 64), np.float32)
    parts = x.reshape(3, 16, 64)
    args = dict(x=In(x), total=InOut(np.zeros((16, 64), np.float32), parts.sum(0), SUM_EXACT))
    args |= dict(most=InOut(np.full((16, 64), -1000, np.int32), (parts * 8).astype(np.int32).max(0)))
    args |= dict(M=Scalar("i32", 48, divisible=True), N=Scalar("i32", 64, divisible=True), BM=Const(16), BN=Const(32))
    return Launch(descriptor_reduce, (3, 2), args)


@triton.jit
def descriptor_gather(x, rows, y, M, N, COUNT: tl.constexpr, BN: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[M, N], strides=[N, 1], block_shape=[1, BN])
    target = tl.make_tensor_descriptor(y, shape=[M, N], strides=[N, 1], block_shape=[1, BN])
    row = tl.load(rows + tl.arange(0, COUNT))
    v = source.gather(row, tl.program_id(0) * BN)
    target.scatter(v, (row + 1) % M, tl.program_id(0) * BN)


@case("descriptor_gather_scatter", targets=(100,), num_warps=4)
def _(rng):
    x, rows = coarse(rng, (40, 64), np.float16), rng.permutation(40)[:32].astype(np.int32)
    start = np.zeros_like(x)
    y = start.copy()
    y[(rows + 1) % 40] = x[rows]
    args = dict(x=In(x), rows=In(rows), y=InOut(start, y), M=Scalar("i32", 40), N=Scalar("i32", 64, divisible=True))
    return Launch(descriptor_gather, (2,), args | dict(COUNT=Const(32), BN=Const(32)))


@triton.jit
def padded_load(x, y, M, N, BM: tl.constexpr, BN: tl.constexpr):
    source = tl.make_tensor_descriptor(x, shape=[M, N], strides=[N, 1], block_shape=[BM, BN], padding_option="nan")
    v = source.load([tl.program_id(0) * BM, 0])
    i, j = tl.arange(0, BM)[:, None], tl.arange(0, BN)[None, :]
    tl.store(y + tl.program_id(0) * BM * BN + i * BN + j, v)


@case("descriptor_nan_padding", num_warps=4)
def _(rng):
    x = normal(rng, (20, 24), np.float32)
    y = np.full((32, 32), np.nan, np.float32)
    y[:20, :24] = x
    args = dict(x=In(x), y=Out(y), M=Scalar("i32", 20), N=Scalar("i32", 24), BM=Const(16), BN=Const(32))
    return Launch(padded_load, (2,), args)


@triton.jit
def pipelined_copy(x, y, scale, steps, BLOCK: tl.constexpr):
    """Loads run ahead of their use through a ring of shared buffers."""
    base = tl.program_id(0) * steps * BLOCK
    carry = tl.zeros((BLOCK,), tl.float32)
    for step in tl.range(0, steps, num_stages=4):
        at = base + step * BLOCK + tl.arange(0, BLOCK)
        carry = carry * scale + tl.load(x + at)
        tl.store(y + at, carry)


@case("pipelined_loop", num_warps=4)
def _(rng):
    x = coarse(rng, (2, 9, 128), np.float32)
    y = np.zeros_like(x)
    for step in range(9):
        y[:, step] = (y[:, step - 1] if step else 0) * np.float32(0.5) + x[:, step]
    args = dict(x=In(x), y=Out(y), scale=Scalar("fp32", 0.5), steps=Scalar("i32", 9), BLOCK=Const(128))
    return Launch(pipelined_copy, (2,), args)


@triton.jit
def host_descriptor_copy(x, y, BM: tl.constexpr, BN: tl.constexpr):
    v = x.load([tl.program_id(0) * BM, tl.program_id(1) * BN])
    y.store([tl.program_id(1) * BN, tl.program_id(0) * BM], v.T)


@case("descriptor_host_transpose", num_warps=4)
def _(rng):
    x = normal(rng, (48, 64), np.float32)
    args = dict(x=Descriptor(In(x), [16, 32]), y=Descriptor(Out(x.T.copy()), [32, 16]), BM=Const(16), BN=Const(32))
    return Launch(host_descriptor_copy, (3, 2), args)
