"""The CUDA driver API through ctypes, as far as the measurements need it."""

# ruff: noqa: ANN401 -- ctypes takes and gives what it likes

import ctypes
import uuid
from typing import Any

OUT_OF_MEMORY = 2
MULTIPROCESSORS = 16
"""CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT."""
RELAXED_CAPTURE = 2
"""CU_STREAM_CAPTURE_MODE_RELAXED: other threads' calls do not disturb a capture."""

Handle = ctypes.c_void_p


class DriverError(Exception):
    """A call that the driver refused; `code` is its CUresult."""

    def __init__(self, name: str, code: int) -> None:
        super().__init__(f"{name} answered {code}")
        self.code = code


class Driver:
    """libcuda.so.1 with one device's primary context."""

    def __init__(self) -> None:
        self.library: Any = ctypes.CDLL("libcuda.so.1")
        self.device = 0
        self._events: list[Handle] = []

    @property
    def simulated(self) -> bool:
        """Whether this is the project's own simulation and no GPU."""
        return hasattr(self.library, "sim_now")

    def call(self, name: str, *arguments: Any) -> None:
        """Calls the function; integers wider than an int must come as ctypes values."""
        code = getattr(self.library, name)(*arguments)
        if code:
            raise DriverError(name, code)

    # ---- device and context ----

    def count(self) -> int:
        """GPUs; 0 also where the driver finds none or does not start."""
        number = ctypes.c_int()
        if self.library.cuInit(0) or self.library.cuDeviceGetCount(ctypes.byref(number)):
            return 0
        return number.value

    def start(self, device: int) -> None:
        """Makes the device's primary context current: the one that PyTorch uses too."""
        context = Handle()
        self.device = device
        self.call("cuInit", 0)
        self.call("cuDevicePrimaryCtxRetain", ctypes.byref(context), device)
        self.call("cuCtxSetCurrent", context)

    def version(self) -> int:
        """CUDA version of the driver: 1000 major + 10 minor."""
        number = ctypes.c_int()
        self.call("cuDriverGetVersion", ctypes.byref(number))
        return number.value

    def name(self, device: int) -> str:
        """The product's name."""
        text = ctypes.create_string_buffer(256)
        self.call("cuDeviceGetName", text, len(text), device)
        return text.value.decode()

    def uuid(self, device: int) -> str:
        """GPU-…, as nvidia-smi -L prints it."""
        raw = ctypes.create_string_buffer(16)
        self.call("cuDeviceGetUuid", raw, device)
        return f"GPU-{uuid.UUID(bytes=raw.raw)}"

    def multiprocessors(self) -> int:
        """SMs of the current device."""
        number = ctypes.c_int()
        self.call("cuDeviceGetAttribute", ctypes.byref(number), MULTIPROCESSORS, self.device)
        return number.value

    def synchronise(self) -> None:
        """Waits for all work of the context."""
        self.call("cuCtxSynchronize")

    # ---- memory: bytes ----

    def total_memory(self, device: int) -> int:
        """What cuDeviceTotalMem says."""
        total = ctypes.c_size_t()
        self.call("cuDeviceTotalMem_v2", ctypes.byref(total), device)
        return total.value

    def memory(self) -> tuple[int, int]:
        """Free and total, as cuMemGetInfo says."""
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        self.call("cuMemGetInfo_v2", ctypes.byref(free), ctypes.byref(total))
        return free.value, total.value

    def allocate(self, size: int) -> int:
        """A device address; DriverError with OUT_OF_MEMORY when there is no room."""
        address = ctypes.c_uint64()
        self.call("cuMemAlloc_v2", ctypes.byref(address), ctypes.c_size_t(size))
        return address.value

    def free(self, address: int) -> None:
        """Frees what allocate gave."""
        self.call("cuMemFree_v2", ctypes.c_uint64(address))

    # ---- streams and events ----

    def stream(self) -> Handle:
        """A new stream that does not wait for the default one."""
        stream = Handle()
        self.call("cuStreamCreate", ctypes.byref(stream), 1)
        return stream

    def record(self, stream: Handle) -> Handle:
        """An event recorded now; wait() takes it back for later use."""
        if not self._events:
            fresh = Handle()
            self.call("cuEventCreate", ctypes.byref(fresh), 0)
            self._events.append(fresh)
        event = self._events.pop()
        self.call("cuEventRecord", event, stream)
        return event

    def wait(self, event: Handle) -> None:
        """Returns when what was recorded before the event is done."""
        self.call("cuEventSynchronize", event)
        self._events.append(event)

    def milliseconds(self, first: Handle, last: Handle) -> float:
        """GPU time between two events that are done."""
        elapsed = ctypes.c_float()
        self.call("cuEventElapsedTime", ctypes.byref(elapsed), first, last)
        return elapsed.value
