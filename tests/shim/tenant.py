"""A process of a slice: does on the driver what each line of stdin says, and answers a line of JSON.

It knows nothing of the shim; the environment it is started in decides whether there is one.
"""

import ctypes
import json
import sys
from collections.abc import Callable
from typing import Any


class Tenant:
    def __init__(self) -> None:
        self.cuda = ctypes.CDLL("libcuda.so.1")
        self.context = ctypes.c_void_p()
        self.function = ctypes.c_void_p()

    def start(self, device: int) -> list[int]:
        initialised = self.cuda.cuInit(0)
        return [initialised, self.cuda.cuCtxCreate_v2(ctypes.byref(self.context), 0, device)]

    def allocate(self, size: int) -> list[int]:
        address = ctypes.c_uint64()
        code = self.cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
        return [code, address.value]

    def allocate_managed(self, size: int) -> int:
        return int(self.cuda.cuMemAllocManaged(ctypes.byref(ctypes.c_uint64()), ctypes.c_size_t(size), 1))

    def free(self, address: int) -> int:
        return int(self.cuda.cuMemFree_v2(ctypes.c_uint64(address)))

    def memory(self) -> list[int]:
        available, total = ctypes.c_size_t(), ctypes.c_size_t()
        code = self.cuda.cuMemGetInfo_v2(ctypes.byref(available), ctypes.byref(total))
        return [code, available.value, total.value]

    def total_memory(self, device: int) -> list[int]:
        total = ctypes.c_size_t()
        code = self.cuda.cuDeviceTotalMem_v2(ctypes.byref(total), device)
        return [code, total.value]

    def launch(self, times: int) -> list[int]:
        if not self.function.value:
            module = ctypes.c_void_p()
            assert self.cuda.cuModuleLoadData(ctypes.byref(module), b"image") == 0
            assert self.cuda.cuModuleGetFunction(ctypes.byref(self.function), module, b"work_100us") == 0
        codes = [
            self.cuda.cuLaunchKernel(self.function, 1000, 1, 1, 32, 1, 1, 0, None, None, None)
            for _ in range(times)
        ]
        return [max(codes), self.cuda.cuCtxSynchronize()]

    def nvml(self, device: int) -> dict[str, Any]:
        """What a monitoring tool shows of the device."""
        import pynvml  # type: ignore[import-untyped]  # ships no types

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device)
        plain = pynvml.nvmlDeviceGetMemoryInfo(handle)
        split = pynvml.nvmlDeviceGetMemoryInfo(handle, version=pynvml.nvmlMemory_v2)
        computing = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return {
            "memory": [plain.total, plain.used, plain.free],
            "memory_v2": [split.total, split.used, split.free, split.reserved],
            "processes": {process.pid: process.usedGpuMemory for process in computing},
            "graphics": [process.pid for process in pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)],
        }


def main() -> None:
    tenant = Tenant()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        call: Callable[..., Any] = getattr(tenant, name)
        sys.stdout.write(json.dumps(call(*arguments)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
