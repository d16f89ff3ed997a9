"""Agents come and go, pods do not notice: restarts, kills, several containers, several GPUs, tampering."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, gpunodes, objects, process
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
MIB = 2**20
GIB = 2**30

# Prints how much memory it got before it was refused, in steps of 256 MiB, then waits to be ended.
GREEDY = """
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
context, address, got = ctypes.c_void_p(), ctypes.c_uint64(), 0
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
while cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(256 << 20)) == 0 and got < 32768:
    got += 256
print(got, flush=True)
"""

# Gives all of it back: what a dead process held counts until somebody looks, and the slice would seem full.
LEAVES = "assert cuda.cuCtxDestroy_v2(context) == 0"

# Goes on once the slice has no memory left.
UNTIL_FULL = """
import ctypes, time
cuda = ctypes.CDLL("libcuda.so.1")
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
while cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0 and free.value:
    time.sleep(0.02)
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[LocalBed]:
    async with LocalBed(gpus=2, publish_wait_seconds=5) as running:
        await running.apply([objects.pool()])
        yield running


async def test_a_killed_agent_disturbs_no_running_pod_and_new_pods_wait_for_the_next_one(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    server = await serving.start(bed, team, "llm")
    before = server.limits()
    await bed.agent.process.killed()

    assert await server.take(2048) == cuda.OUT_OF_MEMORY
    assert await server.take(512) == cuda.SUCCESS
    waiting = asyncio.create_task(serving.start(bed, team, "llm", pod="late"))
    await team.bound(2)
    late = await bed.api.get(f"{team.pods_path}/late-0")
    assert late["status"]["phase"] == "Pending"

    bed.agent.process.start()
    second = await waiting
    assert await second.take(2048) == cuda.OUT_OF_MEMORY
    assert server.limits() == before
    assert await server.memory() == {"free": 512 * MIB, "total": GIB, "blocks": 1}


async def test_an_agent_killed_again_and_again_under_load_leaks_nothing(bed: LocalBed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 10))
    server = await serving.start(bed, team, "llm", "--busy")
    for gib in (2, 1, 3, 2):
        await bed.agent.process.killed()
        await team.claim("llm", requests=objects.amounts(f"{gib}Gi", 10))
        bed.agent.process.start()
        await process.until(
            lambda size=gib * GIB: _limited(server, size),  # type: ignore[misc]  # bound now, not later
            timeout_seconds=20,
            awaited=f"{gib} GiB in force",
        )
        assert await _serves(server)

    await team.delete([server.name])
    await process.until(lambda: _empty(bed), timeout_seconds=20, awaited="no slice directory to be left")


async def test_every_container_of_a_pod_is_limited_init_containers_and_sidecars_too(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("many", requests=objects.amounts("1Gi", 25))
    greedy = ["-c", GREEDY + LEAVES]
    idle, patient = ["-c", GREEDY + "time.sleep(1000)"], ["-c", UNTIL_FULL + GREEDY]
    [name] = await team.run(
        "many",
        initContainers=[
            serving.program(bed, greedy, name="first"),
            serving.program(bed, idle, name="beside", restartPolicy="Always"),
        ],
        containers=[serving.program(bed, patient)],  # a sidecar counts as started before it has any memory
        restartPolicy="Never",
    )

    async def over() -> bool:
        pod = await bed.api.get(f"{team.pods_path}/{name}")
        return "terminated" in serving.statuses(pod).get("main", {}).get("state", {})

    await process.until(over, timeout_seconds=60, awaited="the main container to end")
    got = {each: int(_output(bed, team, name, each)) for each in ("first", "beside", "main")}
    assert got == {"first": 1024, "beside": 1024, "main": 0}


async def test_a_pod_with_two_gpus_has_a_limit_on_each_in_the_ledgers_order(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("pair", device_count=2, requests=objects.amounts("2Gi", 25))
    server = await serving.start(bed, team, "pair")

    picture = await audit.look(bed.api)
    [(_, slice_)] = picture.slices
    assert [server.limits(index).uuid for index in range(2)] == list(slice_.device_uuids)
    assert {server.limits(index).memory_limit for index in range(2)} == {2 * GIB}
    assert await server.take(2048) == cuda.SUCCESS
    assert await server.take(1) == cuda.OUT_OF_MEMORY
    assert [server.usage(index).used for index in range(2)] == [2 * GIB, 0]


async def test_a_container_cannot_raise_its_own_limit(bed: LocalBed, team: Team) -> None:
    await team.claim("sly", requests=objects.amounts("1Gi", 25))
    forged = [{"name": "VGPU_MEMORY_LIMIT", "value": str(64 * GIB)}]
    [name] = await team.run(
        "sly",
        containers=[serving.program(bed, ["-c", GREEDY], env=forged)],
        restartPolicy="Never",
    )

    async def told() -> bool:
        return bool(_output(bed, team, name, "main"))

    await process.until(told, timeout_seconds=20, awaited="what it got")
    assert int(_output(bed, team, name, "main")) == 1024


async def test_accounts_that_a_pod_cuts_short_are_told_and_cost_only_its_own_slice(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("vandal", requests=objects.amounts("1Gi", 25))
    vandal = await serving.start(bed, team, "vandal", pod="vandal")
    good = await serving.start(bed, team, "vandal", pod="good")

    with (vandal.slice_directory / "usage" / "accounts").open("r+b") as accounts:
        accounts.truncate(0)

    await process.until(lambda: _told(bed), timeout_seconds=5, awaited="the report to say so")
    assert await good.take(512) == cuda.SUCCESS
    assert bed.agent.process.running


async def test_a_slice_written_by_hand_over_the_devices_memory_is_refused_and_disturbs_no_pod(
    bed: LocalBed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    server = await serving.start(bed, team, "llm")
    path = f"{gpunodes.VGPU_NODES}/{bed.node_name}"
    spec = (await bed.api.get(path))["spec"]
    [entry] = spec["slices"].values()
    whole = objects.amounts("80Gi", 25)
    forged = {**entry, "requests": whole, "allocated": whole, "limits": whole, "heldMemory": "80Gi"}
    forged |= {"pods": [{"name": "nobody", "uid": "nobody"}], "claim": {**entry["claim"], "uid": "gone"}}

    for each in bed.extenders:
        await each.process.killed()  # it would drop the slice of a pod that is not there
    try:
        await bed.api.patch(path, {"spec": {"revision": spec["revision"] + 1, "slices": {"forged": forged}}})
        said = await _refusal(bed, "forged")
    finally:
        for each in bed.extenders:
            each.process.start()
            await each.ready()

    assert "80 GiB are allocated" in said
    assert "beside 1 GiB of other slices" in said
    assert server.limits().memory_limit == GIB
    assert await server.take(512) == cuda.SUCCESS
    assert bed.agent.process.running
    await process.until(lambda: _holds_one(bed), timeout_seconds=20, awaited="the slice of nobody to go")


async def _holds_one(bed: LocalBed) -> bool:
    return len((await audit.look(bed.api)).slices) == 1


async def _refusal(bed: LocalBed, slice_id: str) -> str:
    found: list[str] = []

    async def refused() -> bool:
        status = (await bed.api.get(f"{gpunodes.VGPU_NODES}/{bed.node_name}"))["status"]
        entry = status.get("slices", {}).get(slice_id, {})
        found[:] = [entry["message"]] if entry.get("state") == "Refused" else []
        return bool(found)

    await process.until(refused, timeout_seconds=10, awaited=f"slice {slice_id} to be refused")
    return found[0]


def _output(bed: LocalBed, team: Team, pod: str, container: str) -> str:
    identity = (team.namespace, pod)
    found = [
        each
        for each in bed.node.seen.values()
        if (each["metadata"]["namespace"], each["metadata"]["name"]) == identity
    ]
    return "".join(bed.output(each, container).strip() for each in found)


async def _limited(server: serving.Serving, size: int) -> bool:
    return server.limits().memory_limit == size


async def _serves(server: serving.Serving) -> bool:
    return bool((await server.memory())["total"] == server.limits().memory_limit)


async def _empty(bed: LocalBed) -> bool:
    return not list((bed.agent_root / "slices").iterdir()) and not list(
        (bed.agent_root / "volumes").iterdir()
    )


async def _told(bed: LocalBed) -> bool:
    picture = await audit.look(bed.api)
    messages = [each.message for node in picture.nodes for each in node.enforced.values()]
    return any("cut short" in each for each in messages)
