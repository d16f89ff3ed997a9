"""The platform shown on a real control plane, step by step; what it says is checked, so it cannot lie.

make demo           shows everything and takes it down; the exit code is 0 only if all was as told
make demo KEEP=1    stays up until Ctrl-C and says how to talk to it
"""

import argparse
import asyncio
import contextlib
import datetime
import sys
import time
from collections.abc import Callable

from vgpu import inventory, values
from vgpu_e2e import audit, errors, gpunodes, objects, platform, process
from vgpu_e2e.team import Team

T4_NODE = gpunodes.NodeShape(gpus=1, model=gpunodes.T4, overcommit_compute_percent=100)
BAR_CELLS = 24


class Demo:
    """The story of two teams on one pool; every step fails loudly when the platform does otherwise."""

    def __init__(self, bed: platform.Bed) -> None:
        self._bed = bed
        self._a, self._b = Team(bed.api, "team-a"), Team(bed.api, "team-b")
        self._began = time.monotonic()

    async def play(self) -> None:
        """All steps in order; raises BedError at the first that is not as told."""
        await self._pool_and_teams()
        await self._side_by_side()
        await self._waiting_for_quota()
        await self._fits_nowhere()
        await self._released()

    async def _pool_and_teams(self) -> None:
        self._say("The platform team makes a pool of the A100s and gives two teams a quota each.")
        await gpunodes.make_nodes(
            self._bed.api, 1, shape=T4_NODE, prefix="t4", now=datetime.datetime.now(datetime.UTC)
        )
        quotas = [
            objects.quota("team-a", objects.amounts("200Gi", 400)),
            objects.quota("team-b", objects.amounts("100Gi", 200), objects.amounts("20Gi", 50)),
        ]
        await self._bed.apply([objects.pool(quotas=quotas)])
        for team in (self._a, self._b):
            await team.arrive()
        await self._until(self._pool_ready, "the pool to be ready")
        await self._show("get", "vgpupools")

    async def _side_by_side(self) -> None:
        self._say("Each team writes a claim, and one label on its Deployment. Their pods share GPUs.")
        await self._a.claim("llm", requests=objects.amounts("30Gi", 40), limits=objects.amounts("60Gi", 100))
        await self._b.claim("embed", requests=objects.amounts("40Gi", 40))
        await self._bed.apply(
            [
                objects.deployment("llm", "llm", "team-a", replicas=1),
                objects.deployment("embed", "embed", "team-b", replicas=1),
            ]
        )
        for team in (self._a, self._b):
            await team.bound(1)  # one of each on the first GPU, so that the next fill another one likewise
        for name, team in (("llm", self._a), ("embed", self._b)):
            await self._scale(name, team, 2)
            await team.bound(2)
        await self._a.condition("llm", "Ready", reason="SlicesReady")
        await self._b.condition("embed", "Ready", reason="SlicesReady")
        await self._show("get", "vgpuclaims", "-A")
        picture = await audit.look(self._bed.api)
        self._expect(_shared_devices(picture) >= 1, "pods of both teams on one GPU")
        await self._devices(picture)

    async def _waiting_for_quota(self) -> None:
        self._say("Team b asks for two more replicas: one is borrowed, the other waits for quota.")
        await self._scale("embed", self._b, 4)
        waiting = await self._b.condition("embed", "Accepted", reason="WaitingForQuota")
        await self._b.bound(3)
        await self._show("get", "vgpuclaims", "-A", "-o", "wide")
        self._expect("120 GiB" in waiting["message"], f"a sentence with the quota, not: {waiting['message']}")

    async def _fits_nowhere(self) -> None:
        self._say("Team a asks for 70 GiB twice. One GPU has it; the other pod fits nowhere and says why.")
        await self._a.claim("train", requests=objects.amounts("70Gi", 50))
        await self._a.run("train", 2)
        bound = await self._a.condition("train", "Bound", reason="NoFit")
        await self._show("get", "vgpuclaims", "-n", "team-a", "-o", "wide")
        print(f"    {bound['message']}\n")
        self._expect("2 nodes: no GPU with 70 GiB memory free" in bound["message"], "the reason of 2 nodes")
        self._expect("1 node: not in the pool" in bound["message"], "the reason of the T4 node")

    async def _released(self) -> None:
        self._say(
            "Team b goes down to zero replicas. Its slices are free at once, and the waiting pod starts."
        )
        await self._scale("embed", self._b, 0)
        began = time.monotonic()
        await self._until(self._train_runs, "both train pods to run")
        print(f"    bound {time.monotonic() - began:.1f} s after the release\n")
        await self._b.condition("embed", "Accepted", reason="WithinQuota")
        await self._show("get", "vgpuclaims", "-A")
        await self._show("get", "vgpupools")
        picture = await audit.look(self._bed.api)
        await self._devices(picture)
        self._expect(audit.violations(picture) == [], f"a sound ledger, not: {audit.violations(picture)}")

    async def _pool_ready(self) -> bool:
        pool = await self._bed.api.get(f"{audit.POOLS}/a100")
        conditions = pool.get("status", {}).get("conditions", [])
        return any((each["type"], each["status"]) == ("Ready", "True") for each in conditions)

    async def _train_runs(self) -> bool:
        pods = [pod for pod in await self._a.pods() if pod["metadata"]["name"].startswith("train")]
        return len(pods) == 2 and all(pod["spec"].get("nodeName") for pod in pods)

    async def _scale(self, name: str, team: Team, replicas: int) -> None:
        path = f"/apis/apps/v1/namespaces/{team.namespace}/deployments/{name}/scale"
        await self._bed.api.patch(path, {"spec": {"replicas": replicas}})

    async def _devices(self, picture: audit.Picture) -> None:
        """One bar per GPU: floors filled, the part above them shaded, the rest free."""
        [pool] = [each for each in picture.pools if each.name == "a100"]
        for node in picture.nodes:
            for device in inventory.members(pool, node):
                slices = [each for each in node.slices.values() if device.uuid in each.device_uuids]
                teams = ", ".join(f"{each.claim.namespace}/{each.claim.name}" for each in slices) or "free"
                print(f"    {node.name} GPU {device.index}  {_bar(device, slices)}  {teams}")
        print()

    async def _show(self, *arguments: str) -> None:
        print(f"    $ kubectl {' '.join(arguments)}")
        for line in (await self._bed.kubectl(*arguments)).splitlines():
            print(f"    {line}")
        print()

    async def _until(self, probe: process.Probe, awaited: str) -> None:
        await process.until(probe, timeout_seconds=30, awaited=awaited)

    def _say(self, sentence: str) -> None:
        print(f"[{time.monotonic() - self._began:5.1f} s] {sentence}\n", flush=True)

    def _expect(self, holds: bool, what: str) -> None:
        if not holds:
            raise errors.BedError(f"expected {what}")


def _shared_devices(picture: audit.Picture) -> int:
    """How many GPUs hold slices of more than one namespace."""
    tenants: dict[str, set[str]] = {}
    for _, slice_ in picture.slices:
        for uuid in slice_.device_uuids:
            tenants.setdefault(uuid, set()).add(slice_.claim.namespace)
    return sum(len(namespaces) > 1 for namespaces in tenants.values())


def _bar(device: values.Device, slices: list[values.Slice]) -> str:
    def cells(amount: Callable[[values.Slice], int]) -> int:
        return round(BAR_CELLS * sum(amount(each) for each in slices) / device.memory_bytes)

    floor = cells(lambda each: each.requests.memory_bytes)
    elastic = cells(lambda each: each.allocated.memory_bytes) - floor
    return "█" * floor + "▓" * elastic + "░" * (BAR_CELLS - floor - elastic)


async def _run(*, keep: bool) -> None:
    print(
        "Starting etcd, the API server, its controllers, kube-scheduler and the platform …",
        flush=True,
    )
    async with platform.Bed(nodes=2) as bed:
        await Demo(bed).play()
        if keep:
            await _stay(bed)
    print("All was as told; everything is taken down.")


async def _stay(bed: platform.Bed) -> None:
    print(f"Left running. Talk to it, in another shell:\n\n    export KUBECONFIG={bed.plane.admin}")
    print(
        f"    {bed.plane.binaries}/kubectl get vgpu -A\n\nLogs: {bed.plane.directory}/logs. Ctrl-C ends it."
    )
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()


def main() -> int:
    """Play the demo; 0 when all was as told, 1 with the reason otherwise."""
    formatter = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=formatter)
    parser.add_argument("--keep", action="store_true", help="stay up until Ctrl-C")
    arguments = parser.parse_args()
    try:
        asyncio.run(_run(keep=arguments.keep))
    except errors.BedError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
