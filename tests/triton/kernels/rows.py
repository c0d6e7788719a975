"""Kernels over rows: softmax, layer and RMS norm (forward and backward), cross entropy, rotary embedding, quantization."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, SUM_EXACT, Const, In, InOut, Launch, Near, Out, Scalar, case, coarse, normal

BF16 = ml_dtypes.bfloat16
F32_STEPS = Near(2e-5, 2e-6, "f32 sums in another order and approximate exponentials or roots")
F16_ROUND = Near(1e-3, 1e-6, "f32 arithmetic, rounded once to f16")
BF16_ROUND = Near(8e-3, 1e-6, "f32 arithmetic, rounded once to bf16")


@triton.jit
def softmax(x, y, stride, columns, rows, BLOCK: tl.constexpr):
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0), num_stages=2):
        at = tl.arange(0, BLOCK)
        v = tl.load(x + row * stride + at, mask=at < columns, other=-float("inf")).to(tl.float32)
        e = tl.exp(v - tl.max(v, axis=0))
        tl.store(y + row * stride + at, (e / tl.sum(e, axis=0)).to(y.dtype.element_ty), mask=at < columns)


def softmax_case(name, dtype, rows, columns, block, near, targets=ALL, **options):
    @case(f"softmax_{name}", targets=targets, **options)
    def _(rng):
        x = normal(rng, (rows, columns), dtype)
        v = x.astype(np.float64)
        e = np.exp(v - v.max(1, keepdims=True))
        args = dict(x=In(x), y=Out((e / e.sum(1, keepdims=True)).astype(dtype), near), stride=Scalar("i32", columns))
        args |= dict(columns=Scalar("i32", columns), rows=Scalar("i32", rows), BLOCK=Const(block))
        return Launch(softmax, (2,), args)


softmax_case("f32", np.float32, 5, 300, 512, F32_STEPS, num_warps=4)
softmax_case("bf16", BF16, 4, 128, 128, BF16_ROUND, num_warps=1)
softmax_case("f16_8_warps", np.float16, 3, 1000, 1024, F16_ROUND, num_warps=8)


@triton.jit
def layer_norm(x, w, b, y, mean, scale, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    total = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        total += tl.load(x + row * columns + at, mask=at < columns, other=0.0).to(tl.float32)
    m = tl.sum(total, axis=0) / columns
    squares = tl.zeros((BLOCK,), dtype=tl.float32)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        v = tl.load(x + row * columns + at, mask=at < columns, other=0.0).to(tl.float32)
        v = tl.where(at < columns, v - m, 0.0)
        squares += v * v
    r = 1 / tl.sqrt(tl.sum(squares, axis=0) / columns + eps)
    tl.store(mean + row, m)
    tl.store(scale + row, r)
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        inside = at < columns
        v = tl.load(x + row * columns + at, mask=inside, other=0.0).to(tl.float32)
        v = (v - m) * r * tl.load(w + at, mask=inside).to(tl.float32) + tl.load(b + at, mask=inside).to(tl.float32)
        tl.store(y + row * columns + at, v.to(y.dtype.element_ty), mask=inside)


@case("layer_norm", num_warps=4)
def _(rng):
    rows, columns = 3, 300
    x, w, b = normal(rng, (rows, columns), np.float16), normal(rng, columns, np.float16), normal(rng, columns, np.float16)
    v = x.astype(np.float64)
    m, r = v.mean(1), 1 / np.sqrt(v.var(1) + 1e-5)
    y = (v - m[:, None]) * r[:, None] * w + b
    near = Near(2e-3, 2e-4, "f32 arithmetic, rounded once to f16; the sum with the bias can cancel")
    args = dict(x=In(x), w=In(w), b=In(b), y=Out(y.astype(np.float16), near))
    args |= dict(mean=Out(m.astype(np.float32), F32_STEPS), scale=Out(r.astype(np.float32), F32_STEPS))
    return Launch(layer_norm, (rows,), args | dict(columns=Scalar("i32", columns), eps=Scalar("fp32", 1e-5), BLOCK=Const(128)))


@triton.jit
def layer_norm_backward(dy, x, w, mean, scale, dx, dw, db, locks, columns, GROUP: tl.constexpr, BLOCK: tl.constexpr):
    """Gradients of a layer norm; partial sums over rows meet in GROUP buffers, each guarded by a spin lock."""
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    v = tl.load(x + row * columns + at, mask=inside, other=0.0)
    g = tl.load(dy + row * columns + at, mask=inside, other=0.0)
    weight = tl.load(w + at, mask=inside, other=0.0)
    r = tl.load(scale + row)
    hat = tl.where(inside, (v - tl.load(mean + row)) * r, 0.0)
    wg = tl.where(inside, weight * g, 0.0)
    c1 = tl.sum(hat * wg, axis=0) / columns
    c2 = tl.sum(wg, axis=0) / columns
    tl.store(dx + row * columns + at, (wg - (hat * c1 + c2)) * r, mask=inside)
    group = row % GROUP
    lock = locks + group
    counter = locks + GROUP + group
    dw_at = dw + group * columns + at
    db_at = db + group * columns + at
    part_w = g * hat
    part_b = g
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    if tl.load(counter) == 0:
        tl.atomic_xchg(counter, 1)
    else:
        part_w += tl.load(dw_at, mask=inside)
        part_b += tl.load(db_at, mask=inside)
    tl.store(dw_at, part_w, mask=inside)
    tl.store(db_at, part_b, mask=inside)
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


@case("layer_norm_backward", num_warps=4)
def _(rng):
    rows, columns, group = 6, 120, 2
    x, dy, w = normal(rng, (rows, columns)), normal(rng, (rows, columns)), normal(rng, columns)
    m, r = x.mean(1).astype(np.float32), (1 / np.sqrt(x.var(1) + 1e-5)).astype(np.float32)
    hat = (x.astype(np.float64) - m[:, None]) * r[:, None]
    wg = w * dy.astype(np.float64)
    dx = (wg - hat * (hat * wg).mean(1)[:, None] - wg.mean(1)[:, None]) * r[:, None]
    near = Near(1e-4, 1e-5, "f32 sums in the order in which blocks get the lock")
    part = lambda terms: np.stack([terms[i::group].sum(0) for i in range(group)]).astype(np.float32)
    locks = np.zeros(2 * group, dtype=np.int32)
    args = dict(dy=In(dy), x=In(x), w=In(w), mean=In(m), scale=In(r), dx=Out(dx.astype(np.float32), near))
    args |= dict(dw=Out(part(dy * hat), near), db=Out(part(dy.astype(np.float64)), near))
    args |= dict(locks=InOut(locks, np.array([0] * group + [1] * group, dtype=np.int32)))
    return Launch(layer_norm_backward, (rows,), args | dict(columns=Scalar("i32", columns), GROUP=Const(group), BLOCK=Const(128)))


@triton.jit
def rms_norm(x, w, y, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    at = tl.arange(0, BLOCK)
    v = tl.load(x + row * columns + at, mask=at < columns, other=0.0).to(tl.float32)
    r = tl.rsqrt(tl.sum(v * v, axis=0) / columns + eps)
    tl.store(y + row * columns + at, (v * r * tl.load(w + at, mask=at < columns)).to(y.dtype.element_ty), mask=at < columns)


@case("rms_norm", num_warps=2)
def _(rng):
    x, w = normal(rng, (4, 200), BF16), normal(rng, 200)
    v = x.astype(np.float64)
    y = v / np.sqrt((v * v).mean(1, keepdims=True) + 1e-6) * w
    args = dict(x=In(x), w=In(w), y=Out(y.astype(BF16), BF16_ROUND), columns=Scalar("i32", 200), eps=Scalar("fp32", 1e-6))
    return Launch(rms_norm, (4,), args | dict(BLOCK=Const(256)))


@triton.jit
def cross_entropy(logits, labels, loss, columns, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    most = -float("inf")
    total = 0.0
    for start in range(0, columns, BLOCK):
        at = start + tl.arange(0, BLOCK)
        v = tl.load(logits + row * columns + at, mask=at < columns, other=-float("inf")).to(tl.float32)
        new_most = tl.maximum(most, tl.max(v, 0))
        total = total * tl.exp(most - new_most) + tl.sum(tl.exp(v - new_most), 0)
        most = new_most
    label = tl.load(labels + row)
    if label >= 0:
        tl.store(loss + row, tl.log(total) + most - tl.load(logits + row * columns + label).to(tl.float32))
    else:
        tl.store(loss + row, 0.0)


@case("cross_entropy", num_warps=4)
def _(rng):
    logits, labels = normal(rng, (5, 777), np.float16), rng.integers(0, 777, 5).astype(np.int64)
    labels[2] = -100
    v = logits.astype(np.float64)
    most = v.max(1)
    picked = v[np.arange(5), np.maximum(labels, 0)]
    loss = np.where(labels >= 0, np.log(np.exp(v - most[:, None]).sum(1)) + most - picked, 0)
    args = dict(logits=In(logits), labels=In(labels), loss=Out(loss.astype(np.float32), Near(1e-5, 1e-5, F32_STEPS.why)))
    return Launch(cross_entropy, (5,), args | dict(columns=Scalar("i32", 777), BLOCK=Const(256)))


@triton.jit
def rotary(x, angle, y, L, H: tl.constexpr, D: tl.constexpr):
    position = tl.program_id(0)
    h, d = tl.arange(0, H), tl.arange(0, D // 2)
    t = tl.load(angle + position * (D // 2) + d)[None, :]
    at = position * H * D + h[:, None] * D + d[None, :]
    first, second = tl.load(x + at).to(tl.float32), tl.load(x + at + D // 2).to(tl.float32)
    tl.store(y + at, (first * tl.cos(t) - second * tl.sin(t)).to(y.dtype.element_ty))
    tl.store(y + at + D // 2, (second * tl.cos(t) + first * tl.sin(t)).to(y.dtype.element_ty))


@case("rotary", num_warps=1)
def _(rng):
    x = normal(rng, (6, 4, 32), np.float16)
    angle = (np.arange(6)[:, None] * 100.0 ** (-np.arange(16) / 16)).astype(np.float32)
    a, b, t = x[..., :16].astype(np.float64), x[..., 16:].astype(np.float64), angle[:, None, :].astype(np.float64)
    y = np.concatenate([a * np.cos(t) - b * np.sin(t), b * np.cos(t) + a * np.sin(t)], -1)
    near = Near(1e-3, 2e-5, "f32 arithmetic, rounded once to f16; differences can cancel")
    args = dict(x=In(x), angle=In(angle), y=Out(y.astype(np.float16), near), L=Scalar("i32", 6), H=Const(4), D=Const(32))
    return Launch(rotary, (6,), args)


@triton.jit
def quantize(x, codes, scales, columns, GROUP: tl.constexpr):
    """E4M3 codes with one f32 scale for each group; the scale is a power of two, so that division is exact."""
    at = tl.program_id(0) * columns + tl.program_id(1) * GROUP + tl.arange(0, GROUP)
    v = tl.load(x + at)
    scale = tl.exp2(tl.ceil(tl.log2(tl.max(tl.abs(v), 0) / 448.0)))
    tl.store(codes + at, (v / scale).to(codes.dtype.element_ty))
    tl.store(scales + tl.program_id(0) * tl.num_programs(1) + tl.program_id(1), scale)


@case("quantize_e4m3", num_warps=1)
def _(rng):
    x = normal(rng, (3, 4, 64))
    scale = np.exp2(np.ceil(np.log2(np.abs(x).max(-1) / 448.0))).astype(np.float32)
    codes = (x / scale[..., None]).astype(ml_dtypes.float8_e4m3fn)
    args = dict(x=In(x.reshape(3, 256)), codes=Out(codes.reshape(3, 256)), scales=Out(scale), columns=Scalar("i32", 256))
    return Launch(quantize, (3, 4), args | dict(GROUP=Const(64)))


@triton.jit
def adam(parameter, gradient, first, second, n, rate, beta1, beta2, eps, correction1, correction2, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    g = tl.load(gradient + at, mask=inside)
    m = beta1 * tl.load(first + at, mask=inside) + (1 - beta1) * g
    v = beta2 * tl.load(second + at, mask=inside) + (1 - beta2) * g * g
    step = rate * (m / correction1) / (tl.sqrt(v / correction2) + eps)
    tl.store(parameter + at, tl.load(parameter + at, mask=inside) - step, mask=inside)
    tl.store(first + at, m, mask=inside)
    tl.store(second + at, v, mask=inside)


@case("adam", num_warps=4)
def _(rng):
    n = 700
    p, g, m, v = normal(rng, n), normal(rng, n), normal(rng, n), np.abs(normal(rng, n))
    m2 = 0.9 * m.astype(np.float64) + 0.1 * g
    v2 = 0.999 * v.astype(np.float64) + 0.001 * g.astype(np.float64) ** 2
    p2 = p - 0.01 * (m2 / 0.19) / (np.sqrt(v2 / 0.002) + 1e-8)
    f32 = np.float32
    near = Near(1e-5, 1e-6, "f32 arithmetic with constants rounded to f32")
    args = dict(parameter=InOut(p, p2.astype(f32), near), gradient=In(g), first=InOut(m, m2.astype(f32), near))
    args |= dict(second=InOut(v, v2.astype(f32), near), n=Scalar("i32", n))
    numbers = dict(rate=0.01, beta1=0.9, beta2=0.999, eps=1e-8, correction1=0.19, correction2=0.002)
    return Launch(adam, (3,), args | {name: Scalar("fp32", x) for name, x in numbers.items()} | dict(BLOCK=Const(256)))
