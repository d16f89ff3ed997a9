"""The simulated GPUs of one node: their description, their state, and the libraries that play the driver."""

import dataclasses
import subprocess
import uuid
from pathlib import Path

from vgpu_e2e import errors, gpunodes
from vgpu_e2e.platform import REPOSITORY

BUILT = REPOSITORY / "build" / "shim"
GIB = 2**30


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What stands in for a machine with GPUs; everything that runs on it shares its state file."""

    driver: Path
    shim: Path
    config: Path
    state: Path
    uuids: tuple[str, ...]

    @property
    def nvml(self) -> Path:
        """The library that the agent asks."""
        return self.driver / "libnvidia-ml.so.1"

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to see these GPUs and no others."""
        return {
            "VGPU_SIM_CONFIG": str(self.config),
            "VGPU_SIM_STATE": str(self.state),
            "LD_LIBRARY_PATH": str(self.driver),
        }


def make(
    directory: Path, *, gpus: int = 1, model: gpunodes.GPUModel = gpunodes.A100, options: str = ""
) -> Machine:
    """Describe a machine in a directory and build its driver; options are lines for the driver's config."""
    build()
    directory.mkdir(parents=True, exist_ok=True)
    uuids = tuple(f"GPU-{uuid.uuid4()}" for _ in range(gpus))
    lines = [f"devices {gpus}", f"model {model.name}", f"memory {model.memory_bytes // GIB}G"]
    lines += [f"device {index} uuid {each}" for index, each in enumerate(uuids)]
    config = directory / "gpus.conf"
    config.write_text("\n".join([*lines, options, ""]))
    return Machine(
        driver=BUILT / "sim",
        shim=BUILT / "libvgpu.so",
        config=config,
        state=directory / "gpus.state",
        uuids=uuids,
    )


def build() -> None:
    """Build shim and simulated driver where they are not up to date; several callers take turns."""
    BUILT.mkdir(parents=True, exist_ok=True)
    command = ["flock", str(BUILT / "lock"), "make", "-s", "-C", str(REPOSITORY / "shim"), "lib", "sim"]
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, timeout=600)
    except FileNotFoundError as error:
        raise errors.BedError(f"expected make and flock on the PATH, found no {error.filename}") from None
    except subprocess.CalledProcessError as error:
        raise errors.BedError(f"expected shim and driver to build:\n{error.stderr}") from None
