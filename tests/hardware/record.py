"""Runs the kernels of a suite on the first GPU and writes what comes out beside them.

usage: record.py DIRECTORY

DIRECTORY holds manifest.json, the PTX files and the input, as `cargo run -p gable-emulator --example hardware_suite generate`
writes them. Needs Python 3 and the NVIDIA driver, which assembles the PTX; nothing else.
"""

import ctypes
import json
import pathlib
import sys

POISON = 0xEE


class Driver:
    """The few calls of the CUDA driver that a launch takes; every failure names its call."""

    def __init__(self):
        self.library = ctypes.CDLL("libcuda.so.1")
        self.call("cuInit", 0)
        device = ctypes.c_int()
        self.call("cuDeviceGet", ctypes.byref(device), 0)
        context = ctypes.c_void_p()
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)
        name = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", name, 256, device)
        version = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(version))
        self.description = f"{name.value.decode()}, driver API {version.value}"

    def call(self, name, *arguments):
        code = getattr(self.library, name)(*arguments)
        if code:
            text = ctypes.c_char_p()
            self.library.cuGetErrorName(code, ctypes.byref(text))
            raise RuntimeError(f"{name}: {code} {text.value}")

    def function(self, ptx, name):
        log = ctypes.create_string_buffer(1 << 16)
        # CU_JIT_ERROR_LOG_BUFFER = 5, CU_JIT_ERROR_LOG_BUFFER_SIZE_BYTES = 6.
        options = (ctypes.c_int * 2)(5, 6)
        values = (ctypes.c_void_p * 2)(ctypes.cast(log, ctypes.c_void_p), len(log))
        module = ctypes.c_void_p()
        try:
            self.call("cuModuleLoadDataEx", ctypes.byref(module), ptx + b"\0", 2, options, values)
        except RuntimeError as error:
            raise RuntimeError(f"{error}\n{log.value.decode()}") from None
        function = ctypes.c_void_p()
        self.call("cuModuleGetFunction", ctypes.byref(function), module, name.encode())
        return module, function

    def allocate(self, size):
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        self.call("cuMemsetD8_v2", address, ctypes.c_ubyte(POISON), ctypes.c_size_t(size))
        return address

    def upload(self, data):
        address = self.allocate(len(data))
        self.call("cuMemcpyHtoD_v2", address, data, ctypes.c_size_t(len(data)))
        return address

    def download(self, address, size):
        data = ctypes.create_string_buffer(size)
        self.call("cuMemcpyDtoH_v2", data, address, ctypes.c_size_t(size))
        return data.raw

    def launch(self, function, grid, block, addresses):
        pointers = (ctypes.c_void_p * len(addresses))(
            *[ctypes.cast(ctypes.byref(address), ctypes.c_void_p) for address in addresses]
        )
        self.call("cuLaunchKernel", function, grid, 1, 1, block, 1, 1, 0, None, pointers, None)
        self.call("cuCtxSynchronize")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    directory = pathlib.Path(sys.argv[1])
    manifest = json.loads((directory / "manifest.json").read_text())
    driver = Driver()
    print(driver.description)
    source = driver.upload((directory / manifest["input"]).read_bytes())
    grid = manifest["threads"] // manifest["block"]
    for entry in manifest["modules"]:
        module, function = driver.function((directory / entry["ptx"]).read_bytes(), "main")
        result = driver.allocate(entry["bytes"])
        driver.launch(function, grid, manifest["block"], [source, result])
        (directory / entry["output"]).write_bytes(driver.download(result, entry["bytes"]))
        driver.call("cuMemFree_v2", result)
        driver.call("cuModuleUnload", module)
        print(f"{entry['output']}: {len(entry['results'])} instructions")
    (directory / "device.txt").write_text(driver.description + "\n")


main()
