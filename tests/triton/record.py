"""Writing of cases: PTX, launch records and arrays beside the script that makes them; shared by every corpus."""

import json
from pathlib import Path

import numpy as np

from launch import TRITON_TYPE, In, Out

ELEMENT = {
    "fp64": "f64", "fp32": "f32", "fp16": "f16", "bf16": "bf16", "fp8e4nv": "e4m3", "fp8e5": "e5m2", "i1": "u8",
}  # fmt: skip
"""Names of element types in records, where they differ from Triton's."""


def element(array):
    name = TRITON_TYPE[array.dtype]
    return ELEMENT.get(name, name)


def stored(array):
    """The array as `.npy` can hold it: types that NumPy lacks as the bits of an unsigned integer."""
    if array.dtype.kind == "V" or array.dtype.name.startswith(("bfloat", "float8")):
        return array.view({1: np.uint8, 2: np.uint16}[array.dtype.itemsize])
    return array.view(np.uint8) if array.dtype == np.bool_ else array


def shape_text(array):
    return "x".join(map(str, array.shape))


class Writer:
    """Writes files under `folder` and remembers them, so that those no case writes any more can go."""

    FOLDERS = ("ptx", "cases", "data")

    def __init__(self, folder):
        self.folder = folder
        self.written = set()
        for name in self.FOLDERS:
            (folder / name).mkdir(exist_ok=True)

    def array(self, name, array):
        path = self.folder / "data" / f"{name}.npy"
        np.save(path, np.ascontiguousarray(stored(array)))
        self.written.add(path)
        return f"data/{name}.npy"

    def text(self, folder, name, text):
        path = self.folder / folder / name
        path.write_text(text)
        self.written.add(path)
        return f"{folder}/{name}"

    def record(self, name, **fields):
        self.text("cases", f"{name}.json", json.dumps(fields, indent=1) + "\n")

    def delete_others(self):
        for name in self.FOLDERS:
            for path in set((self.folder / name).iterdir()) - self.written:
                path.unlink()

    def size(self):
        return sum(path.stat().st_size for path in self.written)


def without_header(ptx):
    """The program apart from the lines that name target and version."""
    return [line for line in ptx.splitlines() if not line.startswith((".target", ".version", "//"))]


def buffer_argument(writer, label, name, argument, expect, position):
    """`in:`, `out:` or `inout:` of one buffer; what is compared goes to `expect`."""
    if isinstance(argument, In):
        return "in:" + writer.array(f"{label}.{name}", argument.array)
    array = np.asarray(argument.expected)
    near = argument.near
    expect.append(
        dict(arg=position, file=writer.array(f"{label}.{name}.expected", array), dtype=element(array), rtol=near.rtol, atol=near.atol,
             why=near.why)
    )  # fmt: skip
    if isinstance(argument, Out):
        return f"out:{name}.npy:{element(array)}:{shape_text(array)}"
    return f"inout:{writer.array(f'{label}.{name}', argument.start)}:{name}.npy"
