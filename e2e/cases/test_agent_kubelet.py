"""The same slices on a real node: kubelet, containerd and runc, killed and restarted under load."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, objects, process
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.realnode.bed import RealBed
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "runc", "busybox"))),
        reason="a real node needs root, containerd, runc and busybox-static",
    ),
]
MIB = 2**20
GIB = 2**30

GREEDY = """
import ctypes
def greedy():
    cuda = ctypes.CDLL("libcuda.so.1")
    context, address, got = ctypes.c_void_p(), ctypes.c_uint64(), 0
    assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
    while cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(256 << 20)) == 0 and got < 32768:
        got += 256
    return got
"""

# What a tenant might try from inside; each line says what became of it.
SLY = (
    GREEDY
    + """
import os, subprocess, sys, time
def tried(what, attempt):
    try:
        print(what, attempt() or "done", flush=True)
    except OSError as error:
        print(what, error.strerror, flush=True)
def flood():
    try:
        with open("/run/vgpu/usage/flood", "wb") as file:
            for _ in range(256):
                file.write(bytes(1 << 20))
    finally:
        os.unlink("/run/vgpu/usage/flood")
tried("limits", lambda: open("/run/vgpu/limits", "r+b").close())
tried("preload", lambda: os.unlink("/etc/ld.so.preload"))
tried("flood", flood)
tried("remount", lambda: subprocess.run(["/bin/busybox", "mount", "-o", "remount,rw", "/run/vgpu"],
                                       stderr=subprocess.DEVNULL).returncode)
bare = {name: os.environ[name] for name in ("LD_LIBRARY_PATH", "VGPU_SIM_STATE", "VGPU_SIM_CONFIG")}
bare["VGPU_DIR"] = "/tmp"
child = [sys.executable, "-I", "-c", sys.argv[1] + "print(greedy())"]
print("child", subprocess.run(child, env=bare, capture_output=True, text=True).stdout.strip(), flush=True)
time.sleep(0.05)  # dead processes are looked for every 10 ms at most
print("self", greedy(), flush=True)
"""
)

# Starts Python anew through a dynamic loader that preloads nothing, so without the shim.
ESCAPED = """
import os, sys
with open("/lib64/ld-linux-x86-64.so.2", "rb") as file:
    loader = file.read()
with open("/tmp/loader", "wb") as file:
    file.write(loader.replace(b"/etc/ld.so.preload", b"/etc/ld.so.nothing"))
os.chmod("/tmp/loader", 0o755)
os.execv("/tmp/loader", ["/tmp/loader", os.path.realpath(sys.executable), "-c", sys.argv[1]])
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed() -> AsyncIterator[RealBed]:
    async with RealBed(gpus=1, publish_wait_seconds=5) as running:
        await running.apply([objects.pool()])
        yield running


async def test_containers_feel_their_slices(bed: RealBed, team: Team) -> None:
    await team.claim("small", requests=objects.amounts("1Gi", 30))
    await team.claim("large", requests=objects.amounts("40Gi", 70))
    small, large = await asyncio.gather(serving.start(bed, team, "small"), serving.start(bed, team, "large"))

    assert [await small.take(300) for _ in range(4)] == [cuda.SUCCESS] * 3 + [cuda.OUT_OF_MEMORY]
    assert (await small.memory())["total"] == GIB
    assert await large.take(30 * 1024) == cuda.SUCCESS


async def test_no_container_starts_before_its_limits_are_in_force(bed: RealBed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    await bed.agent.process.killed()
    starting = asyncio.create_task(serving.start(bed, team, "llm"))
    [pod] = await team.bound(1)
    await process.until(lambda: _mounting(bed, team, pod), timeout_seconds=30, awaited="a failed mount")
    before = await bed.api.get(f"{team.pods_path}/{pod['metadata']['name']}")
    bed.agent.process.start()

    started = serving.statuses(before).get("main", {"state": {}})  # none before its first status
    assert "running" not in started["state"]

    server = await starting
    assert await server.take(2048) == cuda.OUT_OF_MEMORY


async def test_a_live_resize_is_seen_in_the_running_container(bed: RealBed, team: Team) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 25))
    server = await serving.start(bed, team, "llm")

    await team.claim("llm", requests=objects.amounts("4Gi", 50))

    await process.until(lambda: _total(server, 4 * GIB), timeout_seconds=5, awaited="the grown limit")
    assert server.limits().compute_percent == 50


async def test_agent_kubelet_and_containerd_killed_under_load_disturb_no_pod(
    bed: RealBed, team: Team
) -> None:
    await team.claim("llm", requests=objects.amounts("1Gi", 50))
    server = await serving.start(bed, team, "llm", "--busy")
    pod = (await team.pods())[0]
    parts = [bed.agent.process, bed.kubelet_process, bed.runtime.process]
    for part in parts:
        generation = server.limits()
        await _killed_alone(part)
        assert (await server.memory())["total"] == GIB
        part.start()
        await bed.agent.ready()
        assert await server.gpu_percent(seconds=1) == pytest.approx(50, abs=12)
        assert server.limits().memory_limit == generation.memory_limit

    await process.until(lambda: _node_works(bed), timeout_seconds=60, awaited="a Ready node")
    after = (await team.pods())[0]
    assert serving.statuses(after)["main"]["restartCount"] == 0
    assert after["metadata"]["uid"] == pod["metadata"]["uid"]
    await team.delete([server.name])
    await process.until(lambda: _empty(bed), timeout_seconds=60, awaited="no slice and no mount to be left")


async def test_what_a_container_tries_does_not_raise_its_limit(bed: RealBed, team: Team) -> None:
    await team.claim("sly", requests=objects.amounts("1Gi", 25))
    [name] = await team.run(
        "sly", containers=[serving.program(bed, ["-c", SLY, GREEDY])], restartPolicy="Never"
    )
    found: dict[str, str] = {}

    async def over() -> bool:
        pod = await bed.api.get(f"{team.pods_path}/{name}")
        said = (line.partition(" ") for line in bed.output(pod, "main").splitlines())
        found.update((what, became) for what, _, became in said)
        return "self" in found

    await process.until(over, timeout_seconds=60, awaited="the end of all attempts")
    assert found == {
        "limits": "Read-only file system",
        "preload": "Device or resource busy",
        "flood": "No space left on device",
        "remount": "1",
        "child": "1024",
        "self": "1024",
    }


async def test_a_container_without_root_and_with_a_read_only_root_is_limited(
    bed: RealBed, team: Team
) -> None:
    await team.claim("meek", requests=objects.amounts("1Gi", 25))
    security = {
        "runAsUser": 1000,
        "runAsNonRoot": True,
        "readOnlyRootFilesystem": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
    }
    [name] = await team.run(
        "meek",
        containers=[serving.program(bed, ["-c", GREEDY + "print(greedy())"], securityContext=security)],
        restartPolicy="Never",
    )

    async def over() -> bool:
        pod = await bed.api.get(f"{team.pods_path}/{name}")
        return bool(bed.output(pod, "main"))

    await process.until(over, timeout_seconds=60, awaited="what it got")
    assert bed.output(await bed.api.get(f"{team.pods_path}/{name}"), "main").strip() == "1024"


async def test_what_escapes_its_slice_is_told_and_stopped_where_the_pool_says_so(
    bed: RealBed, team: Team
) -> None:
    await team.claim("thief", requests=objects.amounts("1Gi", 25))
    stays = GREEDY + "import time\nprint(greedy(), flush=True)\ntime.sleep(1000)"
    container = serving.program(bed, ["-c", ESCAPED, stays])
    [name] = await team.run(
        "thief", containers=[container], restartPolicy="Never", hostPID=True, terminationGracePeriodSeconds=1
    )  # the simulated driver reports the PIDs of the namespace, the real one those of the host
    about = (await bed.api.get(f"{team.pods_path}/{name}"))["metadata"]
    await process.until(
        lambda: _told(bed, team, "GPUMemoryUnaccounted"), timeout_seconds=60, awaited="the escape to be told"
    )
    await process.until(
        lambda: _accused(bed, about["uid"]), timeout_seconds=15, awaited="the escape in the node's status"
    )
    assert "deletionTimestamp" not in (await bed.api.get(f"{team.pods_path}/{name}"))["metadata"]

    await _on_escape(bed, "Stop")

    await process.until(
        lambda: _told(bed, team, "EscapeStopped"), timeout_seconds=15, awaited="the escape to be stopped"
    )
    await process.until(
        lambda: _acquitted(bed, about["uid"]), timeout_seconds=30, awaited="the node's status without it"
    )
    await _on_escape(bed, "Report")


async def _on_escape(bed: RealBed, says: str) -> None:
    await bed.api.patch("/apis/vgpu.dev/v1alpha1/vgpupools/a100", {"spec": {"audit": {"onEscape": says}}})


async def _told(bed: RealBed, team: Team, reason: str) -> bool:
    events, _ = await bed.api.list(f"/apis/events.k8s.io/v1/namespaces/{team.namespace}/events")
    return any(each["reason"] == reason for each in events)


async def _accused(bed: RealBed, uid: str) -> bool:
    node = await bed.api.get(f"/apis/vgpu.dev/v1alpha1/vgpunodes/{bed.node_name}")
    return uid in node["status"].get("escapes", {})


async def _acquitted(bed: RealBed, uid: str) -> bool:
    return not await _accused(bed, uid)


async def _mounting(bed: RealBed, team: Team, pod: Object) -> bool:
    events, _ = await bed.api.list(f"/api/v1/namespaces/{team.namespace}/events")
    return any(each["reason"] == "FailedMount" for each in events)


async def _total(server: serving.Serving, size: int) -> bool:
    return bool((await server.memory())["total"] == size)


async def _killed_alone(part: process.Process) -> None:
    """Kill one process and not its group: containerd's is that of every container."""
    os.kill(part.pid, 9)

    async def gone() -> bool:
        return not part.running

    await process.until(gone, timeout_seconds=10, awaited=f"the end of {part.name}")


async def _node_works(bed: RealBed) -> bool:
    return await bed._node_ready()


async def _empty(bed: RealBed) -> bool:
    slices = list((bed.agent_root / "slices").iterdir())
    volumes = list((bed.agent_root / "volumes").iterdir())
    picture = await audit.look(bed.api)
    return not slices and not volumes and not picture.slices
