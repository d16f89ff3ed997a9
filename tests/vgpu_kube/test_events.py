from datetime import timedelta

import pytest

from vgpu_kube import errors, events
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import CONFIGMAPS, EVENTS, VGPU_POOLS
from vgpu_kube.testing import Clock, Cluster

DOWN = errors.Unavailable(0, "TimeoutError", "no answer in time")
POD = {"apiVersion": "v1", "kind": "Pod", "namespace": "team-a", "name": "llm-0", "uid": "u-1"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def recorder(cluster: Cluster, clock: Clock) -> Recorder:
    return Recorder(cluster, "vgpu-extender", "vgpu-extender-0", clock.now)


async def no_fit(recorder: Recorder, note: str = "no room") -> None:
    await recorder.record(POD, EventType.WARNING, "NoFit", note, "Placing")


def counts(cluster: Cluster) -> list[int]:
    return [raw.get("series", {}).get("count", 1) for raw in cluster.objects(EVENTS)]


async def test_an_event_stands_beside_its_object_with_everything_the_api_asks_for(
    cluster: Cluster, recorder: Recorder
) -> None:
    await no_fit(recorder)

    [event] = cluster.objects(EVENTS)
    assert event["metadata"]["namespace"] == "team-a"
    assert event["metadata"]["name"].startswith("llm-0.")
    assert event["regarding"] == POD
    assert (event["type"], event["reason"], event["action"]) == ("Warning", "NoFit", "Placing")
    assert (event["reportingController"], event["reportingInstance"]) == ("vgpu-extender", "vgpu-extender-0")
    assert event["eventTime"] == "2026-01-01T00:00:00.000000Z"


async def test_events_of_cluster_scoped_objects_stand_in_the_default_namespace(
    cluster: Cluster, recorder: Recorder
) -> None:
    pool = cluster.add(VGPU_POOLS, {"metadata": {"name": "a100"}})

    await recorder.record(
        events.reference(pool), EventType.NORMAL, "Ready", "all nodes report", "Reconciling"
    )

    [event] = cluster.objects(EVENTS)
    assert event["metadata"]["namespace"] == "default"
    assert event["regarding"]["kind"] == "VGPUPool"


async def test_repetitions_become_a_series_that_is_written_now_and_then(
    cluster: Cluster, recorder: Recorder, clock: Clock
) -> None:
    for _ in range(5):
        await no_fit(recorder)
    assert counts(cluster) == [2], "the first repetition tells that it is a series"
    await clock.advance(11)
    await no_fit(recorder)

    assert counts(cluster) == [6]


async def test_what_was_only_counted_is_written_by_a_flush(cluster: Cluster, recorder: Recorder) -> None:
    for _ in range(5):
        await no_fit(recorder)
    await recorder.flush()

    assert counts(cluster) == [5]


async def test_another_note_is_another_event(cluster: Cluster, recorder: Recorder) -> None:
    await no_fit(recorder, "no room on 3 nodes")
    await no_fit(recorder, "no room on 4 nodes")

    assert counts(cluster) == [1, 1]


async def test_after_a_silence_it_is_a_new_event(cluster: Cluster, recorder: Recorder, clock: Clock) -> None:
    await no_fit(recorder)
    await clock.advance(events.SERIES_ENDS / timedelta(seconds=1) + 1)
    await no_fit(recorder)

    assert counts(cluster) == [1, 1]


async def test_an_event_that_expired_is_written_anew(
    cluster: Cluster, recorder: Recorder, clock: Clock
) -> None:
    await no_fit(recorder)
    [event] = cluster.objects(EVENTS)
    cluster.remove(EVENTS, event["metadata"]["name"], "team-a")
    await clock.advance(1)
    await no_fit(recorder)

    assert counts(cluster) == [1]


async def test_a_cluster_that_refuses_is_counted_and_does_not_disturb(
    cluster: Cluster, recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.fail_next(DOWN, resource=EVENTS)
    await no_fit(recorder)
    await no_fit(recorder)

    assert recorder.failures == 1
    assert counts(cluster) == [1]
    assert "event not recorded" in caplog.text


async def test_a_long_note_is_cut_at_a_character(cluster: Cluster, recorder: Recorder) -> None:
    await no_fit(recorder, "ä" * 2000)

    [event] = cluster.objects(EVENTS)
    assert len(event["note"].encode()) <= events.NOTE_BYTES
    assert event["note"].endswith("ä…")


async def test_the_memory_of_series_is_bounded(cluster: Cluster, recorder: Recorder) -> None:
    for number in range(events.SERIES_KEPT + 5):
        recorder._remember(
            (str(number),), events._Series((None, "n"), last=recorder.now(), written=recorder.now())
        )

    assert len(recorder._series) == events.SERIES_KEPT


async def test_events_pass_the_api_servers_validation(kube: Kube, namespace: str) -> None:
    raw = await kube.create(CONFIGMAPS, {"metadata": {"name": "n" * 253}}, namespace)
    recorder = Recorder(kube, "vgpu-operator", "i" * 300)
    regarding: Object = events.reference(raw)

    for _ in range(3):
        await recorder.record(regarding, EventType.NORMAL, "Grow", "40 to 60 %, " * 200, "Resizing")
    await recorder.flush()

    found = (await kube.list(EVENTS, namespace)).items
    assert recorder.failures == 0
    assert [raw["series"]["count"] for raw in found] == [3]
