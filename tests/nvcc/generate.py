"""Compiles `kernels/*.cu` to PTX and writes it with launch records and data beside this file.

    python generate.py PATH_OF_NVCC     # with numpy and ml_dtypes; no GPU is needed

nvcc comes from PyPI: nvidia-cuda-nvcc==13.0.88 with nvidia-cuda-runtime, nvidia-cuda-crt and nvidia-nvvm of the same version and
nvidia-cuda-cccl==13.0.85; its `include` and `include/cccl` folders lie beside its `bin`. Records are those of `../triton`.
A target is left out where a source compiles to the same program as for one before.
"""

import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "triton"))

import json

import numpy as np
from cases import CASES, TensorMap
from launch import In, Out, Scalar
from record import Writer, buffer_argument, without_header

ARCHITECTURES = (90, 100, 120)


def compile_all(nvcc, writer):
    """PTX of every source for every target, as files: {source: {architecture: file}}."""
    include = nvcc.parent.parent / "include"
    files = {}
    for source in sorted((HERE / "kernels").glob("*.cu")):
        programs, files[source.stem] = [], {}
        for arch in ARCHITECTURES:
            command = [nvcc, "-ptx", f"-arch=compute_{arch}a", "-O3", "-std=c++17", f"-I{include}", f"-I{include}/cccl"]
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out.ptx"
                subprocess.run([*command, "-DHAS_TENSOR_MAP", "-o", out, source], check=True)
                ptx = out.read_text()
            if without_header(ptx) not in programs:
                programs.append(without_header(ptx))
                files[source.stem][arch] = writer.text("ptx", f"{source.stem}.sm_{arch}a.ptx", ptx)
    return files


def arguments(writer, label, args):
    passed, expect = [], []
    for name, argument in args.items():
        match argument:
            case Scalar(type, value):
                passed.append(f"{type}:{value}")
            case TensorMap():
                of = argument.of
                rows, columns = (of.array if isinstance(of, In) else of.expected).shape
                buffer = buffer_argument(writer, label, name, of, expect, len(passed))
                encoded = dict(buffer=buffer, type="f32", dims=[columns, rows], strides=[columns * 4], box=[32, 16])
                passed.append("tensormap:" + json.dumps(encoded))
            case _:
                passed.append(buffer_argument(writer, label, name, argument, expect, len(passed)))
    return passed, expect


def main(nvcc):
    writer = Writer(HERE)
    files = compile_all(nvcc, writer)
    for case in CASES:
        label = f"{case['source']}.{case['entry']}"
        for arch, ptx in files[case["source"]].items():
            if arch not in case["targets"]:
                continue
            args, expect = arguments(writer, label, case["build"](np.random.default_rng(zlib.crc32(label.encode()))))
            fields = dict(ptx=ptx, target=f"sm_{arch}a", entry=case["entry"], grid=case["grid"], block=case["block"])
            fields |= dict(cluster=case["cluster"], shared=case["shared"], args=args, expect=expect, printed=case["printed"])
            if case["refused"]:
                fields["refused"] = case["refused"]
            writer.record(f"{label}.sm_{arch}a", **fields)
    writer.delete_others()
    print(f"{len(writer.written)} files, {writer.size() / 1e6:.2f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
