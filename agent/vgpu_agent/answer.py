"""What a slice's application says about giving memory back (``vgpu_client``).

A tenant writes it: it is shown, never believed.
"""

import json
import os
import stat
from pathlib import Path

import vgpu_client

READ_BYTES = 4096


def of(directory: Path) -> str:
    """Why a shrink takes its time, in the application's words; "" where it says nothing that can be shown."""
    try:
        found = json.loads(_read(directory / "usage" / vgpu_client.ANSWER_FILE))
        message = found["message"] if not found["done"] else ""
    except (OSError, ValueError, TypeError, KeyError):
        return ""
    shown = "".join(each for each in str(message) if each.isprintable())
    return shown[: vgpu_client.MESSAGE_MAX]


def _read(path: Path) -> bytes:
    """The first bytes of a regular file: no link out of the directory, no pipe that blocks."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(f"expected a regular file at {path}")
        return os.read(descriptor, READ_BYTES)
    finally:
        os.close(descriptor)
