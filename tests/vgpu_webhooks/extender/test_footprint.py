"""What a pod asks of its node, summed up as kube-scheduler does."""

from typing import Any

import pytest

from vgpu_webhooks.extender import footprint, pods

MIB = 1024**2


def container(cpu: str, memory: str = "0", **more: str) -> dict[str, Any]:
    return {"name": "c", "resources": {"requests": {"cpu": cpu, "memory": memory}}, **more}


def test_containers_ask_together() -> None:
    asked = footprint.of({"containers": [container("250m", "64Mi"), container("1", "1Gi")]})

    assert asked == footprint.Footprint(cpu_milli=1250, memory_bytes=1088 * MIB)


@pytest.mark.parametrize(("first", "expected"), [("100m", 500), ("2", 2000)])
def test_an_init_container_counts_where_it_asks_more(first: str, expected: int) -> None:
    asked = footprint.of({"containers": [container("500m")], "initContainers": [container(first)]})

    assert asked.cpu_milli == expected


def test_an_init_container_that_keeps_running_counts_beside_the_others() -> None:
    sidecar, later = container("300m", restartPolicy="Always"), container("900m")

    asked = footprint.of({"containers": [container("500m")], "initContainers": [sidecar, later]})

    assert asked.cpu_milli == 1200


def test_what_is_asked_for_the_whole_pod_goes_first_and_overhead_comes_on_top() -> None:
    asked = footprint.of(
        {
            "containers": [container("500m")],
            "resources": {"requests": {"cpu": "3"}},
            "overhead": {"cpu": "50m"},
        }
    )

    assert asked.cpu_milli == 3050


def test_a_pod_that_asks_nothing_takes_nothing() -> None:
    assert footprint.of({"containers": [{"name": "c"}]}) == footprint.NOTHING


def test_the_ledger_keeps_what_the_pod_asks() -> None:
    raw = {
        "metadata": {"namespace": "team-a", "name": "web", "uid": "u"},
        "spec": {"containers": [container("2", "1Gi")]},
    }

    assert (pods.decode(raw).ref.cpu_milli, pods.decode(raw).ref.memory_bytes) == (2000, 1024 * MIB)


def test_what_is_no_quantity_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a quantity of CPU"):
        footprint.of({"containers": [container("lots")]})
