"""What a process of its own is told about the simulated driver through its environment."""

import os
import pathlib
import subprocess
import sys

SCRIPT = """
import ctypes, sys
cuda = ctypes.CDLL(sys.argv[1])
context, address = ctypes.c_void_p(), ctypes.c_uint64()
assert cuda.cuInit(0) == 0
assert cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
print([cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(4096)) for _ in range(3)])
count = ctypes.c_int()
cuda.cuDeviceGetCount(ctypes.byref(count))
print(count.value)
"""


def run(simulated: pathlib.Path, tmp_path: pathlib.Path, **environment: str) -> list[str]:
    library = str(simulated / "libcuda.so.1")
    known = os.environ | {"VGPU_SIM_STATE": str(tmp_path / "state"), "VGPU_SIM_CONFIG": ""} | environment
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, library],
        env=known,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return done.stdout.splitlines()


def test_every_call_is_traced_in_its_form(simulated: pathlib.Path, tmp_path: pathlib.Path) -> None:
    trace = tmp_path / "trace"

    run(simulated, tmp_path, VGPU_SIM_TRACE=str(trace))

    calls = [line.split()[1:3] for line in trace.read_text().splitlines()]
    allocation = ["cuMemAlloc_v2", "d"]
    assert calls == [["cuInit", "d"], ["cuCtxCreate_v2", "d"], *[allocation] * 3, ["cuDeviceGetCount", "d"]]


def test_a_fault_answers_the_call_it_names(simulated: pathlib.Path, tmp_path: pathlib.Path) -> None:
    answers, _ = run(simulated, tmp_path, VGPU_SIM_FAIL="cuMemAlloc_v2:2:2")

    assert answers == "[0, 2, 0]"


def test_a_changed_configuration_takes_effect_on_an_idle_machine(
    simulated: pathlib.Path, tmp_path: pathlib.Path
) -> None:
    config = tmp_path / "config"
    counts = []

    for devices in (2, 5):
        config.write_text(f"devices {devices}\n")
        counts.append(run(simulated, tmp_path, VGPU_SIM_CONFIG=str(config))[1])

    assert counts == ["2", "5"]


def test_minimal_work_keeps_no_accounts(simulated: pathlib.Path, tmp_path: pathlib.Path) -> None:
    answers, _ = run(simulated, tmp_path, VGPU_SIM_MINIMAL="1")

    assert answers == "[0, 0, 0]"
