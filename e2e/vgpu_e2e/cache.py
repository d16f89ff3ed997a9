"""Where things that are built once are kept, outside the repository."""

import os
from pathlib import Path


def directory() -> Path:
    """Return VGPU_CACHE, or vgpu below XDG_CACHE_HOME, or ~/.cache/vgpu."""
    if chosen := os.environ.get("VGPU_CACHE"):
        return Path(chosen).expanduser()
    home = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(home).expanduser() / "vgpu"
