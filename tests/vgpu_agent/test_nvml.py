"""The NVML backend on the simulated libnvidia-ml, in a process of its own: there is one NVML per process."""

import json
import pathlib
import subprocess
import sys
from typing import Any, Protocol

import pytest

from vgpu_agent import devices, nvml

MACHINE = """\
devices 3
model NVIDIA A100-SXM4-80GB
memory 80G
device 1 uuid GPU-11111111-2222-3333-4444-555555555555
device 2 numa 1
link 0 1 4
"""
PRELUDE = """\
import ctypes, dataclasses, json, pathlib, sys
from vgpu_agent import devices, nvml
library = pathlib.Path(sys.argv[1])
backend = nvml.NVML(library)
sim = ctypes.CDLL(str(library))
def show(found):
    plain = lambda value: getattr(value, "value", str(value))
    print(json.dumps([dataclasses.asdict(each) for each in found], default=plain))
"""


class Built(Protocol):
    @property
    def nvml(self) -> pathlib.Path: ...


@pytest.fixture
def ask(built: Built, tmp_path: pathlib.Path) -> Any:
    machine = tmp_path / "machine"
    machine.write_text(MACHINE)
    environment = {
        "VGPU_SIM_CONFIG": str(machine),
        "VGPU_SIM_STATE": str(tmp_path / "state"),
        "PYTHONPATH": ":".join(path for path in sys.path if path),
    }

    def run(script: str) -> Any:
        command = [sys.executable, "-c", PRELUDE + script, str(built.nvml)]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def test_every_gpu_is_found_with_its_facts(ask: Any) -> None:
    first, second, third = ask("show(backend.list_devices())")

    assert [each["device"]["index"] for each in (first, second, third)] == [0, 1, 2]
    assert second["device"]["uuid"] == "GPU-11111111-2222-3333-4444-555555555555"
    assert first["device"]["model"] == "NVIDIA-A100-SXM4-80GB"
    assert first["device"]["memory_bytes"] == 80 * 2**30
    assert (first["device"]["numa_node"], third["device"]["numa_node"]) == (0, 1)
    assert first["isolation"] == {"memory": "Hard", "compute": "TimeShare", "resize": "Live"}


def test_links_name_the_nearest_thing_two_gpus_share(ask: Any) -> None:
    first, _, _ = ask("show(backend.list_devices())")

    found = {each["uuid"]: (each["kind"], each["lanes"]) for each in first["device"]["links"]}
    assert found.pop("GPU-11111111-2222-3333-4444-555555555555") == ("NVLink", 4)
    assert list(found.values()) == [("Machine", 0)]


def test_a_serious_xid_makes_its_gpu_unhealthy_and_no_other(ask: Any) -> None:
    found = ask("backend.list_devices(); sim.sim_xid(1, ctypes.c_uint64(79)); show(backend.list_devices())")

    assert [each["device"]["healthy"] for each in found] == [True, False, True]
    assert "Xid 79" in found[1]["fault"]


def test_an_applications_own_fault_leaves_its_gpu_healthy(ask: Any) -> None:
    raised = "".join(f"sim.sim_xid(1, ctypes.c_uint64({code}));" for code in nvml.HARMLESS_XIDS)

    found = ask(f"backend.list_devices(); {raised} show(backend.list_devices())")

    assert all(each["device"]["healthy"] for each in found)


def test_a_driver_without_process_lists_says_so(ask: Any) -> None:
    said = ask("""
sim.sim_set(b"nvml_processes_result", ctypes.c_uint64(3))
backend.list_devices()
try:
    backend.list_processes("GPU-11111111-2222-3333-4444-555555555555")
except devices.NotSupportedError as error:
    print(json.dumps(str(error)))
""")

    assert "Not Supported" in said


def test_a_node_without_the_library_is_told_what_is_missing(tmp_path: pathlib.Path) -> None:
    with pytest.raises(devices.BackendError, match="is the NVIDIA driver loaded"):
        nvml.NVML(tmp_path / "none.so").list_devices()
