"""How amounts, ages and counts are said to people; JSON has integers in base units instead."""

from collections.abc import Iterable

from vgpu import values


def memory(memory_bytes: int) -> str:
    """Memory in GiB, in TiB from 10 TiB on: ``16 GiB``, ``312.5 TiB``."""
    if abs(memory_bytes) >= 10 * 1024 * values.GIB:
        return f"{memory_bytes / values.GIB / 1024:,.4g} TiB"
    gib = memory_bytes / values.GIB
    return f"{gib:,.0f} GiB" if abs(gib) >= 1000 else f"{gib:.4g} GiB"


def compute(percent: int) -> str:
    """Compute as percent of one GPU: ``1,600 %`` are sixteen."""
    return f"{percent:,} %"


def part(held: values.Amounts, whole: values.Amounts) -> tuple[str, str]:
    """How much of how much memory and compute: ``220 GiB of 640 GiB`` and ``240 % of 1,600 %``."""
    return (
        f"{memory(held.memory_bytes)} of {memory(whole.memory_bytes)}",
        f"{compute(held.compute_percent)} of {compute(whole.compute_percent)}",
    )


def amounts(found: values.Amounts) -> str:
    """Both: ``16 GiB/25 %``."""
    return f"{memory(found.memory_bytes)}/{compute(found.compute_percent)}"


def counted(count: int, noun: str) -> str:
    """``1 pod``, ``2 pods``."""
    return f"{count:,} {noun if count == 1 else f'{noun}s'}"


def age(seconds: float) -> str:
    """A duration in its two largest units at most, as kubectl says it: ``45s``, ``12m``, ``3h``, ``9d``."""
    for length, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= 2 * length:
            return f"{int(seconds // length)}{unit}"
    return f"{max(0, int(seconds))}s"


def listed(names: Iterable[str], *, most: int = 3) -> str:
    """The first few names and how many there are besides: ``a, b, c and 7 more``."""
    found = sorted(names)
    shown = ", ".join(found[:most])
    return f"{shown} and {len(found) - most:,} more" if len(found) > most else shown
