"""The chart on a real node, from the previous release to nothing: one story, told once, judged in parts."""

import asyncio
import contextlib
import dataclasses
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from vgpu.api import names
from vgpu_e2e import audit, helm, helm_bed, objects, probes, process
from vgpu_e2e.localnode import cuda, serving
from vgpu_e2e.platform import NAMESPACE, REPOSITORY
from vgpu_e2e.realnode import images, runtime
from vgpu_e2e.rest import Object
from vgpu_e2e.team import Team

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        os.geteuid() != 0 or not all(map(shutil.which, ("containerd", "runc", "busybox", "ip"))),
        reason="an installation on a real node needs root, containerd, runc, busybox-static and iproute2",
    ),
]
OLD = "0"
PORT = 8000
GIB = 2**30
WAITING = ("--wait", "--timeout", "120s")
LOUD = {f"{each}.logLevel": "debug" for each in ("operator", "admission", "scheduler", "agent")}
KEPT = {("Namespace", NAMESPACE), (names.NODE_KIND, helm_bed.NODE)}


@dataclasses.dataclass(slots=True)
class Story:
    """What was found on the way."""

    processes: set[str] = dataclasses.field(default_factory=set)
    before: tuple[int, int, str, int] = (0, 0, "", 0)
    refused: int = 0
    after: tuple[int, int, str, int] = (0, 0, "", 0)
    upgraded: set[str] = dataclasses.field(default_factory=set)
    resized: int = 0
    left: set[str] = dataclasses.field(default_factory=set)
    mounts: list[str] = dataclasses.field(default_factory=list)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def story(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Story]:
    source = await asyncio.to_thread(_previous, tmp_path_factory.mktemp("previous"))
    platforms = {OLD: source, helm_bed.TAG: REPOSITORY}
    async with helm_bed.BareCluster(platforms=platforms) as cluster:
        found = Story()
        empty = await cluster.everything()
        team = Team(cluster.api, "team-a")
        await team.arrive()
        chart = source / helm.CHART.relative_to(REPOSITORY)
        await cluster.helm(
            "install", helm.RELEASE, str(chart), "--create-namespace", *WAITING, values={"image.tag": OLD}
        )
        found.processes = await _processes(cluster)
        pod = await _serve(cluster, team)
        server = _serving(cluster, pod)
        found.refused = await server.take(8 * 1024)
        found.before = await _life(cluster, pod)
        await cluster.helm("upgrade", helm.RELEASE, str(helm.CHART), *WAITING, values=LOUD)
        found.upgraded = await _processes(cluster)
        found.after = await _life(cluster, pod)
        await team.claim("llm", requests=objects.amounts("4Gi", 50))
        await process.until(lambda: _total(server, 4 * GIB), timeout_seconds=30, awaited="the grown limit")
        found.resized = (await server.memory())["total"]
        await _leave(cluster, team)
        found.left = {each for each in await cluster.everything() - empty if not _expected(each)}
        found.mounts = [each for each in _mounts(cluster.state_root) if "/slices/" in each]
        yield found


async def test_a_deployment_gets_its_slice_and_not_a_byte_more(story: Story) -> None:
    restarts, total, _, percent = story.before

    assert (restarts, total, percent) == (0, 2 * GIB, 25)
    assert story.refused == cuda.OUT_OF_MEMORY


async def test_an_upgrade_replaces_every_process_and_disturbs_no_pod(story: Story) -> None:
    assert story.upgraded.isdisjoint(story.processes)
    assert story.after == story.before


async def test_what_started_before_the_upgrade_is_resized_after_it(story: Story) -> None:
    assert story.resized == 4 * GIB


async def test_an_uninstall_leaves_nothing_but_the_definitions_and_their_objects(story: Story) -> None:
    assert story.left == set()
    assert story.mounts == []


def _previous(folder: Path) -> Path:
    """The repository at the previous commit, or as it is where there was no chart."""
    git = ["git", "-C", str(REPOSITORY)]
    commit = "HEAD~1"
    if shutil.which("git") is None:
        return REPOSITORY
    wanted = [f"{commit}:helm/vgpu/Chart.yaml", f"{commit}:image/install.sh"]
    if any(subprocess.run([*git, "cat-file", "-e", each], capture_output=True).returncode for each in wanted):
        return REPOSITORY
    archive = subprocess.run([*git, "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
    return folder


async def _processes(cluster: helm_bed.BareCluster) -> set[str]:
    """The containers of the platform, by what the runtime calls them."""
    return {
        status["containerID"]
        for pod in await cluster.pods()
        if "deletionTimestamp" not in pod["metadata"]
        for status in pod["status"].get("containerStatuses", [])
    }


async def _serve(cluster: helm_bed.BareCluster, team: Team) -> Object:
    """Run a Deployment of one server on a slice of 2 GiB; return its pod once it answers."""
    await cluster.plane.apply([objects.pool()])
    await team.claim("llm", requests=objects.amounts("2Gi", 25), limits=objects.amounts("4Gi", 50))
    deployment = objects.deployment("llm", "llm", team.namespace)
    deployment["spec"]["template"]["spec"]["containers"] = [_container(cluster)]
    await cluster.api.apply([deployment])
    found: Object = {}

    async def answers() -> bool:
        for pod in await team.pods():
            found.update(pod)
        host = found.get("status", {}).get("podIP")
        return bool(host) and await probes.answers(f"http://{host}:{PORT}/healthz")()

    await process.until(answers, timeout_seconds=90, awaited="an answer of the server")
    return found


def _container(cluster: helm_bed.BareCluster) -> Object:
    variables = {
        "VGPU_SIM_STATE": f"{runtime.GPUS}/{cluster.machine.state.name}",
        "VGPU_SIM_CONFIG": f"{runtime.GPUS}/{cluster.machine.config.name}",
    }
    return {
        "name": "main",
        "image": images.SERVER,
        "imagePullPolicy": "Never",
        "command": [images.python(), "-m", serving.MODULE, "--host", "0.0.0.0", "--port", str(PORT)],
        "env": [{"name": name, "value": value} for name, value in variables.items()],
    }


def _serving(cluster: helm_bed.BareCluster, pod: Object) -> serving.Serving:
    return serving.Serving(
        name=pod["metadata"]["name"],
        url=f"http://{pod['status']['podIP']}:{PORT}",
        slice_directory=cluster.state_root / "pages" / "slices" / pod["metadata"]["uid"],
    )


async def _life(cluster: helm_bed.BareCluster, pod: Object) -> tuple[int, int, str, int]:
    """A server's restarts, its memory as CUDA tells it, its container, its share of compute."""
    about = pod["metadata"]
    now = await cluster.api.get(f"/api/v1/namespaces/{about['namespace']}/pods/{about['name']}")
    status = serving.statuses(now)["main"]
    server = _serving(cluster, pod)
    total = (await server.memory())["total"]
    return status["restartCount"], total, status["containerID"], server.limits().compute_percent


async def _total(server: serving.Serving, size: int) -> bool:
    return bool((await server.memory())["total"] == size)


async def _leave(cluster: helm_bed.BareCluster, team: Team) -> None:
    """End the work as the handbook says, then the platform."""
    await team.leave()
    await cluster.plane.kubectl("delete", "vgpupool", "a100", "--wait", "--timeout=30s")
    picture = await audit.look(cluster.api)
    assert audit.violations(picture) == []
    await cluster.plane.kubectl("delete", "namespace", team.namespace, "--timeout=60s")
    await cluster.helm("uninstall", helm.RELEASE, *WAITING)

    async def gone() -> bool:
        with contextlib.suppress(StopIteration):
            next(
                each
                for each in await cluster.everything()
                if f" {NAMESPACE} " in each and not _expected(each)
            )
            return False
        return True

    await process.until(gone, timeout_seconds=60, awaited=f"an empty namespace {NAMESPACE}")


def _expected(line: str) -> bool:
    """Whether an object is a definition of ours or of its kind, or what every namespace and node has."""
    kind, namespace, name = line.split(" ")
    if kind in ("CustomResourceDefinition", "APIService"):
        return name.endswith(f".{names.GROUP}")
    everywhere = {("ServiceAccount", "default"), ("ConfigMap", "kube-root-ca.crt")}
    ours = namespace == NAMESPACE and (kind, name) in everywhere
    return ours or namespace == "kube-node-lease" or (kind, name) in KEPT


def _mounts(directory: Path) -> list[str]:
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    return [point for line in lines if (point := line.split(" ", 5)[4]).startswith(f"{directory}/")]
