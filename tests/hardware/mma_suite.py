#!/usr/bin/env python3
"""Writes the kernels of the matrix instructions that sm_90a has, with their input: tests/hardware/mma.

    python3 mma_suite.py [PTXAS]

Every kernel has one CTA of 128 threads. Fragments come from planes of the input, one word a thread, so that each instruction gets
random codes of its type; the four warps get four kinds of numbers (see `float_code`). What an operand in shared memory is made of
does not matter for that: it is filled with planes, too. With PTXAS, kernels that the assembler refuses are left out and named.

`record.py mma` runs the kernels on a GPU and writes what came out; the replay is crates/emulator/tests/mma_recorded.rs.
"""

import json
import os
import random
import struct
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "mma")
THREADS = 128
HEAD = ".version 8.7\n.target sm_90a\n.address_size 64\n\n.visible .entry main(.param .u64 input, .param .u64 output)\n"

# Exponent and fraction bits, and whether the largest exponent is infinity and NaN.
FLOATS = {
    "f16": (5, 10, True), "bf16": (8, 7, True), "tf32": (8, 10, True), "e4m3": (4, 3, False), "e5m2": (5, 2, True),
    "f32": (8, 23, True), "f64": (11, 52, True),
}
BITS = {"f16": 16, "bf16": 16, "tf32": 32, "e4m3": 8, "e5m2": 8, "f32": 32, "f64": 64, "s8": 8, "u8": 8, "s4": 4, "u4": 4, "b1": 1, "s32": 32}
NARROW = ("e4m3", "e5m2")

rng = random.Random(20_261_121)


def float_code(ty, kind):
    """A code: 0 near one, 1 of any finite exponent, 2 mostly zero with the ends of the range and what is no number, 3 tiny."""
    exponent_bits, fraction_bits, ieee = FLOATS[ty]
    bias, top = (1 << (exponent_bits - 1)) - 1, (1 << exponent_bits) - 1
    sign, fraction = rng.getrandbits(1), rng.getrandbits(fraction_bits)
    if kind == 0:
        field = bias + rng.randint(-min(4, bias - 1), min(3, bias - 1))
    elif kind == 1:
        field = rng.randint(0, top - 1)
    elif kind == 2:
        field, fraction = rng.choice([(0, 0)] * 26 + [
            (0, 1), (0, (1 << fraction_bits) - 1), (1, 0), (bias, 0), (bias, fraction), (top - 1, (1 << fraction_bits) - 1),
            (top, 0), (top, fraction)])
    else:
        field = rng.randint(0, 3 if bias > 20 else 1)
        if fraction_bits > 3 and rng.random() < 0.5:
            field = 0
    code = sign << (exponent_bits + fraction_bits) | field << fraction_bits | fraction
    if ty == "tf32":
        code = code << 13 | rng.getrandbits(13)
    return code


def plane(ty):
    """A word for each thread, with elements of a type; 64 bits a thread, of which 32 are used except for f64."""
    words = []
    for thread in range(THREADS):
        word = 0
        width = max(32, BITS[ty])
        for at in range(0, width, BITS[ty]):
            code = float_code(ty, thread // 32) if ty in FLOATS else rng.getrandbits(BITS[ty])
            word |= code << at
        words.append(word)
    return words


class Input:
    """The planes, by what they hold."""

    def __init__(self):
        self.planes, self.index = [], {}

    def offset(self, ty, number, use):
        """The byte offset of a plane from a thread's own place in the first one."""
        key = (ty, number, use)
        if key not in self.index:
            self.index[key] = len(self.planes)
            self.planes.append(metadata(ty) if use == "metadata" else plane(ty))
        return self.index[key] * THREADS * 8

    def write(self, path):
        # Four planes at least: the replay shows that many words of a thread where something differs.
        while len(self.planes) < 4:
            self.planes.append([0] * THREADS)
        with open(path, "wb") as file:
            for words in self.planes:
                file.write(struct.pack(f"<{THREADS}Q", *words))


def metadata(kind):
    """Random valid metadata: eight codes a word."""
    codes = [0b0100, 0b1110] if kind == "one_of_two" else [0b0100, 0b1000, 0b1100, 0b1001, 0b1101, 0b1110]
    return [sum(rng.choice(codes) << at for at in range(0, 32, 4)) for _ in range(THREADS)]


INPUT = Input()


class Kernel:
    """A kernel `main(input, output)` under construction; results are words of all threads."""

    def __init__(self, name):
        self.name, self.lines, self.results, self.bytes, self.declared = name, [], [], 0, []
        self.shared = 0

    def add(self, line):
        self.lines.append("    " + line)

    def registers(self, prefix, count, bits=32):
        self.declared.append(f".reg .b{bits} %{prefix}<{count}>;")
        return [f"%{prefix}{i}" for i in range(count)]

    def load(self, prefix, count, ty, use):
        """Registers with random codes of a type."""
        bits = 64 if ty == "f64" else 32
        registers = self.registers(prefix, count, bits)
        for number, register in enumerate(registers):
            self.add(f"ld.global.b{bits} {register}, [%in+{INPUT.offset(ty, number, use)}];")
        return registers

    def store(self, registers, instruction, bits=32):
        for register in registers:
            self.add(f"st.global.b{bits} [%out{bits}+{self.bytes}], {register};")
            self.results.append({"instruction": instruction, "offset": self.bytes, "bytes": bits // 8})
            self.bytes += THREADS * bits // 8

    def fill_shared(self, registers, offset):
        """Puts four registers of every thread to shared memory, 16 bytes a thread."""
        self.shared = max(self.shared, offset + 2048)
        self.add(f"st.shared.v4.b32 [%tile16+{offset}], {{{', '.join(registers)}}};")

    def text(self):
        text = HEAD + f".maxntid {THREADS}, 1, 1\n{{\n"
        text += "".join(f"    {line}\n" for line in self.declared)
        text += "    .reg .b32 %thread, %tile, %tile16, %row;\n    .reg .b64 %in, %out, %out32, %out64, %wide;\n"
        if self.shared:
            text += f"    .shared .align 1024 .b8 shared[{self.shared}];\n"
        text += "    ld.param.u64 %in, [input];\n    cvta.to.global.u64 %in, %in;\n"
        text += "    ld.param.u64 %out, [output];\n    cvta.to.global.u64 %out, %out;\n    mov.u32 %thread, %tid.x;\n"
        for bits in (32, 64):
            text += f"    mad.wide.u32 %out{bits}, %thread, {bits // 8}, %out;\n"
        text += "    mad.wide.u32 %in, %thread, 8, %in;\n"
        if self.shared:
            text += "    mov.u32 %tile, shared;\n    mad.lo.u32 %tile16, %thread, 16, %tile;\n"
        return text + "\n".join(self.lines) + "\n    ret;\n}\n"


def braces(registers):
    return "{" + ", ".join(registers) + "}"


# ---- mma.sync ----

def mma_forms():
    """(prefix, shape, layout and modifiers, type of D, A, B, C)"""
    forms = []
    for a in ("row", "col"):
        for b in ("row", "col"):
            for d, c in (("f32", "f32"), ("f16", "f16"), ("f32", "f16")):
                forms.append(("", "m8n8k4", f"{a}.{b}", d, "f16", "f16", c, ""))
    for k in (8, 16):
        for ty in ("f16", "f32"):
            forms.append(("", f"m16n8k{k}", "row.col", ty, "f16", "f16", ty, ""))
        forms.append(("", f"m16n8k{k}", "row.col", "f32", "bf16", "bf16", "f32", ""))
    for k in (4, 8):
        forms.append(("", f"m16n8k{k}", "row.col", "f32", "tf32", "tf32", "f32", ""))
    for shape in ("m8n8k4", "m16n8k4", "m16n8k8", "m16n8k16"):
        forms.append(("", shape, "row.col", "f64", "f64", "f64", "f64", ""))
    for k in (16, 32):
        for a in NARROW:
            for b in NARROW:
                for ty in ("f16", "f32"):
                    forms.append(("", f"m16n8k{k}", "row.col", ty, a, b, ty, ""))
    for types, shapes in ((("s8", "u8"), ("m8n8k16", "m16n8k16", "m16n8k32")), (("s4", "u4"), ("m8n8k32", "m16n8k32", "m16n8k64"))):
        for shape in shapes:
            for a in types:
                for b in types:
                    saturate = ".satfinite" if a == b else ""
                    forms.append(("", shape, "row.col" + saturate, "s32", a, b, "s32", ""))
    for shape in ("m8n8k128", "m16n8k128", "m16n8k256"):
        for op in ("xor", "and"):
            forms.append(("", shape, "row.col", "s32", "b1", "b1", "s32", f".{op}.popc"))
    for sparse in (".sp", ".sp::ordered_metadata"):
        for k in (16, 32):
            for ty in ("f16", "f32"):
                forms.append((sparse, f"m16n8k{k}", "row.col", ty, "f16", "f16", ty, ""))
            forms.append((sparse, f"m16n8k{k}", "row.col", "f32", "bf16", "bf16", "f32", ""))
        for k in (8, 16):
            forms.append((sparse, f"m16n8k{k}", "row.col", "f32", "tf32", "tf32", "f32", ""))
        for k, a, b in ((32, "s8", "u8"), (64, "u8", "s8"), (64, "s4", "s4"), (128, "u4", "s4")):
            forms.append((sparse, f"m16n8k{k}", "row.col", "s32", a, b, "s32", ""))
        for a, b in (("e4m3", "e4m3"), ("e4m3", "e5m2"), ("e5m2", "e4m3"), ("e5m2", "e5m2")):
            for ty in ("f32", "f16") if a == b else ("f32",):
                forms.append((sparse, "m16n8k64", "row.col", ty, a, b, ty, ""))
    return forms


def mma_kernel(name, form):
    sparse, shape, layout, d, a, b, c, tail = form
    m, k = int(shape[1:shape.index("n")]), int(shape[shape.index("k") + 1:])
    kernel = Kernel(name)
    instruction = f"mma{sparse}.sync.aligned.{shape}.{layout}.{d}.{a}.{b}.{c}{tail}"
    volta = shape == "m8n8k4" and a == "f16"
    per_quad = 4 if a in ("f64", "tf32") else 128 // BITS[a]
    of_a = m // 8 * (k // 2 if sparse else k) // per_quad
    of_b = k // per_quad
    if volta:
        of_a = of_b = 2
    def accumulators(ty):
        if volta:
            return 4 if ty == "f16" else 8
        return m // 8 if ty == "f16" else m // 4
    a_registers, b_registers = kernel.load("a", of_a, a, "A"), kernel.load("b", of_b, b, "B")
    c_registers = kernel.load("c", accumulators(c), c, "C")
    if sparse:
        chunk = 2 if a == "tf32" else 8 if a in ("s4", "u4") else 4
        kernel.load("e", 1, "one_of_two" if a == "tf32" else "two_of_four", "metadata")
        selectors = 16 // (k // chunk)
    else:
        selectors = 1
    for selector in range(selectors):
        bits = 64 if d == "f64" else 32
        results = kernel.registers(f"d{selector}_", accumulators(d), bits)
        rest = f", %e0, {selector}" if sparse else ""
        lists = ", ".join(braces(registers) for registers in (results, a_registers, b_registers, c_registers))
        kernel.add(f"{instruction} {lists}{rest};")
        kernel.store(results, instruction + (f" selector {selector}" if sparse else ""), bits)
    return kernel


# ---- wgmma ----

def wgmma_forms():
    """(n, k, D, A, B, sparse?, tail of modifiers, immediates)"""
    forms = []
    for d in ("f32", "f16"):
        forms.append((8, 16, d, "f16", "f16"))
    forms.append((8, 16, "f32", "bf16", "bf16"))
    forms.append((8, 8, "f32", "tf32", "tf32"))
    for a in NARROW:
        for b in NARROW:
            for d in ("f32", "f16"):
                forms.append((8, 32, d, a, b))
    for a in ("s8", "u8"):
        for b in ("s8", "u8"):
            forms.append((8, 32, "s32", a, b))
    forms.append((8, 256, "s32", "b1", "b1"))
    forms += [(24, 16, "f32", "bf16", "bf16"), (64, 16, "f16", "f16", "f16"), (64, 32, "f32", "e4m3", "e4m3")]
    return forms


def wgmma_kernel(name, form, from_registers, variant):
    n, k, d, a, b = form
    kernel = Kernel(name)
    tail = {"s32": ".satfinite" if variant == "satfinite" else ""}.get(d, "") if a != "b1" else ".and.popc"
    instruction = f"wgmma.mma_async.sync.aligned.m64n{n}k{k}.{d}.{a}.{b}{tail}"
    count = n // 4 if d == "f16" else n // 2
    ty = {"f16": "f16", "f32": "f32", "s32": "s32"}[d]
    accumulators = kernel.load("d", count, ty, "C")
    a_registers = kernel.load("a", 4, a, "A")
    b_words = kernel.load("b", 4, b, "B")
    kernel.fill_shared(b_words, 0)
    kernel.declared.append(".reg .b64 %descriptor_a, %descriptor_b;\n    .reg .pred %scale;")
    # Core matrices of 8 rows of 16 bytes: 128 bytes from one group of 8 rows to the next, and so many from one half of K to the other.
    def descriptor(register, offset, rows):
        leading = rows // 8 * 128
        kernel.add(f"add.u32 %row, %tile, {offset};")
        kernel.add("shr.u32 %row, %row, 4;\n    and.b32 %row, %row, 0x3FFF;")
        kernel.add(f"cvt.u64.u32 {register}, %row;")
        kernel.add(f"or.b64 {register}, {register}, {(128 >> 4) << 32 | (leading >> 4) << 16:#x};")
    descriptor("%descriptor_b", 0, n)
    if not from_registers:
        kernel.fill_shared(a_registers, 2048)
        descriptor("%descriptor_a", 2048, 64)
    negated = variant == "negated"
    immediates = []
    if a not in ("s8", "u8", "b1"):
        immediates = ["-1", "-1" if from_registers else "1"] if negated else ["1", "1"]
        if a in ("f16", "bf16"):
            immediates += (["0"] if from_registers else ["0", "0"])
    kernel.add("fence.proxy.async.shared::cta;\n    bar.sync 0;")
    kernel.add(f"setp.ne.u32 %scale, %tile, {'%tile' if variant == 'fresh' else '0'};")
    kernel.add("wgmma.fence.sync.aligned;")
    source = braces(a_registers) if from_registers else "%descriptor_a"
    rest = "".join(f", {value}" for value in immediates)
    kernel.add(f"{instruction} {braces(accumulators)}, {source}, %descriptor_b, %scale{rest};")
    kernel.add("wgmma.commit_group.sync.aligned;\n    wgmma.wait_group.sync.aligned 0;")
    where = "A in registers" if from_registers else "A in shared memory"
    kernel.store(accumulators, f"{instruction}, {where}, {variant}")
    return kernel


# ---- moves of tiles ----

def move_kernel(name):
    """ldmatrix, stmatrix and movmatrix: every warp has 512 bytes of its own."""
    kernel = Kernel(name)
    words = kernel.load("a", 4, "s32", "A")
    for count in (1, 2, 4):
        for transpose in ("", ".trans"):
            modifiers = f"sync.aligned.m8n8.x{count}{transpose}.shared.b16"
            kernel.fill_shared(words, 0)
            kernel.add("bar.warp.sync 0xffffffff;")
            results = kernel.registers(f"l{count}{transpose[1:]}_", count)
            kernel.add(f"ldmatrix.{modifiers} {braces(results)}, [%tile16];")
            kernel.store(results, f"ldmatrix.{modifiers}")
            kernel.add("bar.warp.sync 0xffffffff;")
            kernel.add(f"stmatrix.{modifiers} [%tile16], {braces(words[:count])};")
            kernel.add("bar.warp.sync 0xffffffff;")
            back = kernel.registers(f"s{count}{transpose[1:]}_", 4)
            kernel.add(f"ld.shared.v4.b32 {braces(back)}, [%tile16];")
            kernel.store(back, f"stmatrix.{modifiers}")
            kernel.add("bar.warp.sync 0xffffffff;")
    moved = kernel.registers("m", 1)
    kernel.add(f"movmatrix.sync.aligned.m8n8.trans.b16 {moved[0]}, {words[0]};")
    kernel.store(moved, "movmatrix.sync.aligned.m8n8.trans.b16")
    return kernel


def kernels():
    for number, form in enumerate(mma_forms()):
        yield mma_kernel(f"mma_{number:03}", form)
    number = 0
    for form in wgmma_forms():
        variants = ["plain", "fresh"] + (["satfinite"] if form[3] in ("s8", "u8") else ["negated"] if form[3] != "b1" else [])
        for variant in variants:
            from_registers = (number % 2 == 0) if variant != "plain" else True
            yield wgmma_kernel(f"wgmma_{number:03}", form, from_registers, variant)
            number += 1
        yield wgmma_kernel(f"wgmma_{number:03}", form, False, "plain")
        number += 1
    yield move_kernel("moves")


def assembles(ptxas, text):
    with tempfile.NamedTemporaryFile("w", suffix=".ptx") as file:
        file.write(text)
        file.flush()
        done = subprocess.run([ptxas, "-arch=sm_90a", file.name, "-o", os.devnull], capture_output=True, text=True)
        return done.returncode == 0, done.stderr.strip()


def main():
    if len(sys.argv) > 2:
        sys.exit(__doc__)
    os.makedirs(OUT, exist_ok=True)
    modules = []
    for kernel in kernels():
        text = kernel.text()
        if len(sys.argv) == 2:
            taken, message = assembles(sys.argv[1], text)
            if not taken:
                print(f"left out: {kernel.results[0]['instruction']}\n    {message.splitlines()[0] if message else ''}")
                continue
        with open(os.path.join(OUT, f"{kernel.name}.ptx"), "w") as file:
            file.write(text)
        modules.append({"ptx": f"{kernel.name}.ptx", "output": f"{kernel.name}.out", "bytes": kernel.bytes, "results": kernel.results})
    INPUT.write(os.path.join(OUT, "input.bin"))
    manifest = {"target": "sm_90a", "threads": THREADS, "block": THREADS, "input": "input.bin", "modules": modules}
    with open(os.path.join(OUT, "manifest.json"), "w") as file:
        json.dump(manifest, file, indent=0)
        file.write("\n")
    instructions = len({result["instruction"] for module in modules for result in module["results"]})
    print(f"{len(modules)} kernels, {instructions} instructions, {sum(module['bytes'] for module in modules)} bytes of results")


main()
