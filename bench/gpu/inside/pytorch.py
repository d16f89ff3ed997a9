"""Loads and memory tests that need PyTorch; imports it only when one is asked for."""

# ruff: noqa: ANN401 -- PyTorch is imported only where it is

import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

GIB = 1 << 30


def installed() -> bool:
    """Whether there is a PyTorch at all."""
    return importlib.util.find_spec("torch") is not None


def _torch() -> Any:
    return importlib.import_module("torch")


def _matmul(size: int, *, times: int = 1) -> Callable[[], object]:
    torch = _torch()
    left, right = (torch.randn(size, size, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    out = torch.empty_like(left)

    def unit() -> None:
        for _ in range(times):
            torch.matmul(left, right, out=out)

    unit()  # loads the library and picks the kernel
    return unit


def _elementwise() -> Callable[[], object]:
    torch = _torch()
    values = torch.zeros(2 * GIB // 4, device="cuda")  # read and written: 4 GiB of traffic
    return lambda: values.add_(1.0)


def _graph() -> Callable[[], object]:
    torch = _torch()
    values = torch.zeros(1 << 20, device="cuda")
    graph = torch.cuda.CUDAGraph()
    values.add_(1.0)
    torch.cuda.synchronize()
    with torch.cuda.graph(graph):
        for _ in range(200):
            values.add_(1.0)
    return lambda: graph.replay()


LOADS: dict[str, Callable[[], Callable[[], object]]] = {
    "torch-matmul-1024": lambda: _matmul(1024, times=50),
    "torch-matmul-4096": lambda: _matmul(4096, times=4),
    "torch-matmul-8192": lambda: _matmul(8192),
    "torch-matmul-16384": lambda: _matmul(16384),
    "torch-elementwise-4GiB": _elementwise,
    "torch-graph-200": _graph,
}


def fill(chunk: int, *, captured: bool) -> dict[str, Any]:
    """Allocates until torch.OutOfMemoryError; what it got, and what it is shown. Sizes in bytes.

    `captured`: inside a graph capture, from the graph's own pool.
    """
    torch = _torch()
    before = torch.cuda.mem_get_info()
    held: list[Any] = []
    error = _fill_captured(torch, held, chunk) if captured else _fill(torch, held, chunk)
    answer = {
        "held": sum(each.nbytes for each in held),
        "reserved": torch.cuda.memory_reserved(),
        "error": error,
        "mem_get_info": list(torch.cuda.mem_get_info()),
        "total_memory": torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory,
    }
    held.clear()
    torch.cuda.empty_cache()
    torch.cuda.synchronize()
    return answer | {"free_before": before[0], "free_after": torch.cuda.mem_get_info()[0]}


def _fill(torch: Any, held: list[Any], chunk: int) -> str:
    """Ever smaller chunks, so that what is left over is small; the error's name."""
    error = "none"
    while chunk >= 2 << 20:
        try:
            held.append(torch.empty(chunk, dtype=torch.uint8, device="cuda"))
        except torch.cuda.OutOfMemoryError as refused:
            error = type(refused).__name__
            chunk //= 2
    return error


def _fill_captured(torch: Any, held: list[Any], chunk: int) -> str:
    graph = torch.cuda.CUDAGraph()
    error = "none"
    try:
        with torch.cuda.graph(graph):
            error = _fill(torch, held, chunk)
            held[0].zero_()  # an empty capture is none
    except RuntimeError as refused:  # a refused allocation may end the capture; what it got still counts
        error = f"{error}, then {type(refused).__name__}"
    return error
