"""Makes the messages from the .proto files; grpcio-tools is needed for that, and only for that."""

import importlib.resources
import sys
from pathlib import Path

ROOM = Path(__file__).resolve().parents[2]
PROTOS = ("vgpu_agent/csi/csi.proto", "vgpu_agent/csi/registration.proto")


def generate(into: Path) -> int:
    """Writes the modules and their types below a directory; protoc's exit status."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types; only developers have it

    known = str(importlib.resources.files("grpc_tools") / "_proto")
    options = [f"-I{ROOM}", f"-I{known}", f"--python_out={into}", f"--pyi_out={into}"]
    return int(protoc.main(["protoc", *options, *PROTOS]))


if __name__ == "__main__":
    sys.exit(generate(ROOM))
