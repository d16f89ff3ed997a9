"""Named points at which a process can be told to die, so that tests see what a crash there leaves behind.

A writer calls ``point`` before and after each write. Unarmed, as always outside of tests, it does nothing.
"""

import os
import signal

_armed: dict[str, int] = {}  # point -> passages left until the process dies


def arm(spec: str) -> None:
    """Dies at the first passage of the point ``NAME``, or at the N-th for ``NAME:N``.

    Raises ValueError for anything else.
    """
    name, _, count = spec.partition(":")
    if not name or not (count or "1").isdigit() or int(count or "1") < 1:
        raise ValueError(f"expected NAME or NAME:N with N from 1 on, found {spec!r}")
    _armed[name] = int(count or "1")


def point(name: str) -> None:
    """Kills the process, as ``kill -9`` does, where this point is armed and its turn has come."""
    if name in _armed:
        _armed[name] -= 1
        if _armed[name] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
