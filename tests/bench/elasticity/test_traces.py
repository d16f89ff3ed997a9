"""Rate files and request files become rates per second; what is neither is refused in words."""

import gzip
from pathlib import Path

import pytest

from elasticity import traces


def written(folder: Path, text: str) -> str:
    path = folder / "load.txt"
    path.write_text(text)
    return str(path)


def test_a_number_per_line_is_a_rate_per_second(tmp_path: Path) -> None:
    rates = traces.load(written(tmp_path, "\n".join(str(i) for i in range(60))), seconds=40, seed=1)

    assert rates == [float(i) for i in range(40)]


def test_a_packed_file_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "load.txt.gz"
    path.write_bytes(gzip.compress(b"2\n" * 50))

    assert traces.load(str(path), seconds=50, seed=1) == [2.0] * 50


@pytest.mark.parametrize(
    ("head", "scale"), [("time,prompt,output", 1), ("timestamp,input_length,output_length", 1000)]
)
def test_requests_are_counted_by_their_second(tmp_path: Path, head: str, scale: int) -> None:
    rows = [f"{0.25 * i * scale:g},100,10" for i in range(400)]

    rates = traces.load(written(tmp_path, "\n".join([head, *rows])), seconds=100, seed=1)

    assert rates == pytest.approx([4.0] * 100)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1\n2\n",
        "0\n" * 60,
        "nan\n" * 60,
        "-1\n" * 60,
        "time,prompt,output\n",
        "time,prompt,output\ninf,1,1\n",
        "time,prompt,output\nyesterday,1,1\n",
        "time,prompt,output\n1,1,1\n1700000000000,1,1\n",
    ],
)
def test_what_is_no_trace_is_refused_in_words(tmp_path: Path, text: str) -> None:
    with pytest.raises(traces.BadTraceError, match="expected"):
        traces.load(written(tmp_path, text), seconds=900, seed=1)


def test_a_missing_file_is_refused_in_words() -> None:
    with pytest.raises(traces.BadTraceError, match="expected a trace at nowhere"):
        traces.load("nowhere.txt", seconds=900, seed=1)


def test_the_smooth_loads_are_loads() -> None:
    assert set(traces.SMOOTH) <= set(traces.names())
