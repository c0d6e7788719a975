"""Kernels without exchange between elements: maps, masks, conversions, random numbers, calls, inline assembly."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from triton.language.extra import libdevice
from launch import ALL, BLACKWELL, Const, In, InOut, Launch, Near, Out, Scalar, case, coarse, normal


@triton.jit
def add(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


@case("add_f32", num_warps=4)
def _(rng):
    x, y = normal(rng, 1000), normal(rng, 1000)
    return Launch(add, (4,), dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 1000), BLOCK=Const(256)))


@case("add_f16_unaligned", targets=(90,), num_warps=2)
def _(rng):
    x, y = normal(rng, 333, np.float16), normal(rng, 333, np.float16)
    args = dict(x=In(x, aligned=False), y=In(y, aligned=False), out=Out(x + y, aligned=False), n=Scalar("i32", 333))
    return Launch(add, (3,), args | dict(BLOCK=Const(128)))


@case("add_bf16", num_warps=1)
def _(rng):
    x, y = normal(rng, 512, ml_dtypes.bfloat16), normal(rng, 512, ml_dtypes.bfloat16)
    args = dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 512, divisible=True))
    return Launch(add, (2,), args | dict(BLOCK=Const(256)))


@case("add_f64", targets=(90, 120), num_warps=4)
def _(rng):
    x, y = normal(rng, 300, np.float64), normal(rng, 300, np.float64)
    return Launch(add, (3,), dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 300), BLOCK=Const(128)))


@case("add_i8", targets=(100,), num_warps=1)
def _(rng):
    x, y = rng.integers(-64, 64, 200).astype(np.int8), rng.integers(-64, 64, 200).astype(np.int8)
    return Launch(add, (2,), dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 200), BLOCK=Const(128)))


@case("add_i64", targets=(120,), num_warps=2)
def _(rng):
    x, y = rng.integers(-(2**62), 2**62, 200), rng.integers(-(2**62), 2**62, 200)
    return Launch(add, (2,), dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 200), BLOCK=Const(128)))


@triton.jit
def add_after_dependency(x, y, out, n, BLOCK: tl.constexpr):
    tl.extra.cuda.gdc_wait()
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    x = tl.load(x + at, mask=inside)
    y = tl.load(y + at, mask=inside)
    tl.extra.cuda.gdc_launch_dependents()
    tl.store(out + at, x + y, mask=inside)


@case("dependent_launch", num_warps=4, launch_pdl=True)
def _(rng):
    x, y = normal(rng, 500), normal(rng, 500)
    args = dict(x=In(x), y=In(y), out=Out(x + y), n=Scalar("i32", 500), BLOCK=Const(256))
    return Launch(add_after_dependency, (2,), args)


@triton.jit
def transcendental(x, exp, log, sine, cosine, root, inverse_root, error, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    tl.store(exp + at, tl.exp(v))
    tl.store(log + at, tl.log(tl.abs(v)) + tl.log2(tl.abs(v) + 1.0))
    tl.store(sine + at, tl.sin(v))
    tl.store(cosine + at, tl.cos(v))
    tl.store(root + at, tl.sqrt(tl.abs(v)) + tl.sqrt_rn(tl.abs(v)))
    tl.store(inverse_root + at, tl.rsqrt(tl.abs(v) + 0.5))
    tl.store(error + at, tl.erf(v))


@case("transcendental", num_warps=4)
def _(rng):
    x = (normal(rng, 512) * 4).astype(np.float32)
    v = x.astype(np.float64)
    erf = np.array([__import__("math").erf(value) for value in v])
    near = Near(2e-5, 2e-6, "approximate instructions (ex2, lg2, rsqrt, sqrt) and f32 steps around them")
    results = [
        np.exp(v),
        np.log(np.abs(v)) + np.log2(np.abs(v) + 1),
        np.sin(v),
        np.cos(v),
        2 * np.sqrt(np.abs(v)),
        1 / np.sqrt(np.abs(v) + 0.5),
        erf,
    ]
    names = ["exp", "log", "sine", "cosine", "root", "inverse_root", "error"]
    outs = {name: Out(result.astype(np.float32), near) for name, result in zip(names, results)}
    return Launch(transcendental, (2,), dict(x=In(x)) | outs | dict(BLOCK=Const(256)))


@triton.jit
def library_functions(x, y, power, tangent, arc, hyper, remainder, root, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    tl.store(power + at, libdevice.pow(tl.abs(v), w))
    tl.store(tangent + at, libdevice.tan(v))
    tl.store(arc + at, libdevice.atan2(v, w) + libdevice.asin(libdevice.tanh(v)))
    tl.store(hyper + at, libdevice.tanh(v) + libdevice.log1p(tl.abs(v)) + libdevice.expm1(w))
    tl.store(remainder + at, libdevice.fmod(v * 100.0, w))
    tl.store(root + at, libdevice.cbrt(v) + libdevice.rint(w) + libdevice.div_rn(v, w))


@case("library_functions", targets=(90, 100), num_warps=4)
def _(rng):
    x, y = normal(rng, 256), (np.abs(normal(rng, 256)) + 0.25).astype(np.float32)
    v, w = x.astype(np.float64), y.astype(np.float64)
    near = Near(1e-5, 1e-5, "library functions of f32 are within a few units in the last place, their sums too")
    results = dict(
        power=np.abs(v) ** w,
        tangent=np.tan(v),
        arc=np.arctan2(v, w) + np.arcsin(np.tanh(v)),
        hyper=np.tanh(v) + np.log1p(np.abs(v)) + np.expm1(w),
        remainder=np.fmod((x * np.float32(100)).astype(np.float64), w),
        root=np.cbrt(v) + np.rint(w) + v / w,
    )
    outs = {name: Out(result.astype(np.float32), near) for name, result in results.items()}
    return Launch(library_functions, (1,), dict(x=In(x), y=In(y)) | outs | dict(BLOCK=Const(256)))


@triton.jit
def library_functions_f64(x, y, out, power, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    tl.store(out + at, tl.exp(v) + tl.sin(w) + tl.log(tl.abs(v)) + v / w + tl.sqrt(tl.abs(w)))
    tl.store(power + at, libdevice.pow(tl.abs(v), w))


@case("library_functions_f64", targets=(90, 100), num_warps=4)
def _(rng):
    v, w = normal(rng, 128, np.float64), normal(rng, 128, np.float64)
    near = Near(1e-13, 1e-13, "library functions of f64 are within two units in the last place, their sum too")
    out = np.exp(v) + np.sin(w) + np.log(np.abs(v)) + v / w + np.sqrt(np.abs(w))
    args = dict(x=In(v), y=In(w), out=Out(out, near), power=Out(np.abs(v) ** w, near), BLOCK=Const(128))
    return Launch(library_functions_f64, (1,), args)


@triton.jit
def integers(x, y, quotient, rest, shifts, bits, high, wide, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    tl.store(quotient + at, v // w)
    tl.store(rest + at, v % w)
    tl.store(shifts + at, (v << (w & 31)) ^ (v >> (w & 7)))
    tl.store(bits + at, libdevice.popc(v) + libdevice.clz(w) + libdevice.ffs(v) + libdevice.brev(w))
    tl.store(high + at, tl.umulhi(v.to(tl.uint32, bitcast=True), w.to(tl.uint32, bitcast=True)))
    tl.store(wide + at, (v.to(tl.int64) * w.to(tl.int64)) // (w.to(tl.int64) + 100000))


@case("integers", num_warps=4)
def _(rng):
    v = rng.integers(-(2**31), 2**31, 256).astype(np.int32)
    w = rng.integers(1, 30000, 256).astype(np.int32)
    v[:4] = [0, -(2**31), 2**31 - 1, -1]
    as64 = lambda a: a.astype(np.int64)
    truncated = lambda a, b: np.sign(a) * (np.abs(a) // b)
    quotient = truncated(as64(v), as64(w))
    unsigned = lambda a: a.view(np.uint32).astype(np.uint64)
    popcount = np.array([bin(int(value)).count("1") for value in v.view(np.uint32)])
    leading = np.array([32 - int(value).bit_length() for value in w])
    first = np.array([(int(value) & -int(value)).bit_length() for value in v.view(np.uint32)])
    reverse = np.array([int(f"{int(value):032b}"[::-1], 2) for value in w.view(np.uint32)], dtype=np.int64)
    shifts = (unsigned(v) << (unsigned(w) & np.uint64(31))).astype(np.uint32).view(np.int32) ^ (v >> (w & 7))
    results = dict(
        quotient=quotient.astype(np.int32),
        rest=(as64(v) - quotient * as64(w)).astype(np.int32),
        shifts=shifts,
        bits=(popcount + leading + first + reverse).astype(np.uint32).view(np.int32),
        high=((unsigned(v) * unsigned(w)) >> np.uint64(32)).astype(np.uint32),
        wide=truncated(as64(v) * as64(w), as64(w) + 100000),
    )
    outs = {name: Out(result) for name, result in results.items()}
    return Launch(integers, (1,), dict(x=In(v), y=In(w)) | outs | dict(BLOCK=Const(256)))


@triton.jit
def convert(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.load(x + at).to(out.dtype.element_ty))


FLOATS = {
    "f32": np.float32,
    "f16": np.float16,
    "bf16": ml_dtypes.bfloat16,
    "e4m3": ml_dtypes.float8_e4m3fn,
    "e5m2": ml_dtypes.float8_e5m2,
}


def conversion_case(source, result, targets):
    @case(f"convert_{source}_{result}", targets=targets, num_warps=4)
    def _(rng):
        x = (normal(rng, 512) * np.exp2(rng.integers(-6, 7, 512))).astype(np.float32).astype(FLOATS[source])
        if FLOATS[source] == np.float32 and "e" not in result:
            x[:4] = [0.0, -0.0, np.inf, np.nan]
        return Launch(convert, (1,), dict(x=In(x), out=Out(x.astype(FLOATS[result])), BLOCK=Const(512)))


for source, result, targets in [
    ("f32", "f16", (90,)),
    ("f32", "bf16", (100,)),
    ("f32", "e4m3", (120, 90)),
    ("f32", "e5m2", (90, 100)),
    ("f16", "e4m3", (100,)),
    ("f16", "f32", (120,)),
    ("bf16", "f32", (90,)),
    ("bf16", "e4m3", (90,)),
    ("e4m3", "f16", (90, 120)),
    ("e4m3", "f32", (100,)),
    ("e5m2", "f16", (100, 90)),
    ("e4m3", "bf16", (120,)),
]:
    conversion_case(source, result, targets)


@triton.jit
def convert_integers(x, i, to_i8, to_u16, to_i64, from_i, toward_zero, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(i + at)
    tl.store(to_i8 + at, v.to(tl.int8))
    tl.store(to_u16 + at, tl.abs(v).to(tl.uint16))
    tl.store(to_i64 + at, v.to(tl.int64))
    tl.store(from_i + at, w.to(tl.float32))
    tl.store(toward_zero + at, v.to(tl.bfloat16, fp_downcast_rounding="rtz"))


@case("convert_integers", num_warps=2)
def _(rng):
    x = (normal(rng, 256) * 30).astype(np.float32)
    i = rng.integers(-(2**31), 2**31, 256).astype(np.int32)
    chopped = (x.view(np.uint32) >> 16).astype(np.uint16).view(ml_dtypes.bfloat16)
    outs = dict(
        to_i8=Out(x.astype(np.int8)),
        to_u16=Out(np.abs(x).astype(np.uint16)),
        to_i64=Out(x.astype(np.int64)),
        from_i=Out(i.astype(np.float32)),
        toward_zero=Out(chopped),
    )
    return Launch(convert_integers, (1,), dict(x=In(x), i=In(i)) | outs | dict(BLOCK=Const(256)))


@triton.jit
def bf16_math(x, y, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    tl.store(out + at, tl.maximum(v * w, w - v) + tl.where(v > w, v, -w))


@case("bf16_math", num_warps=4)
def _(rng):
    bf16 = ml_dtypes.bfloat16
    v, w = coarse(rng, 512, bf16), coarse(rng, 512, bf16)
    v32, w32 = v.astype(np.float32), w.astype(np.float32)
    out = np.maximum(v32 * w32, w32 - v32) + np.where(v32 > w32, v32, -w32)
    assert np.all(out.astype(bf16).astype(np.float32) == out), "the reference needs no rounding"
    return Launch(bf16_math, (2,), dict(x=In(v), y=In(w), out=Out(out.astype(bf16)), BLOCK=Const(256)))


@triton.jit
def f16_math(x, y, out, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    clipped = tl.clamp(v * w, -2.0, 2.0)
    smaller = tl.minimum(v, w, propagate_nan=tl.PropagateNan.ALL)
    tl.store(out + at, clipped + smaller)


@case("f16_math", num_warps=2)
def _(rng):
    v, w = coarse(rng, 256, np.float16), coarse(rng, 256, np.float16)
    v[:3], w[2:4] = [np.nan, 0.0, 1.0], [2.0, np.nan]
    return Launch(f16_math, (1,), dict(x=In(v), y=In(w), out=Out(f16_reference(v, w)), BLOCK=Const(256)))


def f16_reference(v, w):
    product = v * w
    clipped = np.fmin(np.fmax(product, np.float16(-2)), np.float16(2))
    return (clipped + np.minimum(v, w)).astype(np.float16)


@triton.jit
def dropout(x, out, scale, seed, p, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    keep = tl.rand(seed, at) > p
    tl.store(out + at, tl.where(keep, tl.load(x + at) * scale, 0.0))


def philox(seed, count, rounds=10):
    """First word of Philox 4x32 for counters (i, 0, 0, 0)."""
    mask = np.uint64(0xFFFFFFFF)
    c = [np.arange(count, dtype=np.uint64)] + [np.zeros(count, dtype=np.uint64) for _ in range(3)]
    k0, k1 = seed & 0xFFFFFFFF, seed >> 32
    for _ in range(rounds):
        a, b = c[0] * np.uint64(0xD2511F53), c[2] * np.uint64(0xCD9E8D57)
        c = [(b >> np.uint64(32)) ^ c[1] ^ np.uint64(k0), b & mask, (a >> np.uint64(32)) ^ c[3] ^ np.uint64(k1), a & mask]
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c[0].astype(np.uint32)


@case("dropout", num_warps=4)
def _(rng):
    x = normal(rng, 512)
    signed = philox(1234, 512).view(np.int32)
    uniform = np.where(signed < 0, -signed.astype(np.int64) - 1, signed).astype(np.float32) * np.float32(4.6566127342e-10)
    out = np.where(uniform > np.float32(0.5), x * np.float32(2.0), np.float32(0))
    args = dict(x=In(x), out=Out(out), scale=Scalar("fp32", 2.0), seed=Scalar("i32", 1234), p=Scalar("fp32", 0.5))
    return Launch(dropout, (2,), args | dict(BLOCK=Const(256)))


@triton.jit
def random_normal(out, seed, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(out + at, tl.randn(seed, at) * 0.0 + tl.randint(seed, at).to(tl.float32))


@case("random_integers", targets=(90, 120), num_warps=1)
def _(rng):
    out = philox(77, 128).astype(np.float32)
    return Launch(random_normal, (1,), dict(out=Out(out), seed=Scalar("i64", 77), BLOCK=Const(128)))


@triton.jit(noinline=True)
def polynomial(v, a, b):
    return (a * v + b) * v + 1.0, v * 2.0


@triton.jit
def device_function(x, out, a, b, BLOCK: tl.constexpr):
    block = tl.program_id(0)
    at = block * BLOCK + tl.arange(0, BLOCK)
    first, doubled = polynomial(block * 0.5, a, b)
    tl.store(out + at, tl.load(x + at) * first + polynomial(doubled, b, a)[0])


@case("device_function", num_warps=4)
def _(rng):
    x = coarse(rng, 256, np.float32)
    f = lambda v, a, b: (a * v + b) * v + 1
    block = np.repeat(np.arange(2) * 0.5, 128)
    out = x * f(block, 0.5, 0.25) + f(block * 2, 0.25, 0.5)
    args = dict(x=In(x), out=Out(out.astype(np.float32)), a=Scalar("fp32", 0.5), b=Scalar("fp32", 0.25))
    return Launch(device_function, (2,), args | dict(BLOCK=Const(128)))


@triton.jit
def inline_assembly(x, y, out, packed, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    w = tl.load(y + at)
    r = tl.inline_asm_elementwise(
        """
        {
            .reg .b32 t;
            .reg .pred p;
            lop3.b32 t, $1, $2, 0x0f0f0f0f, 0xE8;
            setp.gt.s32 p, $1, 0;
            @p add.s32 t, t, 1;
            prmt.b32 $0, t, $2, 0x3610;
        }
        """,
        "=r,r,r",
        [v, w],
        dtype=tl.int32,
        is_pure=True,
        pack=1,
    )
    tl.store(out + at, r)
    b = tl.load(packed + at)
    swapped = tl.inline_asm_elementwise("prmt.b32 $0, $1, 0, 0x0123;", "=r,r", [b], dtype=tl.int8, is_pure=True, pack=4)
    tl.store(packed + at, swapped)


@case("inline_assembly", num_warps=1)
def _(rng):
    v = rng.integers(-(2**31), 2**31, 128).astype(np.int32)
    w = rng.integers(-(2**31), 2**31, 128).astype(np.int32)
    c = np.int32(0x0F0F0F0F)
    t = ((v & w) | (v & c) | (w & c)).view(np.uint32) + (v > 0).astype(np.uint32)
    byte = lambda a, i: (a >> np.uint32(8 * i)) & np.uint32(255)
    w_bits = w.view(np.uint32)
    r = byte(t, 0) | (byte(t, 1) << 8) | (byte(w_bits, 2) << 16) | (byte(t, 3) << 24)
    packed = rng.integers(-128, 128, 128).astype(np.int8)
    swapped = packed.reshape(-1, 4)[:, ::-1].reshape(-1).copy()
    args = dict(x=In(v), y=In(w), out=Out(r.astype(np.uint32).view(np.int32)), packed=InOut(packed, swapped))
    return Launch(inline_assembly, (1,), args | dict(BLOCK=Const(128)))


@triton.jit
def collatz(x, steps, n):
    i = tl.program_id(0)
    v = tl.load(x + i)
    count = 0
    while v != 1:
        if v % 2 == 0:
            v = v // 2
        else:
            v = 3 * v + 1
        count += 1
    if i < n:
        tl.store(steps + i, count)


@case("while_loop", num_warps=1)
def _(rng):
    x = rng.integers(1, 1000, 12).astype(np.int32)

    def length(v):
        count = 0
        while v != 1:
            v, count = (v // 2 if v % 2 == 0 else 3 * v + 1), count + 1
        return count

    steps = np.array([length(int(v)) for v in x], dtype=np.int32)
    return Launch(collatz, (12,), dict(x=In(x), steps=Out(steps), n=Scalar("i32", 12)))


@triton.jit
def newton(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    r = v
    steps = 0
    while tl.max(tl.abs(r * r - v)) > 1e-4 * tl.max(v) and steps < 40:
        r = 0.5 * (r + v / r)
        steps += 1
    tl.store(out + at, r)


@case("while_over_block", num_warps=4)
def _(rng):
    x = (np.abs(normal(rng, 256)) + 1).astype(np.float32)
    near = Near(1e-3, 0.0, "the loop stops when the largest residual is under 1e-4 of the largest input")
    return Launch(newton, (1,), dict(x=In(x), out=Out(np.sqrt(x), near), BLOCK=Const(256)))


@triton.jit
def show(x, out, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    v = tl.load(x + at)
    tl.device_print("value", v)
    tl.device_assert(v > -1000.0, "input is too small")
    tl.store(out + at, v + 1.0)


@case("print", num_warps=1)
def _(rng):
    x = np.arange(32).astype(np.float32)
    return Launch(show, (1,), dict(x=In(x), out=Out(x + 1), BLOCK=Const(32)))


@triton.jit
def shapes(x, out, joined, M: tl.constexpr, N: tl.constexpr):
    i = tl.arange(0, M)[:, None]
    j = tl.arange(0, N)[None, :]
    v = tl.load(x + i * N + j)
    tl.store(out + j.trans() * M + i.trans(), v.trans())
    low, high = tl.split(v.reshape(M, N // 2, 2))
    both = tl.join(high, low).reshape(M, N) + tl.flip(v, 1)
    tl.store(joined + i * N + j, both)


@case("shapes", num_warps=4)
def _(rng):
    x = coarse(rng, (32, 64), np.float32)
    pairs = x.reshape(32, 32, 2)[:, :, ::-1].reshape(32, 64)
    args = dict(x=In(x), out=Out(x.T.copy()), joined=Out(pairs + x[:, ::-1]), M=Const(32), N=Const(64))
    return Launch(shapes, (1,), args)


@triton.jit
def polling_cache(x, out, flag, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(x + at, cache_modifier=".cg") + 0.0 * tl.load(x + at, eviction_policy="evict_first")
    w = tl.load(x + at, volatile=True)
    tl.store(out + at, v, eviction_policy="evict_last")
    tl.store(out + at, v + w, cache_modifier=".cs")
    if flag:
        tl.store(out + at, v, cache_modifier=".wt")


@case("cache_modifiers", num_warps=2)
def _(rng):
    x = normal(rng, 256)
    args = dict(x=In(x), out=Out(x + x), flag=Scalar("i1", 0), BLOCK=Const(128))
    return Launch(polling_cache, (2,), args)
