"""The text of Kubernetes quantities, read and written: ``16Gi`` outside, an integer of bytes inside.

The only place that knows the suffixes. Bounds of a field belong to its kind, not here.
"""

import functools
import re

_GRAMMAR = re.compile(
    r"(?P<whole>[0-9]{1,40})?(?:\.(?P<fraction>[0-9]{0,40}))?"
    r"(?:(?P<suffix>[KMGTPE]i|[numkMGTPE])|[eE](?P<exponent>[+-]?[0-9]{1,2}))?",
    re.ASCII,
)
_BINARY = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_POWERS_OF_TEN = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}


@functools.lru_cache(maxsize=65536)
def parse_bytes(text: str) -> int:
    """The bytes that a quantity such as ``16Gi``, ``1.5Gi``, ``2e9`` or ``512M`` stands for, exactly.

    Raises ValueError where the text is no quantity, is negative, or does not come to whole bytes.
    """
    whole, rest = _scaled(text, "memory such as 16Gi or 512Mi", 0)
    if rest:
        raise ValueError(f"expected whole bytes, found {text!r}; write it with a smaller suffix, as in 100Mi")
    return whole


@functools.lru_cache(maxsize=4096)
def parse_milli(text: str) -> int:
    """The thousandths that a quantity of CPU such as ``4``, ``250m`` or ``1.5`` stands for, rounded up.

    Raises ValueError where the text is no quantity or is negative.
    """
    whole, rest = _scaled(text, "CPU such as 4 or 250m", 3)
    return whole + bool(rest)


def _scaled(text: str, expected: str, power: int) -> tuple[int, int]:
    """The quantity times ten to this power: the whole number, and what is left of it if anything is."""
    match = _GRAMMAR.fullmatch(text)
    if match is None or not (match["whole"] or match["fraction"]):
        raise ValueError(f"expected a quantity of {expected}, found {text!r}; correct it")
    digits, exponent = _digits(match)
    exponent += power
    binary = 1 << 10 * _BINARY.index(match["suffix"]) if match["suffix"] in _BINARY else 1
    raised: int = 10 ** max(exponent, 0)
    lowered: int = 10 ** max(-exponent, 0)
    return divmod(digits * binary * raised, lowered)


def _digits(match: re.Match[str]) -> tuple[int, int]:
    """The number's digits without its point, and the power of ten they stand at."""
    fraction = match["fraction"] or ""
    exponent = int(match["exponent"] or 0) + _POWERS_OF_TEN.get(match["suffix"], 0)
    return int((match["whole"] or "") + fraction), exponent - len(fraction)


def format_bytes(memory_bytes: int) -> str:
    """The one canonical text of so many bytes: the largest binary suffix that divides them, so it is exact.

    Raises ValueError where they are negative.
    """
    if memory_bytes < 0:
        raise ValueError(f"expected bytes from 0 on, found {memory_bytes}; correct the subtraction before it")
    if memory_bytes == 0:
        return "0"
    trailing_zeros = (memory_bytes & -memory_bytes).bit_length() - 1
    step = min(trailing_zeros // 10, len(_BINARY) - 1)
    return f"{memory_bytes >> 10 * step}{_BINARY[step]}"


def format_count(count: int) -> str:
    """The text in which the API server stores so many of an extended resource: 8000 as ``8k``.

    Raises ValueError where they are negative.
    """
    if count < 0:
        raise ValueError(f"expected a count from 0 on, found {count}; correct the subtraction before it")
    for suffix in ("", "k", "M", "G"):
        if count % 1000 or not count:
            return f"{count}{suffix}"
        count //= 1000
    return f"{count}T"
