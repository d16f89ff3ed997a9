"""Makes the messages from the .proto files; grpcio-tools is needed for that, and only for that."""

import importlib.resources
import sys
from pathlib import Path

ROOM = Path(__file__).resolve().parents[2]
PROTOS = ("vgpu_agent/csi/csi.proto", "vgpu_agent/csi/registration.proto")
LENIENT = '# mypy: disable-error-code="type-arg"\n'
"""protoc writes bare generic types, which strict checking refuses."""


def generate(into: Path) -> int:
    """Writes the modules and their types below a directory; protoc's exit status."""
    from grpc_tools import protoc  # type: ignore[import-untyped]  # ships no types; only developers have it

    known = str(importlib.resources.files("grpc_tools") / "_proto")
    options = [f"-I{ROOM}", f"-I{known}", f"--python_out={into}", f"--pyi_out={into}"]
    status = int(protoc.main(["protoc", *options, *PROTOS]))
    for proto in PROTOS:
        stub = into / proto.replace(".proto", "_pb2.pyi")
        if stub.exists():
            stub.write_text(LENIENT + stub.read_text())
    return status


if __name__ == "__main__":
    sys.exit(generate(ROOM))
