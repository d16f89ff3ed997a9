"""HorizontalPodAutoscalers of others on what our claims scale: found and named, never touched."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from vgpu import values
from vgpu_kube.informer import Informer
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import HORIZONTAL_POD_AUTOSCALERS

SYNC_SECONDS = 10.0
"""A cluster that lists no autoscalers, for whatever reason, keeps no slice from growing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Autoscaler:
    """One HorizontalPodAutoscaler and what it scales."""

    namespace: str
    name: str
    target: values.Target


class Rivals:
    """Knows all HorizontalPodAutoscalers inside ``following``."""

    def __init__(self, kube: Kube, *, clock: Callable[[], float]) -> None:
        self._informer = Informer(kube, HORIZONTAL_POD_AUTOSCALERS, decode=_autoscaler, clock=clock)

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        """Keeps the knowledge up to date; complete on entry, unless the cluster does not tell in time."""
        async with self._informer:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(SYNC_SECONDS):
                    await self._informer.synced()
            yield

    def of(self, namespace: str, target: values.Target) -> str | None:
        """The name of one that scales this target, by whatever version of its kind; None if none does."""
        same = (
            each.name
            for each in self._informer.items.values()
            if each.namespace == namespace and _thing(each.target) == _thing(target)
        )
        return min(same, default=None)


def _thing(target: values.Target) -> tuple[str, str, str]:
    return target.api_version.rpartition("/")[0], target.kind, target.name


def _autoscaler(raw: Object) -> Autoscaler:
    metadata, target = raw["metadata"], raw["spec"]["scaleTargetRef"]
    return Autoscaler(
        namespace=metadata["namespace"],
        name=metadata["name"],
        target=values.Target(
            api_version=target.get("apiVersion", ""), kind=target["kind"], name=target["name"]
        ),
    )
