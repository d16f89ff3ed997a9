"""Whether dlsym and cuGetProcAddress give the same address for one function."""

import ctypes
from typing import Any

from gpu.inside.driver import Driver

FLAGS = {"D": 0, "P": 2}
"""Default, and per-thread default stream."""


def compare(driver: Driver, tuples: list[list[Any]]) -> dict[str, list[str]]:
    """Sorts [symbol, base name, version, flag letter] by what the two roads answer."""
    found: dict[str, list[str]] = {
        "equal": [],
        "different": [],
        "only_dlsym": [],
        "only_lookup": [],
        "neither": [],
    }
    for symbol, name, version, flag in tuples:
        found[_compare(driver, symbol, name, version, FLAGS[flag])].append(symbol)
    return found


def _compare(driver: Driver, symbol: str, name: str, version: int, flag: int) -> str:
    exported = getattr(driver.library, symbol, None)
    first = ctypes.cast(exported, ctypes.c_void_p).value if exported is not None else None
    looked_up = ctypes.c_void_p()
    code = driver.library.cuGetProcAddress_v2(
        name.encode(), ctypes.byref(looked_up), version, ctypes.c_uint64(flag), None
    )
    second = None if code else looked_up.value
    if first is None or second is None:
        return "only_dlsym" if first else "only_lookup" if second else "neither"
    return "equal" if first == second else "different"
