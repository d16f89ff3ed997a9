"""Start here, on a machine with an NVIDIA GPU: python bench/gpu/run.py --help"""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT / "bench"), str(ROOT / "shim")]  # in place of this folder, whose names are ours

if __name__ == "__main__":
    try:
        from gpu import command
    except ModuleNotFoundError as missing:
        sys.exit(f"bench/gpu: {missing}; it needs cffi beside the standard library: pip install cffi")
    sys.exit(command.main())
