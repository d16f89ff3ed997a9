"""As much of the CUDA driver interface as an inference server needs, through ctypes; knows no platform."""

import ctypes
import os
import threading
from typing import NamedTuple

SUCCESS = 0
OUT_OF_MEMORY = 2


class CUDAError(Exception):
    """A call that the driver refused; `code` is its CUresult."""

    def __init__(self, call: str, code: int) -> None:
        super().__init__(f"{call} answered {code}")
        self.code = code


class MemoryInfo(NamedTuple):
    """Bytes as cuMemGetInfo tells them."""

    free: int
    total: int


class GPU:
    """One context on the device that NVIDIA_VISIBLE_DEVICES names first, or on the first there is."""

    def __init__(self) -> None:
        self._cuda = ctypes.CDLL("libcuda.so.1")
        self._call("cuInit", 0)
        self.ordinal = self._ordinal(os.environ.get("NVIDIA_VISIBLE_DEVICES", "").split(",")[0])
        self._context = ctypes.c_void_p()
        self._call("cuCtxCreate_v2", ctypes.byref(self._context), 0, self.ordinal)
        module = ctypes.c_void_p()
        self._kernel = ctypes.c_void_p()
        self._call("cuModuleLoadData", ctypes.byref(module), b"image")
        self._call("cuModuleGetFunction", ctypes.byref(self._kernel), module, b"spin")
        self._turn = threading.Lock()

    def run(self, milliseconds: float) -> None:
        """Keep the whole GPU busy for that long, and return when it is done."""
        duration = ctypes.c_uint64(int(milliseconds * 1e6))
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(duration))
        self._enter()
        with self._turn:
            self._call("cuLaunchKernel", self._kernel, 4096, 1, 1, 256, 1, 1, 0, None, parameters, None)
            self._call("cuCtxSynchronize")

    def allocate(self, size: int) -> int:
        """Return the address of that many bytes. Raises CUDAError."""
        address = ctypes.c_uint64()
        self._enter()
        self._call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Give memory back."""
        self._enter()
        self._call("cuMemFree_v2", ctypes.c_uint64(address))

    def memory(self) -> MemoryInfo:
        """Return what the driver says is free and there."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self._enter()
        self._call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return MemoryInfo(free.value, total.value)

    def _enter(self) -> None:
        self._call("cuCtxSetCurrent", self._context)

    def _ordinal(self, uuid: str) -> int:
        count = ctypes.c_int()
        self._call("cuDeviceGetCount", ctypes.byref(count))
        wanted = uuid.removeprefix("GPU-").replace("-", "")
        for ordinal in range(count.value):
            found = (ctypes.c_uint8 * 16)()
            self._call("cuDeviceGetUuid_v2", found, ordinal)
            if bytes(found).hex() == wanted:
                return ordinal
        return 0

    def _call(self, name: str, *arguments: object) -> None:
        code = getattr(self._cuda, name)(*arguments)
        if code != SUCCESS:
            raise CUDAError(name, code)
