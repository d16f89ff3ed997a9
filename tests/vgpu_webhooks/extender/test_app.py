"""The HTTP door: what kube-scheduler and probes hear, also when they send what nobody expects."""

import io
from typing import TYPE_CHECKING, Any

import orjson
import prometheus_client as prometheus
import pytest
from aiohttp import test_utils

from vgpu_kube import resources
from vgpu_webhooks.extender import app

if TYPE_CHECKING:
    from tests.vgpu_webhooks.extender.conftest import Process, Stage

POD: dict[str, Any] = {"metadata": {"namespace": "team", "name": "a", "uid": "u"}, "spec": {}, "status": {}}


async def _post(process: "Process", path: str, body: bytes | io.BytesIO) -> tuple[int, str]:
    application = app.create_app(process.served, prometheus.CollectorRegistry())
    async with test_utils.TestClient(test_utils.TestServer(application)) as client:
        async with client.post(path, data=body) as response:
            status, text = response.status, await response.text()
        async with client.get("/healthz") as alive:
            assert alive.status == 200
    return status, text


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/filter", b"", "expected ExtenderArgs as JSON"),
        ("/filter", b"{", "expected ExtenderArgs as JSON"),
        ("/filter", b"[]", "expected ExtenderArgs as a JSON object"),
        ("/filter", b"[" * 100_000, "expected ExtenderArgs as JSON"),
        ("/filter", b'{"a":' * 900 + b"1" + b"}" * 900, "expected a Pod in ExtenderArgs.Pod, found nothing"),
        ("/filter", orjson.dumps({"Pod": None, "NodeNames": []}), "expected a Pod"),
        ("/filter", orjson.dumps({"Pod": {}, "NodeNames": []}), "expected the pod's namespace, found none"),
        (
            "/filter",
            orjson.dumps({"Pod": {"metadata": 3}, "NodeNames": []}),
            "expected an object in the pod's metadata",
        ),
        ("/filter", orjson.dumps({"Pod": POD}), "expected a list of texts in ExtenderArgs.NodeNames"),
        ("/filter", orjson.dumps({"Pod": POD, "NodeNames": [1]}), "expected a list of texts"),
        ("/filter", orjson.dumps({"Pod": POD, "NodeNames": "gpu-0"}), "expected a list of texts"),
        ("/filter", orjson.dumps({"Pod": POD, "Nodes": {"items": []}}), "set nodeCacheCapable: true"),
        (
            "/filter",
            orjson.dumps({"Pod": {**POD, "spec": {"priority": "high"}}, "NodeNames": []}),
            "expected an integer in the pod's priority",
        ),
        ("/bind", b"null", "expected ExtenderBindingArgs as a JSON object"),
        ("/bind", orjson.dumps({"PodName": "a"}), "expected a text in ExtenderBindingArgs.PodNamespace"),
        (
            "/bind",
            orjson.dumps({"PodName": "a", "PodNamespace": "b", "PodUID": 7, "Node": "c"}),
            "expected a text in ExtenderBindingArgs.PodUID, found 7",
        ),
        ("/preempt", orjson.dumps({"Pod": POD, "NodeNameToMetaVictims": [1]}), "expected an object"),
        (
            "/preempt",
            orjson.dumps({"Pod": POD, "NodeNameToMetaVictims": {"a": {"Pods": [{}]}}}),
            "expected victims with a UID each",
        ),
    ],
)
async def test_bad_input_gets_a_clear_400(stage: "Stage", path: str, body: bytes, expected: str) -> None:
    status, text = await _post(await stage.start(), path, body)

    assert status == 400
    assert expected in orjson.loads(text)["Error"]
    assert "Traceback" not in text


async def test_a_body_beyond_all_measure_gets_a_413(stage: "Stage") -> None:
    status, text = await _post(await stage.start(), "/filter", io.BytesIO(b" " * (100 * 1024**2)))

    assert status == 413
    assert "expected a body of at most" in text


async def test_unknown_paths_and_methods_are_refused_in_a_sentence(stage: "Stage") -> None:
    status, text = await _post(await stage.start(), "/score", b"{}")

    assert (status, orjson.loads(text)["Error"]) == (404, "POST /score: Not Found")


async def test_a_300_character_name_is_a_node_like_any_other_unknown_one(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")
    name = "n" * 300

    body = orjson.dumps({"Pod": pod, "NodeNames": [name]})
    status, text = await _post(await stage.start(), "/filter", body)

    assert status == 200
    assert orjson.loads(text)["FailedNodes"] == {name: "its agent has reported no GPUs"}


async def test_a_placed_pod_gets_one_node(stage: "Stage") -> None:
    offered = stage.add_nodes(2)
    stage.add_pool()
    stage.add_claim()
    pod = stage.add_pod("a")

    body = orjson.dumps({"Pod": pod, "Nodes": None, "NodeNames": offered})
    status, text = await _post(await stage.start(), "/filter", body)

    assert status == 200
    assert orjson.loads(text) == {"NodeNames": ["gpu-0"], "FailedNodes": {}, "Error": ""}


async def test_probes_and_metrics_tell_the_state(stage: "Stage") -> None:
    offered = stage.add_nodes(1)
    stage.add_pool()
    stage.add_claim()
    registry = prometheus.CollectorRegistry()
    process = await stage.start(registry=registry)
    await process.place(stage.add_pod("a"), offered)
    await process.filter(stage.add_pod("b", claim="nowhere"), offered)

    async with test_utils.TestClient(
        test_utils.TestServer(app.create_app(process.served, registry))
    ) as client:
        ready = await (await client.get("/readyz")).text()
        metrics = await (await client.get("/metrics")).text()

    assert ready == "ready: active\n"
    assert "vgpu_extender_active 1.0" in metrics
    assert 'vgpu_placement_rejections_total{reason="ClaimNotFound"} 1.0' in metrics
    assert 'vgpu_placement_duration_seconds_count{verb="bind"} 1.0' in metrics
    assert "vgpu_placement_promises 0.0" in metrics


async def test_a_silent_api_server_makes_it_unready(stage: "Stage") -> None:
    process = await stage.start()

    await stage.clock.advance(200)

    reason = process.served.unready()
    assert reason is not None
    assert "silent" in reason


async def test_victims_that_make_room_are_kept(stage: "Stage") -> None:
    process, uids = await _two_full_gpus(stage)

    assert await _victims(process, stage, [uids[0], uids[1]]) == {uids[0], uids[1]}


async def test_victims_spread_over_gpus_are_replaced_by_those_of_one(stage: "Stage") -> None:
    process, uids = await _two_full_gpus(stage)

    assert await _victims(process, stage, [uids[0], uids[2]]) == {uids[2], uids[3]}, "the least important two"


async def test_nobody_is_a_victim_of_a_pod_that_is_no_more_important(stage: "Stage") -> None:
    process, uids = await _two_full_gpus(stage)

    assert await _victims(process, stage, [uids[0]], priority=0) is None


async def test_for_an_exclusive_pod_all_slices_of_a_device_have_to_go(stage: "Stage") -> None:
    process, uids = await _two_full_gpus(stage)

    assert await _victims(process, stage, [uids[2]], claim="alone") == {uids[2], uids[3]}


async def test_nobody_more_has_to_go_while_earlier_victims_are_going(stage: "Stage") -> None:
    process, uids = await _two_full_gpus(stage)
    for name in ("p2", "p3"):
        await stage.cluster.delete(resources.PODS, name, "team")
    await stage.clock.advance(0.1)

    assert await _victims(process, stage, [uids[0], uids[1]], nominated="gpu-0") is None


async def _two_full_gpus(stage: "Stage") -> tuple["Process", list[str]]:
    """Two 40 GiB slices on each of two GPUs; those on the first are more important."""
    stage.add_nodes(1, gpus=2)
    stage.add_pool(placement={"strategy": "BinPack"})
    stage.add_claim()
    stage.add_claim("large", memory="80Gi")
    stage.add_claim("alone", memory="1Gi", exclusive=True)
    process = await stage.start()
    victims = [stage.add_pod(f"p{index}", priority=(2, 2, 1, 1)[index]) for index in range(4)]
    for victim in victims:
        await process.place(victim, ["gpu-0"])
    uids = [victim["metadata"]["uid"] for victim in victims]
    ledger = {uid: entry["deviceUUIDs"] for uid, (_, entry) in stage.ledger().items()}
    assert ledger[uids[0]] == ledger[uids[1]] != ledger[uids[2]] == ledger[uids[3]]
    return process, uids


async def _victims(
    process: "Process",
    stage: "Stage",
    offered: list[str],
    *,
    priority: int = 10,
    nominated: str = "",
    claim: str = "large",
) -> set[str] | None:
    pod = stage.add_pod("big", claim=claim, priority=priority)
    pod["status"]["nominatedNodeName"] = nominated
    entry = {"Pods": [{"UID": uid} for uid in offered], "NumPDBViolations": 1}
    body = {"Pod": pod, "NodeNameToMetaVictims": {"gpu-0": entry, "gpu-9": entry}}
    _, text = await _post(process, "/preempt", orjson.dumps(body))
    nodes = orjson.loads(text)["NodeNameToMetaVictims"]
    if nodes == {}:
        return None
    assert set(nodes) == {"gpu-0"}
    assert nodes["gpu-0"]["NumPDBViolations"] == 1
    return {victim["UID"] for victim in nodes["gpu-0"]["Pods"]}


async def test_a_pod_that_waits_for_its_quota_displaces_nobody_elses(stage: "Stage") -> None:
    stage.add_nodes(1)
    stage.add_pool(
        quotas=[
            {"namespace": "team", "nominal": {"memory": "80Gi", "computePercent": 100}},
            {
                "namespace": "poor",
                "nominal": {"memory": "10Gi", "computePercent": 10},
                "borrowingLimit": {"memory": "0", "computePercent": 0},
            },
        ]
    )
    stage.add_claim(memory="80Gi")
    stage.add_claim(memory="80Gi", namespace="poor")
    process = await stage.start()
    victim = stage.add_pod("a")
    await process.place(victim, ["gpu-0"])
    pod = stage.add_pod("b", namespace="poor")

    body = {"Pod": pod, "NodeNameToMetaVictims": {"gpu-0": {"Pods": [{"UID": victim["metadata"]["uid"]}]}}}
    _, answer = await _post(process, "/preempt", orjson.dumps(body))

    assert orjson.loads(answer)["NodeNameToMetaVictims"] == {}


async def test_the_port_that_others_reach_places_nothing(stage: "Stage") -> None:
    process = await stage.start()
    application = app.create_outlook(process.served, prometheus.CollectorRegistry())

    async with test_utils.TestClient(test_utils.TestServer(application)) as client:
        statuses = {path: (await client.get(path)).status for path in ("/healthz", "/metrics")}
        refused = {path: (await client.post(path)).status for path in ("/filter", "/bind", "/preempt")}

    assert set(statuses.values()) == {200}
    assert set(refused.values()) == {404}
