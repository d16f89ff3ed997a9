"""What the documentation names exists: pages, reasons, alerts; and what is generated is current."""

import pathlib
import re
import subprocess
import sys

import pytest

from vgpu.api import conditions
from vgpu_monitoring import alerts

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *sorted(ROOT.glob("docs/**/*.md"))]
TROUBLES = (ROOT / "docs" / "howto" / "troubleshoot.md").read_text()
LINK = re.compile(r"\]\((?!https?:)([^)#\s]*)(#[^)\s]*)?\)")

GOOD = {"Borrowing", "WithinQuota", "Growing", "Shrinking", "WithinBounds"}
"""Reasons that ask nothing of anybody."""


def headings(text: str) -> set[str]:
    return {line.lstrip("#").strip() for line in text.splitlines() if line.startswith("#")}


def anchors(text: str) -> set[str]:
    kept = (re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings(text))
    return {f"#{each.replace(' ', '-')}" for each in kept}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: pathlib.Path) -> None:
    for path, anchor in LINK.findall(page.read_text()):
        target = (page.parent / path).resolve() if path else page

        assert target.exists(), f"{path} in {page.name}"
        if anchor:
            assert anchor in anchors(target.read_text()), f"{path}{anchor} in {page.name}"


@pytest.mark.parametrize("table", [conditions.CLAIM_TABLE, conditions.POOL_TABLE], ids=["claim", "pool"])
def test_every_reason_that_is_no_good_news_is_explained(table: dict[object, conditions.Rules]) -> None:
    reasons = {str(reason) for rules in table.values() for reason in (*rules.false, *rules.unknown)} - GOOD
    reasons |= {
        str(reason) for reason in conditions.CLAIM_TABLE[conditions.ClaimCondition.SCALING_LIMITED].true
    }

    assert reasons - headings(TROUBLES) - {"AtTarget"} == set()


def test_every_alert_is_explained_where_its_runbook_points() -> None:
    assert {alert.name for alert in alerts.ALERTS} <= headings(TROUBLES)


def test_the_reference_is_current() -> None:
    """In a process of its own, as people run it: help is laid out by what the process has set before."""
    done = subprocess.run(
        [sys.executable, "-m", "vgpu_docs", "--check"], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stderr
