"""The launches of every kernel in `kernels/`, and what each must compute."""

import ml_dtypes
import numpy as np
from launch import EXACT, SUM_EXACT, In, InOut, Near, Out, Scalar, coarse, normal

F32, F64, I32, U32, I64, U64 = np.float32, np.float64, np.int32, np.uint32, np.int64, np.uint64
CASES = []


def case(source, entry, grid, block, shared=0, cluster=(1, 1, 1), targets=(90, 100, 120), refused=None, printed=()):
    """Registers a launch; the function below it takes a seeded generator and returns the arguments in order."""

    def register(build):
        CASES.append(dict(source=source, entry=entry, grid=grid, block=block, shared=shared, cluster=cluster, targets=targets,
                          refused=refused, printed=list(printed), build=build))  # fmt: skip
        return build

    return register


def i32(value):
    return Scalar("i32", value)


def wrapped(values):
    """64-bit integers modulo 2^32, as i32."""
    return (np.asarray(values, dtype=I64) & 0xFFFFFFFF).astype(U32).view(I32)


@case("cooperative", "sum_by_tiles", (3, 1, 1), (96, 1, 1))
def _(rng):
    x = coarse(rng, 1000, F32)
    return dict(x=In(x), out=InOut(np.zeros(1, F32), np.array([x.sum()], F32), SUM_EXACT), n=i32(1000))


@case("cooperative", "count_and_filter", (1, 1, 1), (32, 1, 1))
def _(rng):
    x = rng.integers(-100, 100, 32).astype(I32)
    positive = x[x > 0]
    kept = np.full(32, -1, I32)
    after = kept.copy()
    after[: len(positive)] = positive
    count = InOut(np.zeros(1, I32), np.array([len(positive)], I32))
    return dict(x=In(x), kept=InOut(kept, after), count=count, n=i32(32))


@case("cooperative", "small_tiles", (2, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(-100, 100, 128).astype(I32)
    tiles = x.reshape(-1, 8)
    inclusive = tiles.cumsum(1)
    lanes = np.arange(8)
    down = np.where(lanes + 2 < 8, tiles[:, np.minimum(lanes + 2, 7)], tiles)
    most = tiles.max(1, keepdims=True) + tiles[:, lanes ^ 1] + down
    bits = ((tiles > 0) << lanes).sum(1, keepdims=True)
    same = (tiles[:, :, None] & 3) == (tiles[:, None, :] & 3)
    matches = (same << lanes[None, None, :]).sum(2)
    votes = bits | (tiles > 90).any(1, keepdims=True) << 8 | (tiles > -90).all(1, keepdims=True) << 9 | matches << 16
    flat = lambda values, dtype: Out(np.ascontiguousarray(values).astype(dtype).reshape(128))
    return dict(x=In(x), inclusive=flat(inclusive, I32), exclusive=flat(inclusive - tiles, I32), most=flat(most, I32),
                votes=flat(votes, U32))  # fmt: skip


@case("cooperative", "cluster_histogram", (4, 1, 1), (64, 1, 1), shared=32 * 4, cluster=(2, 1, 1))
def _(rng):
    x = rng.integers(0, 64, 700).astype(I32)
    bins = InOut(np.zeros(64, I32), np.bincount(x, minlength=64).astype(I32))
    return dict(x=In(x), bins=bins, n=i32(700), bins_per_block=i32(32))


@case("cooperative", "grid_phases", (3, 1, 1), (128, 1, 1))
def _(rng):
    x = (rng.integers(1, 9, 300) * 0.125).astype(F32)
    sums = np.array([x[np.arange(300) // 128 == b].sum() for b in range(3)], F32)
    near = Near(2e-7, 0.0, "one correctly rounded division; nvcc's default is within one unit in the last place of it")
    out = Out((x / F32(x.sum())).astype(F32), near)
    barrier = InOut(np.zeros(1, U32), np.array([3], U32))
    return dict(x=In(x), parts=Out(sums, SUM_EXACT), out=out, barrier=barrier, n=i32(300))


@case("asynchronous", "barrier_copy", (2, 1, 1), (64, 1, 1))
def _(rng):
    x = coarse(rng, 5 * 256, F32)
    return dict(x=In(x), y=Out(x * x), tiles=i32(5))


@case("asynchronous", "pipeline_sum", (2, 1, 1), (128, 1, 1))
def _(rng):
    x = rng.integers(-1000, 1000, (2, 5, 128)).astype(I32)
    sums = (x * np.arange(1, 6)[None, :, None]).sum(1).astype(I32)
    return dict(x=In(x), sums=Out(sums), tiles=i32(5))


@case("asynchronous", "primitive_copies", (2, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(-(2**31), 2**31, (2, 64, 4)).astype(I32)
    return dict(x=In(x), y=Out(x[:, ::-1, ::-1].copy()))


@case("asynchronous", "bulk_round_trip", (2, 1, 1), (128, 1, 1))
def _(rng):
    x = rng.integers(-(2**20), 2**20, 1024).astype(I32)
    return dict(x=In(x), y=Out(x * 3 + 1))


@case("asynchronous", "producer_consumer", (1, 1, 1), (96, 1, 1))
def _(rng):
    x = coarse(rng, (7, 64), F32)
    return dict(x=In(x), out=Out((x.sum(0) * np.arange(1, 65)).astype(F32), SUM_EXACT), steps=i32(7))


@case("warps", "warp_exchange", (1, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(-150, 150, 64).astype(I32)
    out = np.zeros((2, 32, 12), I64)
    lane = np.arange(32)
    for w, v in enumerate(x.reshape(2, 32).astype(I64)):
        o = out[w]
        o[:, 0] = v[lane ^ 5]
        o[:, 1] = np.where(lane >= 3, v[np.maximum(lane - 3, 0)], v)
        o[:, 2] = np.where(lane % 16 + 2 < 16, v[np.minimum(lane + 2, 31)], v)
        o[:, 3] = v[lane ^ 9]
        o[:, 4] = ((v & 1) << lane).sum()
        o[:, 5] = int((v == 7).any()) * 2 + int((v > -200).all())
        o[:, 6] = (((v[:, None] & 7) == (v[None, :] & 7)) << lane[None, :]).sum(1)
        high = v >> 20
        o[:, 7] = 0xFFFFFFFF + 1 if (high == high[0]).all() else 0
        o[:, 8] = v.sum()
        o[:, 9] = v.max() ^ v.min()
        o[:, 10] = np.bitwise_xor.reduce(v)
        # How many threads __activemask() sees in the branch is 12: those that took it are converged.
        o[:12, 11] = 12 + v[:12].sum() + v[11]
    return dict(x=In(x), out=Out(wrapped(out).reshape(64, 12)))


@case("warps", "all_atomics", (3, 1, 1), (64, 1, 1))
def _(rng):
    n = 150
    x = rng.integers(-1000, 1000, n).astype(I32)
    v = x.astype(I64)
    start = np.array([5, 6, -5000, 5000, -1, 0, 0, 0, 0, 0, 0, 0, 0], I64)
    after = start.copy()
    after[0] += v.sum()
    after[1] -= v.sum()
    after[2], after[3] = max(v.max(), -5000), min(v.min(), 5000)
    after[4] = np.bitwise_and.reduce(v | 0xFF)
    after[5], after[6] = np.bitwise_or.reduce(v), np.bitwise_xor.reduce(v)
    after[7] = ((v & 15) * 3).sum()
    for block in range(3):
        after[8 + block] = v[block * 64 : block * 64 + 64].sum()
    after[12] = (v & 3).sum()
    u32 = np.array([0, 7, 0, 0, 0], U32)
    u32_after = np.array([n % 11, (7 - n) % 11, (v & 0xFFFFFFFF).max(), n, 0], U32)
    u32_after[4] = np.bitwise_or.reduce((1 << (v & 31)).astype(U32))
    total = int(v.sum()) % 2**64
    u64 = np.array([total, (v & 0xFFFF).max() << 40, int(np.bitwise_or.reduce(U64(1) << (v & 63).astype(U64)))], U64)
    odd = int((v & 1).sum())
    h2, b2 = np.array([odd, n], np.float16), np.array([n, odd], ml_dtypes.bfloat16)
    return dict(x=In(x), i32=InOut(start.astype(I32), wrapped(after)), u32=InOut(u32, u32_after), u64=InOut(np.zeros(3, U64), u64),
                f32=InOut(np.array([0, -1e9], F32), np.array([v.sum(), v.max()], F32), SUM_EXACT),
                f64=InOut(np.zeros(1, F64), np.array([v.sum() * 0.5]), SUM_EXACT),
                h2=InOut(np.zeros(2, np.float16), h2, SUM_EXACT), b2=InOut(np.zeros(2, ml_dtypes.bfloat16), b2, SUM_EXACT),
                n=i32(n))  # fmt: skip


@case("warps", "ticket_lock", (4, 1, 1), (32, 1, 1))
def _(rng):
    tickets = InOut(np.zeros(2, U32), np.array([4, 4], U32))
    return dict(tickets=tickets, plain=InOut(np.zeros(2, I32), np.array([15, 6], I32)))


def horner(v, terms):
    coefficients = np.array([1.0, -0.5, 0.25, 2.0, -1.0, 0.125, 3.0, 0.75])
    r = np.zeros_like(v)
    for k in range(8):
        r = np.where(k < terms, r * v + coefficients[k], r)
    return r


@case("warps", "calls_and_constants", (2, 1, 1), (64, 1, 1))
def _(rng):
    x, i = coarse(rng, 100, F32, most=4), np.arange(100)
    index = i + np.arange(1, 17)[(i & 3) * 4 + ((i >> 2) & 3)] + i * 3 + 5
    near = Near(1e-5, 1e-6, "f32 steps of Horner's rule, with or without fusing")
    y = Out(horner(x.astype(F64) * 2, 1 + (i & 7)).astype(F32), near)
    return dict(x=In(x), y=y, index=Out(index.astype(I32)), n=i32(100))


def stack_machine(x, i):
    """What the kernel does, in Python's integers cut to 32 bits."""
    cut = lambda value: ((value + 2**31) % 2**32) - 2**31
    unsigned = lambda value: value % 2**32
    stack, depth, acc = [0] * 16, 0, i
    for step in range(12):
        v = x >> (step * 2)
        match (v ^ step) & 15:
            case 0: acc += 17
            case 1: acc = acc * 3 - 1
            case 2: acc ^= 0x55
            case 3:
                stack[depth & 15] = acc
                depth += 1
            case 4: acc = stack[(depth - 1) & 15] + 1 if depth > 0 else 9
            case 5: acc = -acc
            case 6: acc >>= 1
            case 7: acc |= 8
            case 8: acc = bin(unsigned(acc)).count("1")
            case 9:
                stack[acc & 7] = step
                if depth < (acc & 7) + 1:
                    for k in range(depth, acc & 7):
                        stack[k] = k
                    depth = (acc & 7) + 1
            case 10: acc = abs(acc) % 1000 * (1 if acc >= 0 else -1)
            case 11: acc = 32 - unsigned(acc).bit_length()
            case 12: acc += depth
            case 13: acc = int(f"{unsigned(acc):032b}"[::-1], 2) >> 16
            case 14: acc &= 0xFFFF
            case _: acc = acc * acc
        acc = cut(acc)  # fmt: skip
    total = acc
    for k in range(min(depth, 16)):
        total = cut(total * 5 + stack[k])
    return total


@case("warps", "switch_and_local", (2, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(-(2**31), 2**31, 100).astype(I32)
    out = np.array([stack_machine(int(v), i) for i, v in enumerate(x)], I32)
    return dict(x=In(x), out=Out(out), n=i32(100))


@case("warps", "branch_table", (1, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(0, 2**20, 64).astype(I32)
    popcount = np.array([bin(int(v)).count("1") for v in x])
    return dict(x=In(x), out=Out(np.choose(x & 3, [x * 2, ~x, popcount, x]).astype(I32)))


@case("warps", "indirect_calls", (1, 1, 1), (32, 1, 1))
def _(rng):
    x = rng.integers(0, 1000, 32).astype(I32)
    return dict(x=In(x), out=Out(np.choose(x % 3, [x * 2, x * x, -x]).astype(I32)))


@case("warps", "print_some", (1, 1, 1), (32, 1, 1), printed=[
    "thread 0 of block 0 has 41, half is 20.50, done\n", "thread 1 of block 0 has -7, half is -3.50, done\n"])  # fmt: skip
def _(rng):
    return dict(x=In(np.array([41, -7], I32)))


@case("warps", "recursion", (1, 1, 1), (4, 1, 1), refused="recurs")
def _(rng):
    return dict(out=Out(np.array([0, 1, 1, 2], I32)))


@case("arithmetic", "transpose", (3, 2, 1), (32, 8, 1))
def _(rng):
    x = normal(rng, (40, 70))
    return dict(x=In(x), y=Out(x.T.copy()), rows=i32(40), columns=i32(70))


@case("arithmetic", "library_functions", (2, 1, 1), (64, 1, 1))
def _(rng):
    x, y = normal(rng, 100), normal(rng, 100)
    v, w = x.astype(F64), y.astype(F64)
    math = __import__("math")
    erf = np.array([math.erf(value) for value in v])
    fmod = np.fmod((x * F32(10)).astype(F64), (np.abs(y) + F32(0.5)).astype(F64))
    rounded = np.floor(v) + np.ceil(w) + np.rint((x * F32(3)).astype(F64)) + np.trunc((y * F32(5)).astype(F64))
    out = [np.sin(v) + np.cos(w), np.exp(v) * 0.25, np.log(np.abs(v) + 0.1), (np.abs(v) + 0.5) ** w,
           np.sqrt(np.abs(v)) / (w * w + 1), erf + np.tanh(w), fmod, np.arctan2(v, w) + 1 / np.sqrt(np.abs(w) + 1), rounded,
           v * w + v / (w * w + 1) + np.exp(w) + np.log(np.abs(v) + 1)]  # fmt: skip
    near = Near(1e-5, 5e-6, "library functions of f32 are within a few units in the last place, intrinsics within 2^-21")
    return dict(x=In(x), y=In(y), out=Out(np.stack(out, 1).astype(F32), near), n=i32(100))


@case("arithmetic", "double_functions", (2, 1, 1), (64, 1, 1))
def _(rng):
    v = normal(rng, 100, F64)
    out = [np.exp(v) / (1 + v * v), np.sin(v) * np.log(np.abs(v) + 1), np.sqrt(np.abs(v)) + np.cbrt(v), v * v + 1 / (v * v + 2)]
    near = Near(1e-14, 1e-15, "library functions of f64 are within two units in the last place")
    return dict(x=In(v), out=Out(np.stack(out, 1), near), n=i32(100))


def integer_reference(x, y):
    v, w = x.astype(I64), y.astype(I64)
    a, b = x.view(U32).astype(U64), y.view(U32).astype(U64)
    mask, low = U64(0xFFFFFFFF), lambda n: U64(n)
    truncated = lambda p, q: np.sign(p) * np.sign(q) * (np.abs(p) // np.abs(q))
    signed = lambda unsigned: wrapped(unsigned.astype(I64))
    byte = lambda value, k: (value >> U64(8 * k)) & U64(255)
    both = (b << U64(32)) | a
    pool = [byte(a, k) for k in range(4)] + [byte(b, k) for k in range(4)]
    # Of each digit of the selector 0x5a17, __byte_perm takes three bits.
    permuted = pool[7] | pool[1] << low(8) | pool[2] << low(16) | pool[5] << low(24)
    as_i8 = lambda value, k: (byte(value, k).astype(np.uint8).view(np.int8)).astype(I64)
    dots = sum(as_i8(a, k) * as_i8(b, k) for k in range(4)) + 100
    count = lambda values: np.array([bin(int(value)).count("1") for value in values])
    leading = lambda values, bits: np.array([bits - int(value).bit_length() for value in values])
    first = lambda values: np.array([(int(value) & -int(value)).bit_length() for value in values])
    reverse = np.array([int(f"{int(value):032b}"[::-1], 2) for value in a], U64)
    added = sum(((byte(a, k) + byte(b, k)) & U64(255)) << U64(8 * k) for k in range(4))
    narrow = x.astype(np.int16).astype(I64) * (y & 255) + (x >> 8).astype(np.int8)
    p = v * w
    p_bits = p.view(U64)
    high64 = np.array([(int(value) * 0x123456789ABCDEF) >> 64 for value in p_bits], U64).view(I64)
    out = [truncated(v, w), v - truncated(v, w) * w, signed(a // b), signed(a % (b | U64(1))), (p >> 32), signed((a * b) >> U64(32)),
           signed((both << (a & U64(31))) >> U64(32)), signed(both >> (b & U64(31)) & mask),
           signed(permuted), dots, np.abs(v - w) + 5, count(a) + leading(b, 32) + first(a), signed(reverse), signed(added),
           np.clip(v, -1000, 1000) + np.abs(w), narrow]  # fmt: skip
    wide = [truncated(p, w | 3), high64, count(p_bits) + leading(p_bits, 64) + first(p_bits),
            (p_bits % U64(1000003)).astype(I64) + (p >> 5) + (p << 3)]  # fmt: skip
    return np.stack([wrapped(value) for value in out], 1), np.stack(wide, 1)


@case("arithmetic", "integer_operations", (2, 1, 1), (64, 1, 1))
def _(rng):
    x = rng.integers(-(2**31) + 1, 2**31, 128).astype(I32)
    y = rng.integers(1, 2**20, 128).astype(I32) * rng.choice([-1, 1], 128).astype(I32)
    out, wide = integer_reference(x, y)
    return dict(x=In(x), y=In(y), out=Out(out), wide=Out(wide))


@case("arithmetic", "vector_loads", (1, 1, 1), (64, 1, 1))
def _(rng):
    x, s = coarse(rng, (64, 4), F32), rng.integers(-1000, 1000, (64, 2)).astype(np.int16)
    b = rng.integers(0, 256, (64, 4)).astype(np.uint8)
    w = x[np.arange(64) ^ 1]
    y = np.stack([x[:, 0] + w[:, 3], x[:, 1] - w[:, 2], x[:, 2] * w[:, 1], x[:, 3] + w[:, 0]], 1)
    t = np.stack([s[:, 1], s[:, 0] + np.int16(1)], 1)
    c = np.stack([b[:, 3], b[:, 2], b[:, 1], b[:, 0] ^ 0xFF], 1)
    return dict(x=In(x), s=In(s), b=In(b), y=Out(y), t=Out(t), c=Out(c))


@case("arithmetic", "packed_halves", (1, 1, 1), (32, 1, 1))
def _(rng):
    f16, bf16 = np.float16, ml_dtypes.bfloat16
    x, y = coarse(rng, (32, 2), f16), coarse(rng, (32, 2), f16)
    v, w = x.astype(F64), y.astype(F64)
    h = (v * w + np.maximum(v, w)).astype(f16)
    b = (v + w * np.array([2.0, 0.5])).astype(F32).astype(bf16)
    f = np.exp2(np.minimum(v[:, 0], w[:, 1])) + np.abs(w[:, 0])
    e4m3 = v.astype(ml_dtypes.float8_e4m3fn).view(np.uint8).astype(U32)
    e5m2 = w.astype(ml_dtypes.float8_e5m2).view(np.uint8).astype(U32)
    e = e4m3[:, 0] | e4m3[:, 1] << 8 | e5m2[:, 0] << 16 | e5m2[:, 1] << 24
    near = Near(1e-3, 0.0, "hexp2 is approximate and rounded to f16")
    return dict(x=In(x), y=In(y), h=Out(h), b=Out(b), f=Out(f.astype(F32), near), e=Out(e.astype(U32)))


@case("tensor", "wmma_tile", (2, 2, 1), (32, 1, 1))
def _(rng):
    a, b = coarse(rng, (32, 48), np.float16), coarse(rng, (32, 48), np.float16)
    return dict(a=In(a), b=In(b), c=Out((a.astype(F64) @ b.astype(F64).T).astype(F32), SUM_EXACT), k=i32(48))


@case("tensor", "ldmatrix_mma", (1, 1, 1), (32, 1, 1))
def _(rng):
    a, b = coarse(rng, (16, 16), np.float16), coarse(rng, (8, 16), np.float16)
    return dict(a=In(a), b=In(b), c=Out((a.astype(F64) @ b.astype(F64).T).astype(F32), SUM_EXACT))


@case("tensor", "wgmma_tile", (1, 1, 1), (128, 1, 1), targets=(90,))
def _(rng):
    a, b = coarse(rng, (64, 16), np.float16), coarse(rng, (8, 16), np.float16)
    return dict(a=In(a), b=In(b), c=Out((a.astype(F64) @ b.astype(F64).T).astype(F32), SUM_EXACT))


class TensorMap:
    """A tensor map over an f32 matrix with boxes of 16 x 32."""

    def __init__(self, of):
        self.of = of


@case("tensor", "tensor_map_copy", (2, 2, 1), (64, 1, 1))
def _(rng):
    x = coarse(rng, (24, 44), F32)
    return dict(source=TensorMap(In(x)), target=TensorMap(Out(x * 2)))
