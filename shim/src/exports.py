"""Writes the linker's version script: exactly the driver's names, and our vgpu_ ones."""

import re
import sys
from pathlib import Path


def names(source: Path) -> list[str]:
    """The symbols of hooks.def, and of passthrough.def and the header of the pages."""
    lists = (source / "hooks.def").read_text() + (source / "passthrough.def").read_text()
    listed = re.findall(r"^(?:CUDA|NVML|PASS)\((\w+)", lists, re.MULTILINE)
    header = (source.parent / "include" / "vgpu_region.h").read_text()
    ours = re.findall(r"^[a-z].*?\*?\b(vgpu_\w+)\(", header, re.MULTILINE)
    return [*listed, *ours, "dlsym"]


if __name__ == "__main__":
    exported = "".join(f"    {name};\n" for name in names(Path(sys.argv[1])))
    sys.stdout.write(f"{{\n  global:\n{exported}  local:\n    *;\n}};\n")
