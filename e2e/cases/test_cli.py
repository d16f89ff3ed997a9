"""kubectl vgpu against a real API server: what it shows, what it changes, and to whom."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from vgpu.api import names
from vgpu_e2e import command, gpunodes, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 2}
POOLS = [objects.pool()]
STATUS_SECONDS = 0.3
FLOOR, CEILING = objects.amounts("20Gi", 40), objects.amounts("60Gi", 100)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def serving(bed: platform.Bed) -> AsyncIterator[Team]:
    """A team whom nobody changes, with a claim and two pods that run in its slices."""
    settled = Team(bed.api, "serving")
    await settled.arrive()
    await _serve(settled)
    yield settled
    await settled.leave()


async def _serve(team: Team) -> None:
    await team.claim("llm", requests=FLOOR, limits=CEILING)
    await team.run("llm", 2)
    await team.bound(2)
    await team.condition("llm", "Ready", reason="SlicesReady")


async def test_status_tree_and_explain_tell_the_same_story(bed: platform.Bed, serving: Team) -> None:
    status = await command.run(bed, "status", "-n", serving.namespace)
    tree = await command.run(bed, "tree", "-n", serving.namespace)
    story = await command.run(bed, "explain", "claim", "llm", "-n", serving.namespace)
    pod = await command.run(bed, "explain", "pod", "llm-0", "-n", serving.namespace)

    assert "1 claim ready" in status.output
    assert tree.output.count(f"{serving.namespace}/llm") == 2
    assert story.output.startswith(f"claim {serving.namespace}/llm of pool a100: ready")
    assert "Added by vgpu-admission" in pod.output
    assert "schedulerName vgpu-scheduler" in pod.output
    assert {each.code for each in (status, tree, story, pod)} == {0}


async def test_kubectl_finds_the_command_and_its_words(bed: platform.Bed, serving: Team) -> None:
    found = {"PATH": str(Path(sys.executable).parent), "HOME": str(bed.plane.directory)}

    async def kubectl(*arguments: str) -> str:
        child = await asyncio.create_subprocess_exec(
            bed.plane.binaries / "kubectl", *arguments, stdout=asyncio.subprocess.PIPE, env=found
        )
        output, _ = await child.communicate()
        assert child.returncode == 0
        return output.decode()

    shown = await kubectl("vgpu", "status", "-n", serving.namespace, "--kubeconfig", str(bed.plane.admin))
    words = await kubectl("__complete", "vgpu", "stat")

    assert "1 claim ready" in shown
    assert "status" in words.splitlines()


async def test_a_resize_reaches_the_slices_and_a_dry_run_does_not(bed: platform.Bed, team: Team) -> None:
    await _serve(team)
    words = ("resize", "llm", "-n", team.namespace, "--requests", "computePercent=50")

    rehearsed = await command.run(bed, *words, "--dry-run", "-o", "json")
    claim = await bed.api.get(f"{team.claims_path}/llm")
    assert claim["spec"]["resources"]["requests"] == FLOOR
    carried_out = await command.run(bed, *words, "-o", "json")

    assert json.loads(rehearsed.output)["slices"] == json.loads(carried_out.output)["slices"]
    await process.until(lambda: _holds(team, 100), timeout_seconds=20, awaited="two slices of 50 % each")


async def _holds(team: Team, compute_percent: int) -> bool:
    allocated: dict[str, Any] = (await team.status("llm"))["allocated"]
    return bool(allocated["computePercent"] == compute_percent)


async def test_the_api_servers_refusal_of_a_resize_is_shown_in_words(
    bed: platform.Bed, serving: Team
) -> None:
    words = ("--requests", "memory=500Gi", "--limits", "memory=500Gi", "--dry-run")

    answer = await command.run(bed, "resize", "llm", "-n", serving.namespace, *words)

    assert answer.code == 1
    assert "fit the largest device of pool 'a100'" in answer.complaint


async def test_nothing_new_lands_on_cordoned_devices(bed: platform.Bed, team: Team) -> None:
    await team.claim("whole", requests=objects.amounts("70Gi", 10))
    every = [f"gpu-{node}/{index}" for node in (0, 1) for index in (0, 1)]

    cordoned = await command.run(bed, "cordon", *every[:3])
    try:
        await team.run("whole", 2)
        [pod] = await team.bound(1)
        waiting = await team.condition("whole", "Bound", reason="NoFit")
    finally:
        uncordoned = await command.run(bed, "uncordon", *every[:3])

    assert (cordoned.code, uncordoned.code) == (0, 0)
    assert pod["metadata"]["annotations"][names.DEVICES_ANNOTATION] == gpunodes.device_uuid("gpu-1", 1)
    assert "waits" in waiting["message"]
    await team.bound(2)


async def test_a_tenant_sees_pools_and_its_claims_and_is_told_what_it_may_not(
    bed: platform.Bed, serving: Team
) -> None:
    await _appoint(bed, "dev", serving.namespace, "RoleBinding", "edit")
    tenant = await bed.plane.kubeconfig_for("dev", serving.namespace)

    seen = await command.run(bed, "status", "-n", serving.namespace, identity=tenant)
    refused = await command.run(bed, "tree", identity=tenant)

    assert "1 claim ready" in seen.output
    assert refused.code == 1
    assert "expected permission" in refused.complaint


async def test_whoever_is_on_call_sees_everything_and_changes_nothing(
    bed: platform.Bed, serving: Team
) -> None:
    for role in ("view", "vgpu-on-call"):
        await _appoint(bed, "watch", serving.namespace, "ClusterRoleBinding", role)
    identity = await bed.plane.kubeconfig_for("watch", serving.namespace)

    tree = await command.run(bed, "tree", identity=identity)
    pod = await command.run(bed, "explain", "pod", "llm-0", "-n", serving.namespace, identity=identity)
    check = await command.run(bed, "check", "-n", serving.namespace, "-o", "json", identity=identity)
    words = ("resize", "llm", "-n", serving.namespace, "--requests", "computePercent=50")
    resized = await command.run(bed, *words, identity=identity)

    assert f"{serving.namespace}/llm" in tree.output
    assert "Added by vgpu-admission" in pod.output
    assert (check.code, resized.code) == (0, 1)
    assert "expected permission" in resized.complaint
    skipped = {each["step"] for each in json.loads(check.output) if each["verdict"] == "Skipped"}
    assert skipped == {"admission", "certificates", "prometheus"}  # a trial claim, Secrets; none is named


async def _appoint(bed: platform.Bed, name: str, namespace: str, binding: str, role: str) -> None:
    """An account of the namespace with a role of the cluster, there or everywhere."""
    of_rbac, account = "rbac.authorization.k8s.io", {"name": name, "namespace": namespace}
    bound = {
        "apiVersion": f"{of_rbac}/v1",
        "kind": binding,
        "metadata": {"name": f"{name}-{role}", "namespace": namespace}
        if binding == "RoleBinding"
        else {"name": f"{name}-{role}"},
        "roleRef": {"apiGroup": of_rbac, "kind": "ClusterRole", "name": role},
        "subjects": [{"kind": "ServiceAccount", **account}],
    }
    await bed.apply([{"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account}, bound])


async def test_status_needs_less_than_a_third_of_a_second(bed: platform.Bed, serving: Team) -> None:
    """Processor time, which others on the machine do not lengthen as they do time on the wall."""
    script = (
        "import resource, subprocess, sys;"
        " subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        " used = resource.getrusage(resource.RUSAGE_CHILDREN); print(used.ru_utime + used.ru_stime)"
    )
    command = [sys.executable, "-m", "vgpu_cli", "--kubeconfig", str(bed.plane.admin), "status", "-A"]
    best = float("inf")
    for _ in range(20):  # caches shared with busy neighbours lengthen processor time as well
        child = await asyncio.create_subprocess_exec(
            sys.executable, "-c", script, *command, stdout=asyncio.subprocess.PIPE
        )
        output, _ = await child.communicate()
        best = min(best, float(output))
        if best <= STATUS_SECONDS:
            break

    assert best <= STATUS_SECONDS
