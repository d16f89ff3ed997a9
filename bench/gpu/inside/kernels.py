"""A kernel that keeps a multiprocessor busy for as long as it is told, and no memory."""

import ctypes
from collections.abc import Callable

from gpu.inside.driver import RELAXED_CAPTURE, Driver, Handle

Launch = Callable[[], None]

THREADS = 256
"""Per block; eight such blocks fill a multiprocessor."""

# A chain of multiplications that no compiler can shorten; the store is for its sake only.
SPIN = b"""
.version 6.3
.target sm_75
.address_size 64
.global .align 8 .u64 sink;
.visible .entry spin(.param .u64 rounds)
{
    .reg .pred %p<3>;
    .reg .b32 %r<2>;
    .reg .b64 %rd<3>;
    ld.param.u64 %rd1, [rounds];
    mov.u32 %r1, %tid.x;
    cvt.u64.u32 %rd2, %r1;
AGAIN:
    mad.lo.u64 %rd2, %rd2, 6364136223846793005, 1442695040888963407;
    sub.u64 %rd1, %rd1, 1;
    setp.ne.u64 %p1, %rd1, 0;
    @%p1 bra AGAIN;
    setp.ne.u64 %p2, %rd2, 0;
    @%p2 bra DONE;
    st.global.u64 [sink], %rd2;
DONE:
    ret;
}
\0"""

WARM_ROUNDS = 300_000
MEASURED = 20


Rates = dict[str, float]
"""Rounds in a nanosecond, by number of blocks."""


class Spin:
    """The kernel, loaded. A duration is that of the whole grid, as calibrated on the bare driver."""

    def __init__(self, driver: Driver, rates: Rates) -> None:
        module, self.function = Handle(), Handle()
        self._driver, self._rates = driver, rates
        driver.call("cuModuleLoadData", ctypes.byref(module), SPIN)
        driver.call("cuModuleGetFunction", ctypes.byref(self.function), module, b"spin")

    def rate(self, blocks: int) -> float:
        """Rounds in a nanosecond with so many blocks, at the clock of a GPU that is warm.

        Only without a limit: one would be measured as a slower GPU.
        """
        launch = self._prepare(WARM_ROUNDS, blocks=blocks, stream=None)
        for _ in range(MEASURED):
            launch()
        self._driver.synchronise()
        first = self._driver.record(Handle(None))
        for _ in range(MEASURED):
            launch()
        last = self._driver.record(Handle(None))
        self._driver.synchronise()
        return WARM_ROUNDS * MEASURED / (self._driver.milliseconds(first, last) * 1e6)

    def shortest(self) -> Launch:
        """A function that launches as little work as there is."""
        return self._prepare(1, blocks=1, stream=None)

    def launcher(
        self, ns: float, *, blocks: int, stream: Handle | None = None, cooperative: bool = False
    ) -> Launch:
        """A function that launches the kernel once."""
        rounds = max(1, round(ns * self._rates[str(blocks)]))
        return self._prepare(rounds, blocks=blocks, stream=stream, cooperative=cooperative)

    def _prepare(
        self, rounds: int, *, blocks: int, stream: Handle | None, cooperative: bool = False
    ) -> Launch:
        parameter = ctypes.c_uint64(rounds)
        parameters = (ctypes.c_void_p * 1)(ctypes.addressof(parameter))
        shape = (blocks, 1, 1, THREADS, 1, 1, 0)
        more = () if cooperative else (None,)
        name = "cuLaunchCooperativeKernel" if cooperative else "cuLaunchKernel"
        call, function = self._driver.call, self.function

        def launch() -> None:
            _ = parameter  # kept alive: the driver reads it through its address
            call(name, function, *shape, stream, parameters, *more)

        return launch

    def graph(self, ns: float, *, kernels: int, blocks: int, stream: Handle) -> Launch:
        """A function that launches a graph of so many kernels, one after the other."""
        graph, executable = Handle(), Handle()
        launch = self.launcher(ns, blocks=blocks, stream=stream)
        self._driver.call("cuStreamBeginCapture_v2", stream, RELAXED_CAPTURE)
        for _ in range(kernels):
            launch()
        self._driver.call("cuStreamEndCapture", stream, ctypes.byref(graph))
        self._driver.call("cuGraphInstantiateWithFlags", ctypes.byref(executable), graph, ctypes.c_uint64(0))
        return lambda: self._driver.call("cuGraphLaunch", executable, stream)
