"""What a case of the corpus is: a kernel, how it is compiled and launched, its data and what it must compute.

A case is declared with `@case(...)` on a function that takes a seeded `numpy` generator and returns a `Launch`.
The arguments of a `Launch` are, in order of the kernel's parameters:

    In(array)            input buffer, its pointer is passed
    Out(expected)        buffer that nobody wrote before the kernel, compared afterwards
    InOut(start, expected)   buffer with contents, compared afterwards
    Scalar(type, value)  number, in Triton's type names
    Const(value)         compile-time constant, no parameter of the PTX
    Descriptor(of, block)    tensor map that the host builds over an In, Out or InOut, with its shape and strides

How near a result must be is `EXACT` (equal bits, or both NaN) unless a `Near` says otherwise and why.
"""

from dataclasses import dataclass, field

import ml_dtypes
import numpy as np

ALL = (90, 100, 120)
BLACKWELL = (100, 120)

TRITON_TYPE = {
    np.dtype(np.float64): "fp64",
    np.dtype(np.float32): "fp32",
    np.dtype(np.float16): "fp16",
    np.dtype(ml_dtypes.bfloat16): "bf16",
    np.dtype(ml_dtypes.float8_e4m3fn): "fp8e4nv",
    np.dtype(ml_dtypes.float8_e5m2): "fp8e5",
    np.dtype(np.int8): "i8",
    np.dtype(np.uint8): "u8",
    np.dtype(np.int16): "i16",
    np.dtype(np.uint16): "u16",
    np.dtype(np.int32): "i32",
    np.dtype(np.uint32): "u32",
    np.dtype(np.int64): "i64",
    np.dtype(np.uint64): "u64",
    np.dtype(np.bool_): "i1",
}
"""Element type of a pointer in a Triton signature, by the type of the array behind it."""


@dataclass(frozen=True)
class Near:
    """A result within `atol + rtol * |expected|`, and why it need not be equal."""

    rtol: float
    atol: float
    why: str


EXACT = Near(0.0, 0.0, "every step is exact or correctly rounded in one order only")
SUM_EXACT = Near(0.0, 0.0, "inputs are small multiples of a power of two, so every partial sum is exact in any order")


@dataclass
class In:
    array: np.ndarray
    aligned: bool = True


@dataclass
class Out:
    expected: np.ndarray
    near: Near = EXACT
    aligned: bool = True


@dataclass
class InOut:
    start: np.ndarray
    expected: np.ndarray
    near: Near = EXACT
    aligned: bool = True


@dataclass
class Scalar:
    type: str
    value: float
    divisible: bool = False


@dataclass
class Const:
    value: object


@dataclass
class Descriptor:
    """`block` is the box in elements, outermost first; shape and strides are those of the array behind `of`."""

    of: object
    block: list


@dataclass
class Launch:
    kernel: object
    grid: tuple
    args: dict
    printed: list = field(default_factory=list)


@dataclass
class Case:
    name: str
    build: object
    targets: tuple
    options: dict


CASES = []


def case(name, targets=ALL, **options):
    """Registers a case; `options` are Triton's: num_warps, num_stages, num_ctas, launch_pdl, clc."""

    def register(build):
        assert all(known.name != name for known in CASES), f"two cases are called {name}"
        CASES.append(Case(name, build, targets, options))
        return build

    return register


def coarse(rng, shape, dtype, step=0.125, most=8):
    """Multiples of `step` between `-most * step` and `most * step`: sums of a few thousand products stay exact in f32."""
    return (rng.integers(-most, most + 1, shape) * step).astype(dtype)


def normal(rng, shape, dtype=np.float32):
    return rng.standard_normal(shape).astype(dtype)


def matmul_exact(a, b):
    """Product in f64, exact for `coarse` operands."""
    return a.astype(np.float64) @ b.astype(np.float64)
