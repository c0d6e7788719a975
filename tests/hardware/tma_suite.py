#!/usr/bin/env python3
"""Tensor copies on a GPU: makes the kernels and the cases, runs them on an H200, records what came out.

    python3 tma_suite.py make                 writes tma.ptx, tma_cases.json and tma_values_cases.json beside this file
    python3 tma_suite.py record SET OUT_DIR   runs every case of a set, `tma` or `tma_values`; writes SET_recorded.json, and all
                                              tiles in dumps.bin, to OUT_DIR

Needs nothing but Python and the driver. A case that faults ends its process, so cases run in a worker that is started again after it.
The replay (crates/emulator/tests/tma_recorded.rs) makes the same bytes and compares: `content` below is its source of bytes too.
"""

import ctypes as C
import json
import os
import random
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
TILE = 16384
GLOBAL = 65536
POISON = 0xEE

# The driver's numbers, and bytes of an element.
TYPES = {
    "u8": (0, 1), "u16": (1, 2), "u32": (2, 4), "i32": (3, 4), "u64": (4, 8), "i64": (5, 8), "f16": (6, 2), "f32": (7, 4),
    "f64": (8, 8), "bf16": (9, 2), "f32_ftz": (10, 4), "tf32": (11, 4), "tf32_ftz": (12, 4),
}
FLOATS = ["f16", "f32", "f64", "bf16", "f32_ftz", "tf32", "tf32_ftz"]
SPAN = {0: 128, 1: 32, 2: 64, 3: 128}
OPS = ["add", "min", "max", "inc", "dec", "and", "or", "xor"]


def content(index, seed):
    """Byte `index` of the content with that seed."""
    x = (index * 2654435761 + seed * 40503 + (index >> 8) * 69069) & 0xFFFFFFFF
    x ^= x >> 15
    x = (x * 2246822519) & 0xFFFFFFFF
    return (x >> 13) & 0xFF


def special(index, seed):
    """As `content`, with many infinities, NaN, denormals and ties among the numbers of every width."""
    byte, word = content(index, seed), index // 8
    kind = content(word, seed + 7) % 8
    # The two top bytes of every 2, 4 and 8 bytes hold the exponent.
    if index % 2 == 1 and kind in (0, 1):
        return byte & 0x80 if kind == 0 else byte & 0x80 | 0x7F
    if index % 2 == 0 and kind == 0 and index % 8 in (2, 6):
        return byte & 0x7F
    if index % 2 == 0 and kind == 1 and index % 8 in (2, 6):
        return byte | 0x80
    return (0x10 if index % 4 == 1 else 0) if kind == 2 and index % 4 < 2 else byte


def fnv(data):
    """FNV-1a, 64 bits."""
    value = 0xCBF29CE484222325
    for byte in data:
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


# ---- kernels ----

def head():
    return ".version 8.0\n.target sm_90\n.address_size 64\n"


def parameters(rest):
    params = [".param .align 64 .b8 p_map[128]", ".param .u64 p_data", ".param .u32 p_bytes", ".param .u32 p_place"]
    params += [f".param .u32 p_c{i}" for i in range(5)] + rest
    return ",\n    ".join(params)


PROLOGUE = """{
    .reg .pred %p<8>;
    .reg .b16 %h<4>;
    .reg .b32 %r<32>;
    .reg .b64 %rd<8>;
    .shared .align 1024 .b8 tile[16384];
    .shared .align 8 .b64 barrier;
    mov.u32 %r0, %tid.x;
    mov.u32 %r1, tile;
    mov.u32 %r2, barrier;
    ld.param.u32 %r3, [p_bytes];
    ld.param.u32 %r4, [p_place];
    ld.param.u32 %r5, [p_c0];
    ld.param.u32 %r6, [p_c1];
    ld.param.u32 %r7, [p_c2];
    ld.param.u32 %r8, [p_c3];
    ld.param.u32 %r9, [p_c4];
    ld.param.u64 %rd1, [p_data];
    cvta.to.global.u64 %rd1, %rd1;
    mov.b64 %rd0, p_map;
    cvta.param.u64 %rd0, %rd0;
    setp.ne.u32 %p0, %r0, 0;
    shl.b32 %r10, %r0, 4;
    add.u32 %r20, %r1, %r4;
"""


def coordinates(rank):
    return "{" + ", ".join(f"%r{5 + i}" for i in range(rank)) + "}"


def load_kernel(rank, im2col):
    """Poisons the tile, loads, and writes the tile and whether the barrier completed to `p_data`."""
    name = f"im2col{rank}" if im2col else f"load{rank}"
    rest = [f".param .u16 p_o{i}" for i in range(rank - 2)] if im2col else []
    text = f".visible .entry {name}(\n    {parameters(rest)})\n.maxntid 128, 1, 1\n" + PROLOGUE
    for i in range(rank - 2 if im2col else 0):
        text += f"    ld.param.u16 %h{i}, [p_o{i}];\n"
    offsets = ", {" + ", ".join(f"%h{i}" for i in range(rank - 2)) + "}" if im2col else ""
    mode = ".im2col" if im2col else ""
    return text + f"""    mov.u32 %r11, 0xEEEEEEEE;
POISON:
    add.u32 %r12, %r1, %r10;
    st.shared.v4.b32 [%r12], {{%r11, %r11, %r11, %r11}};
    add.u32 %r10, %r10, 2048;
    setp.lt.u32 %p1, %r10, 16384;
    @%p1 bra POISON;
    fence.proxy.async.shared::cta;
    @!%p0 mbarrier.init.shared::cta.b64 [%r2], 1;
    @!%p0 fence.mbarrier_init.release.cluster;
    bar.sync 0;
    mov.u32 %r13, 0;
    mov.u32 %r14, 0;
    @%p0 bra WAIT;
    mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r2], %r3;
    cp.async.bulk.tensor.{rank}d.shared::cluster.global{mode}.mbarrier::complete_tx::bytes [%r20], [%rd0, {coordinates(rank)}], [%r2]{offsets};
WAIT:
    mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r2], 0;
    selp.u32 %r14, 1, 0, %p2;
    @%p2 bra WAITED;
    add.u32 %r13, %r13, 1;
    setp.lt.u32 %p3, %r13, 20000;
    @%p3 bra WAIT;
WAITED:
    bar.sync 0;
    shl.b32 %r10, %r0, 4;
COPY:
    add.u32 %r12, %r1, %r10;
    ld.shared.v4.b32 {{%r15, %r16, %r17, %r18}}, [%r12];
    cvt.u64.u32 %rd2, %r10;
    add.s64 %rd3, %rd1, %rd2;
    st.global.v4.b32 [%rd3], {{%r15, %r16, %r17, %r18}};
    add.u32 %r10, %r10, 2048;
    setp.lt.u32 %p1, %r10, 16384;
    @%p1 bra COPY;
    @%p0 bra DONE;
    st.global.u32 [%rd1+16384], %r14;
DONE:
    ret;
}}

"""


def store_kernel(name, instruction):
    """Fills the tile from `p_data` and runs the store or reduction."""
    return f".visible .entry {name}(\n    {parameters([])})\n.maxntid 128, 1, 1\n" + PROLOGUE + f"""COPY:
    cvt.u64.u32 %rd2, %r10;
    add.s64 %rd3, %rd1, %rd2;
    ld.global.v4.b32 {{%r15, %r16, %r17, %r18}}, [%rd3];
    add.u32 %r12, %r1, %r10;
    st.shared.v4.b32 [%r12], {{%r15, %r16, %r17, %r18}};
    add.u32 %r10, %r10, 2048;
    setp.lt.u32 %p1, %r10, 16384;
    @%p1 bra COPY;
    fence.proxy.async.shared::cta;
    bar.sync 0;
    @%p0 bra DONE;
    {instruction};
    cp.async.bulk.commit_group;
    cp.async.bulk.wait_group 0;
DONE:
    ret;
}}

"""


def ptx():
    text = "// Written by tests/hardware/tma_suite.py: one kernel for each form of a tensor copy.\n" + head() + "\n"
    for rank in range(1, 6):
        text += load_kernel(rank, False)
        at = f"[%rd0, {coordinates(rank)}], [%r20]"
        text += store_kernel(f"store{rank}", f"cp.async.bulk.tensor.{rank}d.global.shared::cta.bulk_group {at}")
    for rank in range(3, 6):
        text += load_kernel(rank, True)
        at = f"[%rd0, {coordinates(rank)}], [%r20]"
        instruction = f"cp.async.bulk.tensor.{rank}d.global.shared::cta.im2col_no_offs.bulk_group {at}"
        text += store_kernel(f"store_im2col{rank}", instruction)
    for op in OPS:
        at = f"[%rd0, {coordinates(2)}], [%r20]"
        text += store_kernel(f"{op}2", f"cp.reduce.async.bulk.tensor.2d.global.shared::cta.{op}.bulk_group {at}")
    return text


# ---- cases ----

class Cases:
    def __init__(self):
        self.random = random.Random(20261121)
        self.rows = []

    def add(self, group, **case):
        case.setdefault("interleave", 0)
        case.setdefault("swizzle", 0)
        case.setdefault("fill", 0)
        case.setdefault("place", 0)
        case.setdefault("offsets", [])
        case.setdefault("elements", [1] * len(case["dims"]))
        self.rows.append({"name": f"{group}{len(self.rows)}", **case})

    def strides(self, size, dims, pads=True):
        """Dense strides, or with some bytes between."""
        stride, strides = (dims[0] * size + 15) // 16 * 16, []
        for dim in dims[1:]:
            stride += 16 * self.random.choice([0, 0, 1, 3]) if pads else 0
            strides.append(stride)
            stride *= dim
        return strides, stride

    def tiled(self, kernel, rank, kind, swizzle, negative=True, narrow=False, **more):
        """A random box somewhere around a random tensor."""
        r = self.random
        size = TYPES[kind][1]
        while True:
            span = SPAN[swizzle]
            chunks = r.randint(1, span // 16) if narrow or swizzle == 0 else span // 16
            inner = chunks * 16 // size
            box = [inner] + [r.randint(1, 6) for _ in range(rank - 1)]
            steps = [1] + [r.choice([1, 1, 2, 3]) for _ in range(rank - 1)]
            dims = [r.randint(1, 3 * inner)] + [r.randint(1, 9) for _ in range(rank - 1)]
            strides, total = self.strides(size, dims)
            rows = 1
            for i in range(1, rank):
                rows *= -(-box[i] // steps[i])
            if total <= GLOBAL and rows * inner * size + 1024 <= TILE:
                break
        chunk = 16 // size
        low = -2 if negative else 0
        at = [r.randint(low, 3 * inner // chunk) * chunk] + [r.randint(low, 9) for _ in range(rank - 1)]
        place = r.choice([0, 0, 128, 384, 1024])
        self.add(kernel, kernel=f"{kernel}{rank}", type=kind, dims=dims, strides=strides, box=box, elements=steps,
                 swizzle=swizzle, at=at, bytes=rows * inner * size, place=place, **more)

    def im2col(self, kernel, rank, swizzle, base_outside=False):
        r = self.random
        spatial = rank - 2
        kind = r.choice(["u8", "u16", "f16", "f32", "bf16"])
        size = TYPES[kind][1]
        channels = (SPAN[swizzle] if swizzle else 16 * r.randint(1, 4)) // size
        dims = [channels * r.randint(1, 2)] + [r.randint(2, 9) for _ in range(spatial)] + [r.randint(1, 3)]
        strides, total = self.strides(size, dims, pads=False)
        taps = [r.randint(1, 3) for _ in range(spatial)]
        dilation = [r.randint(1, 2) for _ in range(spatial)]
        before = [r.randint(0, 2) for _ in range(spatial)]
        after = [r.randint(0, 2) for _ in range(spatial)]
        store = kernel.startswith("store")
        if store:
            taps, before, after = [1] * spatial, [0] * spatial, [0] * spatial
        lower = [-p for p in before]
        upper = [after[i] - (taps[i] - 1) * dilation[i] for i in range(spatial)]
        ends = [dims[1 + i] + upper[i] for i in range(spatial)]
        if total > GLOBAL or any(ends[i] <= lower[i] for i in range(spatial)):
            return self.im2col(kernel, rank, swizzle, base_outside)
        base = [r.randint(lower[i], ends[i] - 1) for i in range(spatial)]
        if base_outside:
            axis = r.randrange(spatial)
            base[axis] = r.choice([lower[axis] - 1, ends[axis]])
        offsets = [] if store else [r.randrange(taps[i]) * dilation[i] for i in range(spatial)]
        pixels = r.randint(1, min(64, (TILE - 1024) // (channels * size)))
        at = [r.randrange(2) * channels] + base + [r.randrange(dims[-1])]
        steps = [1] + [r.randint(1, 2) for _ in range(spatial)] + [1]
        self.add(kernel, kernel=f"{kernel}{rank}", type=kind, dims=dims, strides=strides, lower=lower, upper=upper,
                 channels=channels, pixels=pixels, elements=steps, swizzle=swizzle, at=at, offsets=offsets,
                 bytes=pixels * channels * size, place=r.choice([0, 128, 1024]))


def cases():
    c = Cases()
    kinds = list(TYPES)
    for rank in range(1, 6):
        for swizzle in range(4):
            for _ in range(6):
                c.tiled("load", rank, c.random.choice(kinds), swizzle, narrow=c.random.random() < 0.4)
            for _ in range(3):
                c.tiled("store", rank, c.random.choice(kinds), swizzle, negative=False, narrow=c.random.random() < 0.4)
    for kind in kinds:
        c.tiled("load", 2, kind, 3)
    for kind in FLOATS:
        for _ in range(2):
            c.tiled("load", 2, kind, c.random.randrange(4), fill=1)
    for rank in range(3, 6):
        for swizzle in range(4):
            for _ in range(4):
                c.im2col("im2col", rank, swizzle)
            c.im2col("store_im2col", rank, swizzle)
    for op in OPS:
        for kind in kinds:
            c.tiled(op, 2, kind, c.random.randrange(4), negative=False)
    # What the ISA forbids or leaves open: negative coordinates of stores, misaligned coordinates and tiles, bases outside the box.
    for rank in (1, 2, 3):
        for _ in range(2):
            c.tiled("store", rank, "u16", 0, negative=True)
    plain = dict(type="u16", dims=[32, 32], strides=[64], box=[16, 16], bytes=512)
    for at in ([-5, 0], [5, 0], [-4, 0], [4, 3], [-8, 0], [8, 1]):
        c.add("align", kernel="load2", at=at, **plain)
    for place in (16, 32, 64, 128):
        c.add("place", kernel="load2", at=[0, 0], **{**plain, "place": place})
        c.add("place", kernel="store2", at=[0, 0], **{**plain, "place": place})
    for rank in range(3, 6):
        c.im2col("im2col", rank, 0, base_outside=True)
    # A step of dimension 0 without interleave, which the driver's reference says is not looked at.
    c.add("step", kernel="load2", at=[0, 0], **plain, elements=[2, 1])
    # Slices of channels, whose layout is not documented: dense tensors, read at several places.
    for interleave, swizzle in ((1, 0), (1, 1), (1, 3), (2, 1)):
        slice_bytes = 16 * interleave
        for rank in (3, 4, 5):
            for channels, box0 in ((slice_bytes // 2, slice_bytes // 2), (slice_bytes, slice_bytes // 2), (slice_bytes, 2), (4, 2)):
                dims = [channels] + [4, 4, 2, 2][: rank - 1]
                for dense in (False, True):
                    stride, strides = slice_bytes, []
                    if dense:
                        stride = channels * 2 if channels * 2 % slice_bytes == 0 else slice_bytes
                    for dim in dims[1:]:
                        strides.append(stride)
                        stride *= dim
                    box = [box0] + [2] * (rank - 1)
                    at = [0] + [1] * (rank - 1)
                    c.add("slices", kernel=f"load{rank}", type="u16", dims=dims, strides=strides, box=box, at=at,
                          interleave=interleave, swizzle=swizzle, bytes=2 ** (rank - 1) * slice_bytes, counted=True)
    limits(c)
    return c.rows


def values():
    """Conversions and reductions of many values, special ones among them; slices of channels once more."""
    c = Cases()
    for kind in ("tf32", "tf32_ftz", "f32", "f32_ftz", "f64", "f16", "bf16"):
        size = TYPES[kind][1]
        c.add("values", kernel="load2", type=kind, dims=[128 // size, 64], strides=[128], box=[128 // size, 64], at=[0, 0],
              bytes=8192, special=True)
    exists = {
        "add": ["u32", "i32", "u64", "f16", "f32", "f64", "bf16", "f32_ftz", "tf32", "tf32_ftz"],
        "min": ["u32", "i32", "u64", "i64", "f16", "bf16"], "inc": ["u32"], "and": ["u32", "i32", "u64"],
    }
    pairs = {"max": "min", "dec": "inc", "or": "and", "xor": "and"}
    for op in OPS:
        for kind in exists[pairs.get(op, op)]:
            size = TYPES[kind][1]
            c.add(op, kernel=f"{op}2", type=kind, dims=[128 // size, 100], strides=[128], box=[128 // size, 100], at=[0, 0],
                  bytes=12800, special=True)
    for interleave, swizzle in ((1, 0), (2, 1)):
        per_slice = 8 * interleave
        for rank in (3, 4, 5):
            for channels in (1, 2, per_slice, per_slice + 1, 2 * per_slice):
                for at in (0, 1, 2, per_slice):
                    for dim in (4, 64):
                        dims = [8, 3, 3][: rank - 2] + [dim, 3]
                        strides = [256, 1024, 4096][: rank - 2] + [16384]
                        box = [8 * interleave] + [2] * (rank - 3) + [channels, 1]
                        place = [1] * (rank - 2) + [at, 1]
                        c.add("slices", kernel=f"load{rank}", type="u16", dims=dims, strides=strides, box=box, at=place,
                              interleave=interleave, swizzle=swizzle, bytes=16, counted=True)
    return c.rows


def limits(c):
    """Maps at and just over each limit of the driver; the copy is not run."""
    good = dict(kernel="none", type="u16", dims=[64, 32, 4], strides=[128, 4096], box=[32, 8, 1], at=[0, 0, 0], bytes=0)

    def one(**change):
        c.add("limit", **{**good, **change})

    one()
    for base in (16, 8, 4):
        one(base=base)
    for dims in ([64, 1, 1], [64, 0, 4], [64, 1 << 32, 4], [64, (1 << 32) + 1, 4], [1, 1, 1]):
        one(dims=dims)
    for strides in ([128, 4104], [136, 4096], [0, 0], [16, 16], [128, (1 << 40) - 16], [128, 1 << 40]):
        one(strides=strides)
    for box in ([256, 8, 1], [257, 8, 1], [0, 8, 1], [8, 256, 1], [4, 8, 1], [12, 8, 1], [256, 256, 256]):
        one(box=box)
    for elements in ([1, 8, 1], [1, 9, 1], [1, 0, 1], [0, 1, 1], [9, 1, 1]):
        one(elements=elements)
    for swizzle, inner in ((1, 16), (1, 24), (2, 32), (2, 40), (3, 64), (3, 72), (3, 8), (4, 64), (5, 64), (6, 64), (7, 64)):
        one(swizzle=swizzle, box=[inner, 8, 1])
    for kind in TYPES:
        size = TYPES[kind][1]
        one(type=kind, fill=1, box=[64 // size, 8, 1], dims=[32, 32, 4])
    for interleave in (1, 2, 3):
        for swizzle in range(4):
            one(interleave=interleave, swizzle=swizzle)
        one(interleave=interleave, swizzle=1, base=16)
        one(interleave=interleave, swizzle=1, strides=[144, 4608])
        c.add("limit", **{**good, "dims": [64, 32], "strides": [128], "box": [32, 8], "at": [0, 0], "interleave": interleave,
                          "swizzle": 1})
    column = dict(kernel="none", type="u16", at=[0] * 5, bytes=0)
    for rank, edge in ((3, 1 << 15), (4, 1 << 7), (5, 1 << 4)):
        spatial = rank - 2
        dims = [64] + [40] * spatial + [4]
        strides = [128 * 40 ** i for i in range(rank - 1)]
        for low, high in ((-edge, edge - 1), (-edge - 1, 0), (0, edge), (edge - 1, edge - 1), (39, 0), (40, 0), (0, -39), (0, -40)):
            c.add("limit", **column, dims=dims, strides=strides, lower=[low] * spatial, upper=[high] * spatial, channels=32,
                  pixels=32)
        for channels, pixels in ((256, 32), (257, 32), (32, 1024), (32, 1025), (0, 32), (32, 0), (4, 32)):
            c.add("limit", **column, dims=dims, strides=strides, lower=[0] * spatial, upper=[0] * spatial, channels=channels,
                  pixels=pixels)


# ---- the machine ----

class Driver:
    def __init__(self):
        self.lib = C.CDLL("libcuda.so.1")
        device, context = C.c_int(), C.c_void_p()
        self.check(self.lib.cuInit(0), "init")
        self.check(self.lib.cuDeviceGet(C.byref(device), 0), "device")
        self.check(self.lib.cuDevicePrimaryCtxRetain(C.byref(context), device), "context")
        self.check(self.lib.cuCtxSetCurrent(context), "context")
        self.module = C.c_void_p()
        text = open(os.path.join(HERE, "tma.ptx"), "rb").read() + b"\0"
        self.check(self.lib.cuModuleLoadData(C.byref(self.module), text), "module")
        self.memory = self.allocate(GLOBAL + 4096)
        self.out = self.allocate(TILE + 4096)

    def check(self, code, what):
        if code:
            name = C.c_char_p()
            self.lib.cuGetErrorName(code, C.byref(name))
            raise RuntimeError(f"{what}: {code} {name.value}")

    def allocate(self, size):
        pointer = C.c_uint64()
        self.check(self.lib.cuMemAlloc_v2(C.byref(pointer), C.c_size_t(size)), "alloc")
        return pointer.value

    def put(self, to, data):
        self.check(self.lib.cuMemcpyHtoD_v2(C.c_uint64(to), bytes(data), C.c_size_t(len(data))), "to device")

    def get(self, source, size):
        data = C.create_string_buffer(size)
        self.check(self.lib.cuMemcpyDtoH_v2(data, C.c_uint64(source), C.c_size_t(size)), "from device")
        return data.raw

    def encode(self, case):
        rank = len(case["dims"])
        raw = (C.c_ubyte * 256)()
        place = (-C.addressof(raw)) % 128
        kind = TYPES[case["type"]][0]
        address = C.c_void_p(self.memory + case.get("base", 0))
        dims = (C.c_uint64 * rank)(*case["dims"])
        strides = (C.c_uint64 * max(rank - 1, 1))(*(case["strides"] or [0]))
        elements = (C.c_uint32 * rank)(*case["elements"])
        tail = (case["interleave"], case["swizzle"], 0, case["fill"])
        map_at = C.c_void_p(C.addressof(raw) + place)
        if "lower" in case:
            lower = (C.c_int * (rank - 2))(*case["lower"])
            upper = (C.c_int * (rank - 2))(*case["upper"])
            code = self.lib.cuTensorMapEncodeIm2col(
                map_at, kind, C.c_uint32(rank), address, dims, strides, lower, upper, C.c_uint32(case["channels"]),
                C.c_uint32(case["pixels"]), elements, *tail)
        else:
            box = (C.c_uint32 * rank)(*case["box"])
            code = self.lib.cuTensorMapEncodeTiled(
                map_at, kind, C.c_uint32(rank), address, dims, strides, box, elements, *tail)
        return code, bytes(raw[place:place + 128])

    def launch(self, case, tensor_map):
        function = C.c_void_p()
        self.check(self.lib.cuModuleGetFunction(C.byref(function), self.module, case["kernel"].encode()), "function")
        at = (case["at"] + [0] * 5)[:5]
        values = [(C.c_ubyte * 128)(*tensor_map), C.c_uint64(self.out), C.c_uint32(case["bytes"]), C.c_uint32(case["place"])]
        values += [C.c_int32(x) for x in at] + [C.c_uint16(x) for x in case["offsets"]]
        pointers = (C.c_void_p * len(values))(*[C.cast(C.byref(value), C.c_void_p) for value in values])
        self.check(self.lib.cuLaunchKernel(function, 1, 1, 1, 128, 1, 1, 0, None, pointers, None), "launch")
        self.check(self.lib.cuCtxSynchronize(), "run")


def is_load(case):
    return case["kernel"].startswith(("load", "im2col"))


def global_content(case):
    """What global memory holds before: counted 16-bit words where the place of each is to be seen."""
    if case.get("counted"):
        return b"".join((i & 0xFFFF).to_bytes(2, "little") for i in range(GLOBAL // 2))
    make = special if case.get("special") else content
    return bytes(make(i, 1) for i in range(GLOBAL))


def tile_content(case):
    """What the tile of a store or reduction holds."""
    make = special if case.get("special") else content
    return bytes(make(i, 2) for i in range(TILE))


def worker(name, first, out):
    rows = json.load(open(os.path.join(HERE, f"{name}_cases.json")))["cases"]
    driver = Driver()
    kinds = ("counted", "special", None)
    memories = {kind: global_content({kind: True}) for kind in kinds}
    tiles = {kind: tile_content({kind: True}) for kind in kinds}
    results = open(os.path.join(out, "results.jsonl"), "a")
    dumps = open(os.path.join(out, "dumps.bin"), "ab")
    for index in range(first, len(rows)):
        case = rows[index]
        result = {"name": case["name"]}
        code, tensor_map = driver.encode(case)
        result["encode"] = code
        if code == 0 and case["kernel"] != "none":
            print(index, case["name"], flush=True)
            kind = next((kind for kind in kinds if case.get(kind)), None)
            driver.put(driver.memory, memories[kind])
            driver.put(driver.out, bytes([POISON]) * (TILE + 4) if is_load(case) else tiles[kind])
            driver.launch(case, tensor_map)
            if is_load(case):
                found = driver.get(driver.out, TILE + 4)
                result["completed"] = found[TILE]
                found = found[:TILE]
            else:
                found = driver.get(driver.memory, GLOBAL)
            result["hash"] = fnv(found)
            result["dump"] = dumps.tell()
            dumps.write(found)
        else:
            print(index, case["name"], flush=True)
        results.write(json.dumps(result) + "\n")
        results.flush()
        dumps.flush()


def record(name, out):
    os.makedirs(out, exist_ok=True)
    for file in ("results.jsonl", "dumps.bin"):
        open(os.path.join(out, file), "w").close()
    rows = json.load(open(os.path.join(HERE, f"{name}_cases.json")))["cases"]
    first = 0
    while first < len(rows):
        command = [sys.executable, os.path.abspath(__file__), "worker", name, str(first), out]
        done = subprocess.run(command, capture_output=True, text=True)
        started = [int(line.split()[0]) for line in done.stdout.splitlines() if line.split()]
        if done.returncode == 0:
            break
        at = started[-1] if started else first
        error = done.stderr.strip().splitlines()[-1] if done.stderr.strip() else "died"
        if not started:
            raise SystemExit(f"the worker does not start: {error}")
        with open(os.path.join(out, "results.jsonl"), "a") as results:
            results.write(json.dumps({"name": rows[at]["name"], "encode": 0, "fault": error}) + "\n")
        first = at + 1
    results = [json.loads(line) for line in open(os.path.join(out, "results.jsonl"))]
    summary = {"machine": machine(), "results": [{k: v for k, v in row.items() if k != "dump"} for row in results]}
    write_rows(os.path.join(out, f"{name}_recorded.json"), summary, "results")
    print(len(results), "cases,", sum("fault" in row for row in results), "faults")


def machine():
    try:
        query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
        return subprocess.run(query, capture_output=True, text=True).stdout.strip()
    except OSError:
        return "unknown"


def write_rows(path, document, key):
    """JSON with one row of `key` a line, so that differences can be read."""
    rows = document.pop(key)
    with open(path, "w") as file:
        file.write(json.dumps(document)[:-1] + (", " if document else "") + f'"{key}": [\n')
        file.write(",\n".join(json.dumps(row) for row in rows))
        file.write("\n]}\n")


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        open(os.path.join(HERE, "tma.ptx"), "w").write(ptx())
        write_rows(os.path.join(HERE, "tma_cases.json"), {"cases": cases()}, "cases")
        write_rows(os.path.join(HERE, "tma_values_cases.json"), {"cases": values()}, "cases")
    elif sys.argv[1:2] == ["record"]:
        record(sys.argv[2], sys.argv[3])
    elif sys.argv[1:2] == ["worker"]:
        worker(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        raise SystemExit(__doc__)
