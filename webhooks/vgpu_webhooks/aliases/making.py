"""Follows the pods with a note, and sees to it that the claim of each is there and goes with its owner.

A claim belongs to what created the pod, a ReplicaSet or a Job, else to the pod itself; pods of one owner that
ask the same share it. Claims are made, never changed: what asks for something else gets another one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from vgpu.api import names
from vgpu_kube import errors, informer, logs, objects, patches
from vgpu_kube.backoff import Backoff
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.objects import Key, Object
from vgpu_kube.protocol import Kube, Ops
from vgpu_kube.resources import PODS, VGPU_CLAIMS
from vgpu_webhooks.admission import hami

logger = logging.getLogger(__name__)

MANAGED_BY = "vgpu-aliases"
OWNERS_MOST = 64
"""Owners that one claim names; more pods without a controller that ask the same live as long as these."""


class Maker:
    """Works through the pods it is told of until cancelled; what fails is tried again, later and later."""

    def __init__(
        self,
        kube: Kube,
        recorder: Recorder,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        backoff: Backoff | None = None,
    ) -> None:
        self._kube = kube
        self._recorder = recorder
        self._sleep = sleep
        self._backoff = backoff or Backoff()
        self._waiting: dict[Key, Object] = {}
        self._told = asyncio.Event()
        self.pods = informer.Informer(kube, PODS, labels=names.CLAIM_LABEL, decode=noted)
        self.pods.subscribe(self._pod_changed)

    def unready(self) -> str | None:
        """Why claims cannot be made yet; None where they can."""
        return None if self.pods.has_synced else "expected the list of pods, found none yet; wait"

    async def run(self) -> None:
        """Makes what is missing, as long as it runs."""
        async with self.pods:
            while True:
                await self._told.wait()
                self._told.clear()
                if await self.work_through():
                    self._backoff.succeeded()
                else:
                    await self._sleep(self._backoff.failed())
                    self._told.set()

    async def work_through(self) -> bool:
        """One look at every pod that waits; False where one has to be looked at again."""
        for key, pod in list(self._waiting.items()):
            try:
                await make(self._kube, pod)
            except errors.KubeError as error:
                await self._tell(pod, error)
                if not isinstance(error, errors.Invalid):
                    continue
            if self._waiting.get(key) is pod:
                del self._waiting[key]
        return not self._waiting

    async def _tell(self, pod: Object, error: errors.KubeError) -> None:
        namespace, name = objects.key(pod)
        logs.event(logger, logging.WARNING, "claim not made", pod=f"{namespace}/{name}", reason=error)
        regarding = {"apiVersion": "v1", "kind": "Pod", "namespace": namespace, "name": name}
        regarding["uid"] = objects.uid(pod)
        note = f"its VGPUClaim was not made: {error.message}"
        await self._recorder.record(regarding, EventType.WARNING, "ClaimNotMade", note, "MakeClaim")

    def _pod_changed(self, change: informer.Change[Object | None]) -> None:
        if change.new is None:
            self._waiting.pop(change.key, None)
        elif change.old is None or objects.uid(change.old) != objects.uid(change.new):  # a note never changes
            self._waiting[change.key] = change.new
            self._told.set()


def noted(raw: Object) -> Object | None:
    """What is kept of a pod: who it is and belongs to, and its note; None where it has none or is ending."""
    about = raw["metadata"]
    if hami.ANNOTATION not in (about.get("annotations") or {}) or "deletionTimestamp" in about:
        return None
    kept = {name: about[name] for name in ("name", "namespace", "uid", "labels") if name in about}
    kept["annotations"] = {hami.ANNOTATION: about["annotations"][hami.ANNOTATION]}
    return {"metadata": {**kept, "ownerReferences": about.get("ownerReferences", [])}}


async def make(kube: Kube, pod: Object) -> None:
    """Creates the pod's claim, or adds the pod's owner to those it lives as long as. Raises KubeError."""
    namespace, _ = objects.key(pod)
    claim = hami.promised(pod, str(namespace))
    if claim is None:
        return
    claim["metadata"] |= {
        "labels": {"app.kubernetes.io/managed-by": MANAGED_BY},
        "ownerReferences": [owner(pod)],
    }
    with suppress(errors.AlreadyExists):
        await kube.create(VGPU_CLAIMS, claim, namespace)
        logs.event(logger, logging.INFO, "claim made", claim=f"{namespace}/{claim['metadata']['name']}")
        return
    name = claim["metadata"]["name"]
    await patches.rewrite(kube, VGPU_CLAIMS, name, lambda raw: _owned(raw, owner(pod)), namespace=namespace)


def owner(pod: Object) -> dict[str, Any]:
    """What a claim made for this pod lives as long as."""
    about = pod["metadata"]
    for each in about["ownerReferences"]:
        if each.get("controller"):
            return {name: each[name] for name in ("apiVersion", "kind", "name", "uid")}
    return {"apiVersion": "v1", "kind": "Pod", "name": about["name"], "uid": about["uid"]}


def _owned(claim: Object, wanted: dict[str, Any]) -> Ops | None:
    about = claim["metadata"]
    owners = about.get("ownerReferences", [])
    ours = (about.get("labels") or {}).get("app.kubernetes.io/managed-by") == MANAGED_BY
    if not ours or len(owners) >= OWNERS_MOST or any(each["uid"] == wanted["uid"] for each in owners):
        return None
    return [patches.unchanged(claim), patches.add("/metadata/ownerReferences", [*owners, wanted])]
