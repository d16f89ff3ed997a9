"""Dying at named points, in a process of its own."""

import signal
import subprocess
import sys

import pytest

from vgpu_kube import crash

PROGRAM = """
from vgpu_kube import crash
crash.arm({spec!r})
for passage in range(1, 5):
    crash.point("before-slice")
    crash.point("after-slice")
    print(passage, flush=True)
"""


@pytest.mark.parametrize(
    ("spec", "passages", "returncode"),
    [
        ("before-slice", "", -signal.SIGKILL),
        ("after-slice:3", "1\n2\n", -signal.SIGKILL),
        ("elsewhere", "1\n2\n3\n4\n", 0),
    ],
)
def test_a_process_dies_at_the_passage_it_was_told(spec: str, passages: str, returncode: int) -> None:
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(spec=spec)], capture_output=True, text=True, check=False
    )

    assert (ended.stdout, ended.returncode) == (passages, returncode)


@pytest.mark.parametrize("spec", ["", ":3", "name:0", "name:x", "name:-1"])
def test_what_names_no_passage_is_refused(spec: str) -> None:
    with pytest.raises(ValueError, match="expected NAME or NAME:N"):
        crash.arm(spec)
