"""Addresses for the pods of a local node: on Linux this machine answers to all of 127/8.

So every pod may listen on the same port, and whoever asks a pod asks its own address, as in a cluster.
"""

import random
from collections.abc import Iterator

FIRST, LAST = 0x7F_01_00_00, 0x7F_FE_FF_FF  # 127.0/16 is left to the machine's own servers


def addresses(rng: random.Random) -> Iterator[str]:
    """Yield one after another from a random one on, so that nodes of several beds hardly ever meet."""
    number = rng.randint(FIRST, LAST)
    while True:
        number = FIRST if number >= LAST else number + 1
        if number & 0xFF not in (0, 255):
            yield ".".join(str(number >> shift & 0xFF) for shift in (24, 16, 8, 0))
