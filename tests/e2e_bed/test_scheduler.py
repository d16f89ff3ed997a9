"""The scheduler's configuration brings the extender in for our pods only."""

from pathlib import Path
from typing import Any

from vgpu_e2e import scheduler


def configuration(**changes: Any) -> dict[str, Any]:  # the keyword arguments of configuration()
    options: dict[str, Any] = {"extender_url": "http://127.0.0.1:1", "profiles": ["p"], "election": None}
    return scheduler.configuration(Path("/k"), **(options | changes))


def test_the_extender_answers_for_pods_with_the_marker_only_and_may_not_be_skipped() -> None:
    [extender] = configuration()["extenders"]

    assert extender["managedResources"] == [{"name": "vgpu.dev/slice", "ignoredByScheduler": True}]
    assert extender["ignorable"] is False
    assert extender["nodeCacheCapable"] is True


def test_without_an_extender_it_is_the_stock_scheduler() -> None:
    assert "extenders" not in configuration(extender_url=None)


def test_every_node_is_offered() -> None:
    assert configuration()["percentageOfNodesToScore"] == 100


def test_one_scheduler_works_at_once() -> None:
    assert configuration()["leaderElection"] == {"leaderElect": False}


def test_several_schedulers_elect_one() -> None:
    elected = configuration(election=scheduler.Election(lease_seconds=5))["leaderElection"]

    assert elected["leaderElect"] is True
    assert elected["leaseDuration"] == "5s"
