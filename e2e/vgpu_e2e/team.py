"""A model team as a test plays it: one namespace, its claims and its pods."""

import asyncio
from collections.abc import Callable, Iterable

from vgpu.api import names
from vgpu_e2e import audit, background, objects, process, rest
from vgpu_e2e.rest import Object

PARALLEL = 32


class Team:
    """One namespace on a bed; ``leave`` takes everything down again and waits until the ledger is empty."""

    def __init__(self, api: rest.API, namespace: str) -> None:
        self.api = api
        self.namespace = namespace
        self._turns = asyncio.Semaphore(PARALLEL)

    async def arrive(self) -> None:
        """Create the namespace and wait for what controllers add to it."""
        await self.api.apply([objects.namespace(self.namespace)])
        account = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/default"
        await process.until(
            lambda: self.api.exists(account), timeout_seconds=20, awaited=f"a namespace {self.namespace}"
        )

    async def leave(self) -> None:
        """Delete pods, then claims, and return once no slice of the namespace is left."""
        await self._delete_all(f"/apis/apps/v1/namespaces/{self.namespace}/deployments")
        await self._delete_all(self.pods_path)
        await self._delete_all(self.claims_path)
        await process.until(self._gone, timeout_seconds=40, awaited=f"an empty ledger for {self.namespace}")

    @property
    def pods_path(self) -> str:
        """The collection of the team's pods."""
        return f"/api/v1/namespaces/{self.namespace}/pods"

    @property
    def claims_path(self) -> str:
        """The collection of the team's claims."""
        return f"/apis/{names.API_VERSION}/namespaces/{self.namespace}/{names.CLAIM_PLURAL}"

    async def claim(self, name: str, **spec: object) -> None:
        """Apply a claim; keywords as for objects.claim."""
        await self.api.apply([objects.claim(name, self.namespace, **spec)])  # type: ignore[arg-type]  # keywords are passed through

    async def run(self, claim_name: str, count: int = 1, *, prefix: str = "", **spec: object) -> list[str]:
        """Create pods for a claim, all at once, and return their names."""
        created = [f"{prefix or claim_name}-{index}" for index in range(count)]
        await background.together(self._create(name, claim_name, spec) for name in created)
        return created

    async def delete(self, pod_names: Iterable[str]) -> None:
        """Delete pods without a grace."""
        await background.together(self._delete(name) for name in pod_names)

    async def pods(self) -> list[Object]:
        """The team's pods as they are now."""
        items, _ = await self.api.list(self.pods_path)
        return items

    async def bound(self, count: int, *, within_seconds: float = 30) -> list[Object]:
        """Return the bound pods once there are exactly so many."""
        return await self._pods_where(
            lambda pods: len(_bound(pods)) == count, f"{count} bound pods", within_seconds
        )

    async def status(self, claim_name: str) -> Object:
        """A claim's status."""
        found = await self.api.get(f"{self.claims_path}/{claim_name}")
        status: Object = found.get("status", {})
        return status

    async def condition(
        self, claim_name: str, kind: str, *, reason: str, within_seconds: float = 15
    ) -> Object:
        """Return a claim's condition once it has this reason."""
        found: list[Object] = []

        async def reached() -> bool:
            conditions = (await self.status(claim_name)).get("conditions", [])
            found[:] = [each for each in conditions if each["type"] == kind and each["reason"] == reason]
            return bool(found)

        await process.until(
            reached, timeout_seconds=within_seconds, awaited=f"{kind} {reason} of claim {claim_name}"
        )
        return found[0]

    async def _pods_where(
        self, holds: Callable[[list[Object]], bool], awaited: str, within_seconds: float
    ) -> list[Object]:
        pods: list[Object] = []

        async def reached() -> bool:
            pods[:] = await self.pods()
            return holds(pods)

        await process.until(reached, timeout_seconds=within_seconds, awaited=f"{awaited} in {self.namespace}")
        return _bound(pods)

    async def _create(self, name: str, claim_name: str, spec: dict[str, object]) -> None:
        async with self._turns:
            await self.api.create(self.pods_path, objects.pod(name, claim_name, self.namespace, **spec))  # type: ignore[arg-type]  # keywords are passed through

    async def _delete(self, name: str) -> None:
        async with self._turns:
            await self.api.delete(f"{self.pods_path}/{name}", {"gracePeriodSeconds": 0})

    async def _delete_all(self, path: str) -> None:
        await self.api.request("DELETE", path, {"gracePeriodSeconds": 0})

    async def _gone(self) -> bool:
        picture = await audit.look(self.api)
        held = [slice_ for _, slice_ in picture.slices if slice_.claim.namespace == self.namespace]
        claims, _ = await self.api.list(self.claims_path)
        return not held and not claims and not await self.pods()


def _bound(pods: list[Object]) -> list[Object]:
    return [each for each in pods if each["spec"].get("nodeName") and not audit.finished(each)]
