import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from town import Run, Town, add_claim, add_node, add_pool
from vgpu_kube import errors
from vgpu_kube.resources import EVENTS, VGPU_NODES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "line"}


class _Balanced(HTMLParser):
    """Raises where an element is closed that is not open, and counts elements."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag


def _parsed(text: str) -> _Balanced:
    parser = _Balanced()
    parser.feed(text)
    assert parser.open == []
    return parser


def _tell(town: Town, name: str, reason: str, *, at: str, note: str = "told", warning: bool = False) -> None:
    event = {
        "metadata": {"name": f"{name}.{reason}".lower()},
        "eventTime": at,
        "regarding": {"kind": "VGPUClaim", "namespace": "team-a", "name": name},
        "type": "Warning" if warning else "Normal",
        "reportingController": "vgpu-operator",
        "reason": reason,
        "note": note,
    }
    town.add(EVENTS, event, "team-a")


@pytest.fixture
def eventful(settled: Town) -> Town:
    """The settled town, after a growth, a shrink and a warning."""
    _tell(settled, "llm", "Growing", at="2026-01-01T11:00:00Z", note="slices on node gpu-0 grow to 60 %")
    _tell(settled, "llm", "Shrinking", at="2026-01-01T11:30:00Z")
    _tell(settled, "llm", "Deferred", at="2026-01-01T11:45:00Z", warning=True)
    return settled


def test_the_page_is_well_formed_and_loads_nothing(run: Run, eventful: Town) -> None:
    text = run("report", "-A", "-").output

    _parsed(text)
    assert not re.search(r"<script|<link|<img|https?://", text)
    assert "default-src 'none'" in text


def test_it_shows_pools_cards_claims_and_decisions(run: Run, eventful: Town) -> None:
    text = run("report", "-A", "-").output

    assert "a100" in text
    assert text.count('<g class="card') == 4
    assert "team-b/embed" in text
    assert "40 GiB/40 % asked" in text
    assert text.count("<polygon") == 2
    assert text.count("<circle") == 1
    assert "Growing: slices on node gpu-0 grow to 60 %" in text


def test_what_is_not_ready_comes_first_with_what_helps(run: Run, settled: Town) -> None:
    text = run("report", "-A", "-").output

    assert text.index("team-b/embed") < text.index("<td>team-a/llm</td>")
    assert "What helps: end pods of the namespace" in text


def test_names_and_messages_of_the_cluster_are_escaped(run: Run, town: Town) -> None:
    add_pool(town)
    add_claim(town, "llm", "team-a", reason="NoFit", message="<script>alert('1')</script>&amp;")

    text = run("report", "-").output

    assert "<script>" not in text
    assert "&lt;script&gt;" in text


def test_thousands_of_cards_are_summed_up(run: Run, town: Town) -> None:
    add_pool(town)
    for index in range(300):
        add_node(town, f"gpu-{index:03}")

    text = run("report", "-").output

    assert text.count('<g class="card') == 512
    assert "88 GPUs more: 0 GiB of 7,040 GiB" in text


def test_a_tenant_gets_the_page_without_the_cards(run: Run, settled: Town) -> None:
    settled.fail_next(errors.Forbidden(403, "Forbidden", "no"), resource=VGPU_NODES)

    answer = run("report", "-")

    assert answer.exit_code == 0
    assert "may not read VGPUNodes" in answer.output


def test_a_place_that_cannot_be_written_is_a_fault(run: Run, settled: Town) -> None:
    assert run("report", "/proc/nowhere/page.html").exit_code == 1


@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium: apt-get install chromium")
def test_a_browser_draws_every_card_and_mark(run: Run, eventful: Town, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    assert run("report", "-A", str(page)).exit_code == 0

    seen = _in_chromium(page, tmp_path, "--dump-dom")

    dom = _parsed(seen)
    assert dom.counts["polygon"] == 2
    assert dom.counts["table"] == 2


@pytest.mark.skipif(CHROMIUM is None, reason="needs a chromium: apt-get install chromium")
def test_a_browser_paints_the_page(run: Run, eventful: Town, tmp_path: Path) -> None:
    page, picture = tmp_path / "page.html", tmp_path / "page.png"
    assert run("report", "-A", str(page)).exit_code == 0

    _in_chromium(page, tmp_path, f"--screenshot={picture}", "--window-size=1100,1400")

    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000  # an empty page of this size has less than 10 kB


def _in_chromium(page: Path, home: Path, *options: str) -> str:
    assert CHROMIUM is not None
    command = [
        CHROMIUM,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={home / 'profile'}",
        *options,
        page.as_uri(),
    ]
    done = subprocess.run(command, capture_output=True, timeout=120, check=True, env={"HOME": str(home)})
    return done.stdout.decode()
