"""Compiles every case of `kernels/` and writes PTX, launch records and data beside this file.

    python generate.py [NAME...]      # with triton==3.9.0, numpy and ml_dtypes; no GPU is needed

For each case and target: `ptx/CASE.TARGET.ptx` and `cases/CASE.TARGET.json`, left out where the program is the same as for
a target before; for each case, arrays in `data/`. With names, cases whose name begins with one of them are written; without,
what no case writes any more is deleted.

A record says how to launch (`entry`, `grid`, `block`, `cluster`, `shared`), the arguments in the syntax of
`gable emulate --arg` (paths relative to this folder), and under `expect`, for each compared output: the position of its
argument, the file with the reference, element type, tolerance and its reason.
"""

import importlib
import json
import os
import sys
import zlib
from pathlib import Path

os.environ.update(TRITON_DISABLE_LINE_INFO="1", TRITON_DEFAULT_FP_FUSION="1")

import numpy as np
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from launch import CASES, TRITON_TYPE, Const, Descriptor, In, Scalar
from record import Writer, buffer_argument, without_header

HERE = Path(__file__).resolve().parent
FAMILIES = ["elementwise", "rows", "reductions", "memory", "matmul", "scaled", "attention"]

SWIZZLE = ["none", "32B", "64B", "128B"]
ENCODED_TYPE = {
    0: "u8", 1: "u16", 2: "u32", 3: "i32", 4: "u64", 5: "i64", 6: "f16", 7: "f32", 8: "f32_ftz", 9: "f64",
    10: "bf16",
}  # fmt: skip
"""Element types of tensor maps, by the number that the compiler's metadata gives (the device's order)."""


def signature_of(launch):
    """Types, constants and hints of divisibility, as the compiler's own launcher derives them from values."""
    signature, constants, hints = {}, {}, {}
    for position, (name, argument) in enumerate(launch.args.items()):
        match argument:
            case Const(value):
                signature[name] = "constexpr"
                constants[name] = value
            case Scalar(type, _, divisible):
                signature[name] = type
                if divisible:
                    hints[(position,)] = [["tt.divisibility", 16]]
            case Descriptor(of, block):
                array = of.array if isinstance(of, In) else of.expected
                signature[name] = f"tensordesc<{TRITON_TYPE[array.dtype]}[{','.join(map(str, block))}]>"
            case _:
                array = argument.array if isinstance(argument, In) else argument.expected
                signature[name] = "*" + TRITON_TYPE[array.dtype]
                if argument.aligned:
                    hints[(position,)] = [["tt.divisibility", 16]]
    return signature, constants, hints


NUMBER = {"i1": "bytes", "i8": "bytes", "i16": "bytes", "fp32": "f32", "fp64": "f64"}


def arguments(writer, case, launch, metadata):
    label, passed, expect = case.name, [], []
    descriptors = iter(metadata.tensordesc_meta or [])
    for name, argument in launch.args.items():
        match argument:
            case Const():
                pass
            case Scalar("i1", value):
                passed.append(f"bytes:{int(value):02x}")
            case Scalar(type, value):
                passed.append(f"{NUMBER.get(type, type)}:{value}")
            case Descriptor(of, _):
                array = of.array if isinstance(of, In) else of.expected
                buffer = buffer_argument(writer, label, name, of, expect, len(passed))
                meta = next(descriptors)
                item = array.dtype.itemsize
                strides = [stride // item for stride in array.strides]
                encoded = dict(
                    buffer=buffer,
                    type=ENCODED_TYPE[meta["elem_type"]],
                    dims=list(reversed(array.shape)),
                    strides=[stride * item for stride in reversed(strides[:-1])],
                    box=list(reversed(meta["block_size"])),
                    swizzle=SWIZZLE[meta["swizzle"]],
                )
                passed.append("tensormap:" + json.dumps(encoded))
                passed += [f"i32:{size}" for size in array.shape] + [f"i64:{stride}" for stride in strides]
            case _:
                passed.append(buffer_argument(writer, label, name, argument, expect, len(passed)))
    return passed, expect


def write_case(writer, case):
    programs = []
    for arch in case.targets:
        target = f"sm_{arch}a"
        launch = case.build(np.random.default_rng(zlib.crc32(case.name.encode())))
        signature, constants, hints = signature_of(launch)
        source = ASTSource(launch.kernel, signature, constants, hints)
        compiled = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=dict(case.options))
        if without_header(compiled.asm["ptx"]) in programs:
            continue
        programs.append(without_header(compiled.asm["ptx"]))
        metadata = compiled.metadata
        name = f"{case.name}.{target}"
        args, expect = arguments(writer, case, launch, metadata)
        grid = list(launch.grid) + [1] * (3 - len(launch.grid))
        blocks = grid[0] * grid[1] * grid[2] * metadata.num_ctas
        for size in (metadata.global_scratch_size, metadata.profile_scratch_size):
            args.append(f"scratch:{size * blocks}" if size else "u64:0")
        cluster = [metadata.num_ctas, 1, 1]
        writer.record(
            name,
            ptx=writer.text("ptx", f"{name}.ptx", compiled.asm["ptx"]),
            target=target,
            entry=metadata.name,
            grid=[grid[0] * metadata.num_ctas, grid[1], grid[2]],
            block=[metadata.num_warps * 32, 1, 1],
            cluster=cluster,
            shared=metadata.shared,
            args=args,
            expect=expect,
            options=case.options,
        )


def main(wanted):
    for family in FAMILIES:
        importlib.import_module(f"kernels.{family}")
    writer, failed = Writer(HERE), []
    for case in CASES:
        if wanted and not case.name.startswith(tuple(wanted)):
            continue
        try:
            write_case(writer, case)
        except Exception as error:
            failed.append(case.name)
            print(f"{case.name}: {type(error).__name__}: {error}", file=sys.stderr)
    if not wanted:
        writer.delete_others()
    print(f"{len(writer.written)} files, {writer.size() / 1e6:.2f} MB; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
