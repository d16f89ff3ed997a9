"""Work that can be repeated: each load is a unit of about a millisecond or one large kernel."""

import dataclasses
from collections.abc import Callable
from typing import Any

from gpu.inside import pytorch
from gpu.inside.driver import Driver, Handle
from gpu.inside.kernels import Rates, Spin

US, MS = 1_000, 1_000_000
ASYNCHRONOUS, SYNCHRONOUS = 8, 1
"""Units that may be under way at once."""

MANY = 16
"""Blocks per multiprocessor: more than fit at once."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """`launch` starts one unit on `streams`; `depth` units may be under way."""

    launch: Callable[[], Any]
    streams: tuple[Handle, ...]
    depth: int = ASYNCHRONOUS


def _repeat(launch: Callable[[], Any], times: int) -> Callable[[], None]:
    def unit() -> None:
        for _ in range(times):
            launch()

    return unit


def _spin(
    driver: Driver,
    spin: Spin,
    ns: int,
    *,
    waves: int = 1,
    depth: int = ASYNCHRONOUS,
    cooperative: bool = False,
) -> Load:
    """Kernels of about `ns` on all multiprocessors, as many in a unit as make a millisecond."""
    stream = driver.stream()
    blocks = waves * driver.multiprocessors()
    launch = spin.launcher(ns, blocks=blocks, stream=stream, cooperative=cooperative)
    return Load(launch=_repeat(launch, max(1, MS // ns)), streams=(stream,), depth=depth)


def _one_block(driver: Driver, spin: Spin) -> Load:
    stream = driver.stream()
    return Load(launch=spin.launcher(MS, blocks=1, stream=stream), streams=(stream,))


def _quarter(driver: Driver) -> int:
    return max(1, driver.multiprocessors() // 4)


def _four_streams(driver: Driver, spin: Spin) -> Load:
    streams = tuple(driver.stream() for _ in range(4))
    blocks = _quarter(driver)
    launches = [spin.launcher(MS, blocks=blocks, stream=stream) for stream in streams]
    return Load(launch=lambda: [launch() for launch in launches], streams=streams)


def _graph(driver: Driver, spin: Spin) -> Load:
    stream = driver.stream()
    launch = spin.graph(5 * US, kernels=200, blocks=driver.multiprocessors(), stream=stream)
    return Load(launch=launch, streams=(stream,))


DRIVER_LOADS: dict[str, Callable[[Driver, Spin], Load]] = {
    "kernel-20us": lambda driver, spin: _spin(driver, spin, 20 * US),
    "kernel-1ms": lambda driver, spin: _spin(driver, spin, MS),
    "kernel-1ms-synchronous": lambda driver, spin: _spin(driver, spin, MS, depth=SYNCHRONOUS),
    "kernel-1ms-many-blocks": lambda driver, spin: _spin(driver, spin, MS, waves=MANY),
    "kernel-1ms-one-block": _one_block,
    "kernel-11ms": lambda driver, spin: _spin(driver, spin, 11 * MS, depth=3),
    "cooperative-1ms": lambda driver, spin: _spin(driver, spin, MS, cooperative=True),
    "graph-200x5us": _graph,
    "streams-4x1ms": _four_streams,
}
"""By the driver's API alone."""

TORCH_LOADS = pytorch.LOADS
"""With PyTorch: kernels that people really run."""


def calibrate(driver: Driver) -> Rates:
    """How fast the GPU works through the grids of these loads; to be asked of the bare driver."""
    spin = Spin(driver, {})
    every = driver.multiprocessors()
    return {str(blocks): spin.rate(blocks) for blocks in (1, _quarter(driver), every, MANY * every)}


def make(name: str, driver: Driver, rates: Rates) -> Load:
    """The load of that name, ready to run."""
    if name in TORCH_LOADS:
        # PyTorch works on the legacy default stream unless told otherwise.
        return Load(launch=TORCH_LOADS[name](), streams=(Handle(None),))
    return DRIVER_LOADS[name](driver, Spin(driver, rates))
