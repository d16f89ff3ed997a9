import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from town import Run, Town, add_claim, add_pool, amounts
from vgpu import values
from vgpu_cli.commands import top

NOTHING = values.NOTHING


def _row(path: str, *, compute: int, pods: int = 1) -> top.Row:
    held = values.Amounts(memory_bytes=values.GIB, compute_percent=compute)
    ceiling = values.Amounts(memory_bytes=values.GIB, compute_percent=100)
    return top.Row(
        path=path, pods=pods, floor=held, allocated=held, ceiling=ceiling, used=None, reason="SlicesReady"
    )


def _text(rows: list[top.Row], screen: top.Screen, *, most: int | None = None) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(top.drawn(rows, screen, most=most))
    return captured.get()


def test_into_a_pipe_it_writes_one_table_with_the_largest_first(run: Run, town: Town) -> None:
    add_pool(town)
    add_claim(town, "small", "team-a", pods=1, allocated=amounts("10Gi", 10))
    add_claim(town, "large", "team-a", pods=2, allocated=amounts("40Gi", 90))

    lines = run("top").output.splitlines()

    assert lines[1].startswith("team-a/large")
    assert lines[2].startswith("team-a/small")


def test_json_says_what_is_promised_held_and_possible(run: Run, settled: Town) -> None:
    [row] = json.loads(run("top", "-o", "json").output)

    assert row["promised"] == {"memoryBytes": 20 * values.GIB, "computePercent": 40}
    assert row["allocated"] == {"memoryBytes": 40 * values.GIB, "computePercent": 60}
    assert row["used"] is None


def test_the_line_shows_how_compute_went_up_to_the_ceiling() -> None:
    screen = top.Screen()
    for compute in (10, 50, 100):
        screen.remember([_row("team-a/llm", compute=compute)])

    assert "▁▅█" in _text([_row("team-a/llm", compute=100)], screen)


def test_claims_that_are_gone_are_forgotten() -> None:
    screen = top.Screen()
    screen.remember([_row("team-a/llm", compute=10)])
    screen.remember([])

    assert screen.seen == {}


def test_more_claims_than_lines_are_counted_with_what_they_hold() -> None:
    rows = [_row(f"team-a/c{index}", compute=10) for index in range(30)]

    text = _text(rows, top.Screen(), most=10)

    assert "20 claims more" in text
    assert "200 %" in text


LIVE = """
import contextlib, sys
sys.path.insert(0, sys.argv[1])
from town import Town, add_claim, add_pool, amounts
from vgpu_cli import app, options
from vgpu_cli.cluster import Session
from vgpu_kube import errors
from vgpu_kube.resources import VGPU_CLAIMS

town, looks = Town(), []
add_pool(town)
add_claim(town, "llm", "team-a", pods=1, allocated=amounts("40Gi", 60))

@contextlib.contextmanager
def connect(*_):
    looks.append(1)
    if len(looks) == 3:
        gone = errors.Unavailable(0, "OSError", "connection refused")
        town.fail_next(gone, resource=VGPU_CLAIMS)
    yield Session(town, "team-a")

app.app(["top", "--every", "0.5"], obj=options.Access(connect=connect))
"""


def test_on_a_terminal_it_goes_on_through_trouble_until_it_is_interrupted() -> None:
    outside, inside = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "20"}
    command = [sys.executable, "-c", LIVE, str(Path(__file__).parent)]
    child = subprocess.Popen(command, stdin=inside, stdout=inside, stderr=inside, env=environment)
    os.close(inside)
    try:
        seen = b""
        while b"connection refused" not in seen:
            seen += os.read(outside, 4096)  # ends with an error when the child does
        child.send_signal(signal.SIGINT)
        assert child.wait(timeout=20) == 130
    finally:
        child.kill()
        os.close(outside)

    assert b"team-a/llm" in seen
