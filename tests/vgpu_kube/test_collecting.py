"""Processes that keep a cluster's objects seldom search them for circles."""

import gc
from collections.abc import Iterator

import pytest

from vgpu_kube import collecting


@pytest.fixture(autouse=True)
def at_pythons_own_pace() -> Iterator[None]:
    """Leaves the collector as it was."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


def test_a_page_of_pods_is_read_without_a_search() -> None:
    collecting.rarely()
    gc.collect()
    before = gc.get_stats()[0]["collections"]

    page = [{"metadata": {"labels": {"index": str(index)}}} for index in range(500)]

    assert len(page) == 500
    assert gc.get_stats()[0]["collections"] == before
