"""What a claim demands of its devices and their company holds, and so do kube-scheduler's own rules."""

import asyncio
import datetime
from collections.abc import Iterable

import pytest
import pytest_asyncio

from vgpu import values
from vgpu.api import names
from vgpu_e2e import audit, gpunodes, objects, platform, process, rest
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2, "shape": gpunodes.NodeShape(gpus=4, joined=2)}
NODES = ("gpu-0", "gpu-1")
HOSTNAME = "kubernetes.io/hostname"
LONG_AGO = "2020-01-01T00:00:00Z"


def _pool() -> Object:
    made = objects.pool()
    return {**made, "spec": {**made["spec"], "nodeSelector": {}}}


POOLS = [_pool()]


@pytest_asyncio.fixture(scope="module", loop_scope="module", autouse=True)
async def hopper(bed: platform.Bed) -> str:
    """A node of another model."""
    moment = datetime.datetime.now(datetime.UTC)
    shape = gpunodes.NodeShape(gpus=1, model=gpunodes.H100)
    [name] = await gpunodes.make_nodes(bed.api, 1, shape=shape, prefix="hopper", now=moment)
    return name


def devices(key: str, operator: str, *found: str) -> Object:
    """A deviceSelector of one line."""
    return {"matchExpressions": [{"key": key, "operator": operator, "values": list(found)}]}


def uuids(node: str, *indices: int) -> tuple[str, ...]:
    return tuple(gpunodes.device_uuid(node, index) for index in indices)


async def _slices(bed: platform.Bed) -> list[tuple[str, values.Slice]]:
    return [(node.name, slice_) for node, slice_ in (await audit.look(bed.api)).slices]


async def _occupy(team: Team, name: str, uuid: str, memory: str = "4Gi") -> None:
    """A pod with a slice on exactly this device."""
    await team.claim(name, requests=objects.amounts(memory, 10), deviceSelector=devices("uuid", "In", uuid))
    await team.run(name)


async def test_a_claim_gets_a_device_of_a_model_it_accepts(
    bed: platform.Bed, team: Team, hopper: str
) -> None:
    await team.claim("new", deviceSelector=devices("model", "In", "NVIDIA-H100*"))
    await team.claim("old", deviceSelector=devices("model", "NotIn", "NVIDIA-H100*"))

    await asyncio.gather(team.run("new"), team.run("old"))
    await team.bound(2)

    places = {slice_.claim.name: node for node, slice_ in await _slices(bed)}
    assert places["new"] == hopper
    assert places["old"] in NODES


async def test_a_model_that_nobody_has_is_told_by_the_claim(team: Team) -> None:
    await team.claim("picky", deviceSelector=devices("model", "In", "Tesla-T4"))
    await team.run("picky")

    bound = await team.condition("picky", "Bound", reason="NoFit")

    assert "3 nodes: no GPU that the claim's deviceSelector accepts" in bound["message"]


async def test_expressions_that_exclude_each_other_are_refused_by_name(team: Team) -> None:
    lines = [
        *devices("model", "In", "NVIDIA-A100*")["matchExpressions"],
        *devices("model", "NotIn", "NVIDIA*")["matchExpressions"],
    ]

    with pytest.raises(rest.StatusError, match=r"model In \[NVIDIA-A100\*\] and model NotIn \[NVIDIA\*\]"):
        await team.claim("never", deviceSelector={"matchExpressions": lines})


async def test_a_device_is_chosen_by_its_uuid(bed: platform.Bed, team: Team) -> None:
    await _occupy(team, "exact", uuids("gpu-1", 2)[0])

    await team.bound(1)

    [(node, slice_)] = await _slices(bed)
    assert (node, slice_.device_uuids) == ("gpu-1", uuids("gpu-1", 2))


async def test_an_exclusive_claim_has_whole_devices_to_itself(bed: platform.Bed, team: Team) -> None:
    await team.claim("beside", requests=objects.amounts("1Gi", 1))
    await team.claim("alone", requests=objects.amounts("1Gi", 100), exclusive=True)
    await team.run("beside")
    await team.bound(1)
    await team.run("alone", 3)
    await team.bound(4)
    await team.run("beside", 3, prefix="more")

    await team.bound(7)

    slices = [slice_ for _, slice_ in await _slices(bed)]
    whole = [slice_ for slice_ in slices if slice_.exclusive]
    others = {slice_.device_uuids for slice_ in slices if not slice_.exclusive}
    assert {slice_.allocated for slice_ in whole} == {
        values.Amounts(memory_bytes=80 * 2**30, compute_percent=100)
    }
    assert len({slice_.device_uuids for slice_ in whole} - others) == 3


async def test_an_exclusive_claim_of_a_part_is_refused_in_words(team: Team) -> None:
    with pytest.raises(rest.StatusError, match=r"set requests\.computePercent to 100"):
        await team.claim("half", requests=objects.amounts("1Gi", 50), exclusive=True)


async def test_claims_of_one_exclusion_group_never_share_a_device(bed: platform.Bed, team: Team) -> None:
    for name in ("red", "blue"):
        await team.claim(name, requests=objects.amounts("1Gi", 1), exclusionGroup="colours")

    await asyncio.gather(team.run("red", 2), team.run("blue", 2))
    await team.bound(4)

    held: dict[str, set[str]] = {"red": set(), "blue": set()}
    for _, slice_ in await _slices(bed):
        held[slice_.claim.name].update(slice_.device_uuids)
    assert held["red"] & held["blue"] == set()


async def test_two_gpus_of_a_pod_are_those_that_nvlink_joins(bed: platform.Bed, team: Team) -> None:
    on_one_node = devices("uuid", "In", *uuids("gpu-0", 0, 1, 2, 3))
    for name, uuid in zip(("left", "right"), uuids("gpu-0", 1, 2), strict=True):
        await _occupy(team, name, uuid)
    await team.bound(2)
    await team.claim("pair", device_count=2, requests=objects.amounts("4Gi", 10), deviceSelector=on_one_node)

    await team.run("pair")
    await team.bound(3)

    [pair] = [slice_ for _, slice_ in await _slices(bed) if slice_.claim.name == "pair"]
    assert set(pair.device_uuids) == set(uuids("gpu-0", 0, 1))  # packed without links: 1 and 2


async def test_gpus_that_must_share_a_numa_node_wait_for_one(bed: platform.Bed, team: Team) -> None:
    one_on_each_side = {"deviceSelector": devices("uuid", "In", *uuids("gpu-0", 1, 2))}
    small = objects.amounts("4Gi", 10)
    await team.claim(
        "must", device_count=2, requests=small, topology={"numa": "Required"}, **one_on_each_side
    )
    await team.claim("may", device_count=2, requests=small, **one_on_each_side)

    await asyncio.gather(team.run("must"), team.run("may"))

    await team.bound(1)
    bound = await team.condition("must", "Bound", reason="NoFit")
    assert "1 node: fewer than 2 GPUs with 4 GiB/10 % free on one NUMA node" in bound["message"]
    assert {slice_.claim.name for _, slice_ in await _slices(bed)} == {"may"}


async def test_cordoned_and_unhealthy_devices_take_nothing_new(bed: platform.Bed, team: Team) -> None:
    cordoned, sick = uuids("gpu-0", 0, 1)
    await _cordon(bed, "gpu-0", [cordoned])
    await _set_health(bed, "gpu-0", sick, healthy=False)
    await team.claim("either", deviceSelector=devices("uuid", "In", cordoned, sick))
    await team.run("either")
    await team.condition("either", "Bound", reason="NoFit")

    await _cordon(bed, "gpu-0", [])
    [pod] = await team.bound(1)
    await _set_health(bed, "gpu-0", sick, healthy=True)

    assert pod["metadata"]["annotations"][names.DEVICES_ANNOTATION] == cordoned


async def test_nodes_whose_agents_are_silent_take_nothing_new(
    bed: platform.Bed, team: Team, hopper: str
) -> None:
    small = objects.amounts("1Gi", 1)
    await team.claim("early", requests=small)
    await team.claim("watch", requests=small, deviceSelector=devices("model", "In", "Tesla-T4"))
    await team.claim("late", requests=small)
    await team.run("early")
    await team.bound(1)
    await team.run("watch")  # never fits; its reason tells when silence has been noticed

    await _silent(bed, team, "watch", (*NODES, hopper))
    await team.run("late")
    await _silent(bed, team, "late", (*NODES, hopper))
    assert [slice_.claim.name for _, slice_ in await _slices(bed)] == ["early"]

    await _beat((*NODES, hopper), bed, gpunodes.timestamp(datetime.datetime.now(datetime.UTC)))
    await team.bound(2)


async def test_taints_anti_affinity_and_spread_stay_kube_schedulers(bed: platform.Bed, team: Team) -> None:
    await _taint(bed, "gpu-0", [{"key": "reserved", "effect": "NoSchedule"}])
    small = objects.amounts("1Gi", 1)
    await team.claim("kept-off", requests=small, deviceSelector=devices("model", "In", "NVIDIA-A100*"))
    await team.run("kept-off")
    await team.bound(1)
    assert [node for node, _ in await _slices(bed)] == ["gpu-1"]
    await _taint(bed, "gpu-0", [])

    await team.claim("apart", requests=small)
    await team.run("apart", 3, affinity={"podAntiAffinity": _never_together("apart")})
    await team.claim("even", requests=small, deviceSelector=devices("model", "In", "NVIDIA-A100*"))
    await team.run("even", 4, topologySpreadConstraints=[_evenly("even")], affinity=_on(NODES))
    await team.bound(8)

    places = [(slice_.claim.name, node) for node, slice_ in await _slices(bed)]
    assert sorted(node for name, node in places if name == "apart") == ["gpu-0", "gpu-1", "hopper-0"]
    assert sorted(node for name, node in places if name == "even") == ["gpu-0", "gpu-0", "gpu-1", "gpu-1"]


async def _silent(bed: platform.Bed, team: Team, claim: str, nodes: tuple[str, ...]) -> None:
    """Keeps the nodes silent, though the played agents beat once a minute, until the claim names them."""

    async def told() -> bool:
        await _beat(nodes, bed, LONG_AGO)
        conditions = (await team.status(claim)).get("conditions", [])
        return any("3 nodes: its agent has not reported" in each["message"] for each in conditions)

    await process.until(told, timeout_seconds=60, awaited=f"claim {claim} to name the silent agents")


def _labelled(claim: str) -> Object:
    return {"matchLabels": {names.CLAIM_LABEL: claim}}


def _never_together(claim: str) -> Object:
    term = {"labelSelector": _labelled(claim), "topologyKey": HOSTNAME}
    return {"requiredDuringSchedulingIgnoredDuringExecution": [term]}


def _evenly(claim: str) -> Object:
    return {
        "maxSkew": 1,
        "topologyKey": HOSTNAME,
        "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": _labelled(claim),
    }


def _on(nodes: Iterable[str]) -> Object:
    wanted = {"key": HOSTNAME, "operator": "In", "values": list(nodes)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [wanted]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


async def _cordon(bed: platform.Bed, node: str, found: list[str]) -> None:
    path = f"{gpunodes.VGPU_NODES}/{node}"
    revision = (await bed.api.get(path))["spec"]["revision"]
    await bed.api.patch(path, {"spec": {"revision": revision + 1, "cordonedDevices": found}})


async def _set_health(bed: platform.Bed, node: str, uuid: str, *, healthy: bool) -> None:
    path = f"{gpunodes.VGPU_NODES}/{node}"
    known = (await bed.api.get(path))["status"]["devices"]
    changed = [{**each, "healthy": healthy} if each["uuid"] == uuid else each for each in known]
    await bed.api.patch(f"{path}/status", {"status": {"devices": changed}})


async def _beat(nodes: Iterable[str], bed: platform.Bed, moment: str) -> None:
    for node in nodes:
        await bed.api.patch(f"{gpunodes.VGPU_NODES}/{node}/status", {"status": {"heartbeatTime": moment}})


async def _taint(bed: platform.Bed, node: str, taints: list[Object]) -> None:
    await bed.api.patch(f"{gpunodes.NODES}/{node}", {"spec": {"taints": taints}})
