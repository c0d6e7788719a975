"""Attention: forward over blocks of keys with a running maximum, causal or not, by pointer and by descriptor; decode."""

import ml_dtypes
import numpy as np
import triton
import triton.language as tl
from launch import ALL, Const, Descriptor, In, Launch, Near, Out, Scalar, case, normal

BF16 = ml_dtypes.bfloat16


@triton.jit
def forward(q, k, v, out, lse, scale, L, CAUSAL: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr,
            SPECIALIZED: tl.constexpr):  # fmt: skip
    block, head = tl.program_id(0), tl.program_id(1)
    m = block * BM + tl.arange(0, BM)
    d = tl.arange(0, D)
    base = head * L * D
    query = tl.load(q + base + m[:, None] * D + d[None, :])
    most = tl.full((BM,), float("-inf"), dtype=tl.float32)
    total = tl.zeros((BM,), dtype=tl.float32)
    acc = tl.zeros((BM, D), dtype=tl.float32)
    end = (block + 1) * BM if CAUSAL else L
    for start in tl.range(0, end, BN, warp_specialize=SPECIALIZED):
        n = start + tl.arange(0, BN)
        key = tl.load(k + base + n[None, :] * D + d[:, None])
        score = tl.dot(query, key) * (scale * 1.4426950408889634)
        if CAUSAL:
            score = tl.where(m[:, None] >= n[None, :], score, float("-inf"))
        new_most = tl.maximum(most, tl.max(score, 1))
        p = tl.exp2(score - new_most[:, None])
        shrink = tl.exp2(most - new_most)
        total = total * shrink + tl.sum(p, 1)
        value = tl.load(v + base + n[:, None] * D + d[None, :])
        acc = tl.dot(p.to(value.dtype), value, acc * shrink[:, None])
        most = new_most
    tl.store(out + base + m[:, None] * D + d[None, :], (acc / total[:, None]).to(out.dtype.element_ty))
    tl.store(lse + head * L + m, most + tl.log2(total))


@triton.jit
def forward_by_descriptor(q, k, v, out, scale, H, L, BM: tl.constexpr, BN: tl.constexpr, D: tl.constexpr,
                          SPECIALIZED: tl.constexpr):  # fmt: skip
    """Rows of all heads one after another, so one two-dimensional descriptor covers them."""
    q_rows = tl.make_tensor_descriptor(q, shape=[H * L, D], strides=[D, 1], block_shape=[BM, D])
    k_rows = tl.make_tensor_descriptor(k, shape=[H * L, D], strides=[D, 1], block_shape=[BN, D])
    v_rows = tl.make_tensor_descriptor(v, shape=[H * L, D], strides=[D, 1], block_shape=[BN, D])
    out_rows = tl.make_tensor_descriptor(out, shape=[H * L, D], strides=[D, 1], block_shape=[BM, D])
    first = tl.program_id(1) * L
    query = q_rows.load([first + tl.program_id(0) * BM, 0])
    most = tl.full((BM,), float("-inf"), dtype=tl.float32)
    total = tl.full((BM,), 1.0, dtype=tl.float32) * 0.0
    acc = tl.zeros((BM, D), dtype=tl.float32)
    for start in tl.range(0, L, BN, warp_specialize=SPECIALIZED):
        score = tl.dot(query, k_rows.load([first + start, 0]).T) * (scale * 1.4426950408889634)
        new_most = tl.maximum(most, tl.max(score, 1))
        p = tl.exp2(score - new_most[:, None])
        shrink = tl.exp2(most - new_most)
        total = total * shrink + tl.sum(p, 1)
        acc = acc * shrink[:, None]
        value = v_rows.load([first + start, 0])
        acc = tl.dot(p.to(value.dtype), value, acc)
        most = new_most
    out_rows.store([first + tl.program_id(0) * BM, 0], (acc / total[:, None]).to(out.dtype.element_ty))


def reference(q, k, v, scale, causal):
    q, k, v = (x.astype(np.float64) for x in (q, k, v))
    score = np.einsum("hmd,hnd->hmn", q, k) * scale
    if causal:
        score = np.where(np.tril(np.ones(score.shape[-2:], dtype=bool)), score, -np.inf)
    most = score.max(-1, keepdims=True)
    p = np.exp(score - most)
    total = p.sum(-1, keepdims=True)
    return np.einsum("hmn,hnd->hmd", p / total, v), ((most + np.log(total)) / np.log(2))[..., 0]


F16_NEAR = Near(4e-3, 2e-3, "weights are rounded to f16 before the second product and the result to f16 after it")
BF16_NEAR = Near(2e-2, 1.6e-2, "weights are rounded to bf16 before the second product and the result to bf16 after it")


def attention_case(name, dtype, heads, length, depth, block, causal=False, specialized=False, targets=ALL, **options):
    @case(f"attention_{name}", targets=targets, **options)
    def _(rng):
        q, k, v = (normal(rng, (heads, length, depth), dtype) for _ in range(3))
        out, lse = reference(q, k, v, 0.125, causal)
        near = F16_NEAR if dtype == np.float16 else BF16_NEAR
        lse_near = Near(1e-4, 1e-4, "f32 sums of approximate exponentials")
        bm, bn = block
        args = dict(q=In(q), k=In(k), v=In(v), out=Out(out.astype(dtype), near), lse=Out(lse.astype(np.float32), lse_near))
        args |= dict(scale=Scalar("fp32", 0.125), L=Scalar("i32", length, divisible=True), CAUSAL=Const(causal))
        args |= dict(BM=Const(bm), BN=Const(bn), D=Const(depth), SPECIALIZED=Const(specialized))
        return Launch(forward, (length // bm, heads), args)


attention_case("f16", np.float16, 2, 64, 64, (64, 32), num_warps=4, num_stages=2)
attention_case("bf16_causal", BF16, 1, 128, 64, (64, 32), causal=True, num_warps=4, num_stages=3)
attention_case("f16_128_rows", np.float16, 1, 128, 64, (128, 64), targets=(90, 100), num_warps=8, num_stages=2)
attention_case("f16_small", np.float16, 2, 32, 16, (16, 16), num_warps=1, num_stages=2)


def descriptor_case(name, dtype, heads, length, depth, block, specialized=False, targets=ALL, **options):
    @case(f"attention_descriptor_{name}", targets=targets, **options)
    def _(rng):
        q, k, v = (normal(rng, (heads, length, depth), dtype) for _ in range(3))
        out, _ = reference(q, k, v, 0.125, False)
        bm, bn = block
        near = F16_NEAR if dtype == np.float16 else BF16_NEAR
        args = dict(q=In(q), k=In(k), v=In(v), out=Out(out.astype(dtype), near), scale=Scalar("fp32", 0.125))
        args |= dict(H=Scalar("i32", heads), L=Scalar("i32", length, divisible=True), BM=Const(bm), BN=Const(bn))
        return Launch(forward_by_descriptor, (length // bm, heads), args | dict(D=Const(depth), SPECIALIZED=Const(specialized)))


descriptor_case("f16", np.float16, 2, 64, 64, (64, 32), num_warps=4, num_stages=2)
descriptor_case("specialized", np.float16, 1, 128, 64, (128, 64), specialized=True, targets=(90, 100), num_warps=4, num_stages=2)
descriptor_case("bf16_specialized", BF16, 1, 256, 64, (128, 64), specialized=True, targets=(100,), num_warps=8, num_stages=3)


@triton.jit
def decode(q, keys, values, pages, out, scale, length, D: tl.constexpr, PAGE: tl.constexpr, BLOCKS: tl.constexpr):
    """One query for each head against keys in pages of PAGE rows that a table places."""
    head = tl.program_id(0)
    d = tl.arange(0, D)
    query = tl.load(q + head * D + d).to(tl.float32)
    most = -float("inf")
    total = 0.0
    acc = tl.zeros((D,), dtype=tl.float32)
    for block in range(BLOCKS):
        page = tl.load(pages + block)
        row = tl.arange(0, PAGE)
        inside = block * PAGE + row < length
        at = page * PAGE * D + row[:, None] * D + d[None, :]
        key = tl.load(keys + at, mask=inside[:, None], other=0.0).to(tl.float32)
        score = tl.where(inside, tl.sum(key * query[None, :], 1) * scale, float("-inf"))
        new_most = tl.maximum(most, tl.max(score, 0))
        p = tl.exp(score - new_most)
        shrink = tl.exp(most - new_most)
        value = tl.load(values + at, mask=inside[:, None], other=0.0).to(tl.float32)
        acc = acc * shrink + tl.sum(p[:, None] * value, 0)
        total = total * shrink + tl.sum(p, 0)
        most = new_most
    tl.store(out + head * D + d, (acc / total).to(out.dtype.element_ty))


@case("attention_decode_paged", num_warps=2)
def _(rng):
    heads, depth, page, blocks, length = 4, 64, 16, 3, 41
    q = normal(rng, (heads, depth), np.float16)
    keys, values = (normal(rng, (5, page, depth), np.float16) for _ in range(2))
    pages = np.array([3, 0, 4], dtype=np.int32)
    k, v = (x[pages].reshape(-1, depth)[:length].astype(np.float64) for x in (keys, values))
    score = q.astype(np.float64) @ k.T * 0.125
    p = np.exp(score - score.max(-1, keepdims=True))
    out = (p / p.sum(-1, keepdims=True)) @ v
    near = Near(1e-3, 1e-4, "f32 throughout, rounded once to f16")
    args = dict(q=In(q), keys=In(keys), values=In(values), pages=In(pages), out=Out(out.astype(np.float16), near))
    args |= dict(scale=Scalar("fp32", 0.125), length=Scalar("i32", length), D=Const(depth), PAGE=Const(page))
    return Launch(decode, (heads,), args | dict(BLOCKS=Const(blocks)))
