"""Plays the kubelets of hand-made nodes: bound pods run at once, finish when told, and go when deleted.

What a container would do is not played here.
"""

import asyncio
import datetime
from collections.abc import Container, Coroutine
from typing import Self

from vgpu_e2e import background, gpunodes, rest
from vgpu_e2e.rest import Object

RUN_SECONDS = "e2e.vgpu.dev/run-seconds"
PARALLEL = 32


class FakeKubelet:
    """Answers for the pods bound to its nodes, all nodes where none are named, inside the `async with`."""

    def __init__(self, api: rest.API, *, nodes: Container[str] | None = None) -> None:
        self._api = api
        self._nodes = nodes
        self._turns = asyncio.Semaphore(PARALLEL)
        self._started: set[str] = (
            set()
        )  # UIDs that were told to run; a pod's second event must not start it twice
        self._work = background.Background()

    async def __aenter__(self) -> Self:
        self._work.start(self._watch())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._work.close()

    async def _watch(self) -> None:
        bound = {"fieldSelector": "spec.nodeName!="}
        async for kind, pod in self._api.watch("/api/v1/pods", parameters=bound):
            if self._nodes is not None and pod["spec"]["nodeName"] not in self._nodes:
                continue
            if kind == "DELETED":
                self._started.discard(pod["metadata"]["uid"])
            elif pod["metadata"].get("deletionTimestamp"):
                self._work.start(_forgiving(self._confirm_deletion(pod)))
            elif pod["status"].get("phase", "Pending") == "Pending":
                self._run_once(pod)

    def _run_once(self, pod: Object) -> None:
        uid = pod["metadata"]["uid"]
        if uid not in self._started:
            self._started.add(uid)
            self._work.start(_forgiving(self._run(pod)))

    async def _run(self, pod: Object) -> None:
        async with self._turns:
            await self._report(pod, running_status(pod, now=_now()))
        seconds = pod["metadata"].get("annotations", {}).get(RUN_SECONDS)
        if seconds is not None:
            await asyncio.sleep(float(seconds))
            await self._report(pod, succeeded_status(pod, now=_now()))

    async def _report(self, pod: Object, status: Object) -> None:
        await self._api.patch(
            f"{_path(pod)}/status", {"metadata": {"uid": pod["metadata"]["uid"]}, "status": status}
        )

    async def _confirm_deletion(self, pod: Object) -> None:
        async with self._turns:
            preconditions = {"uid": pod["metadata"]["uid"]}
            await self._api.delete(_path(pod), {"gracePeriodSeconds": 0, "preconditions": preconditions})


def running_status(pod: Object, *, now: datetime.datetime) -> Object:
    """Return the status of a pod whose containers all run since now."""
    moment = gpunodes.timestamp(now)
    state = {"running": {"startedAt": moment}}
    return {
        "phase": "Running",
        "startTime": moment,
        "conditions": _conditions("True", moment),
        "containerStatuses": [_container(each, state, ready=True) for each in pod["spec"]["containers"]],
    }


def succeeded_status(pod: Object, *, now: datetime.datetime) -> Object:
    """Return the status of a pod whose containers all ended well at now."""
    moment = gpunodes.timestamp(now)
    state = {"terminated": {"exitCode": 0, "reason": "Completed", "finishedAt": moment}}
    return {
        "phase": "Succeeded",
        "conditions": _conditions("False", moment),
        "containerStatuses": [_container(each, state, ready=False) for each in pod["spec"]["containers"]],
    }


def _conditions(ready: str, moment: str) -> list[Object]:
    kinds = {"PodScheduled": "True", "Initialized": "True", "ContainersReady": ready, "Ready": ready}
    return [{"type": kind, "status": status, "lastTransitionTime": moment} for kind, status in kinds.items()]


def _container(container: Object, state: Object, *, ready: bool) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "restartCount": 0,
        "ready": ready,
        "started": ready,
        "state": state,
    }


async def _forgiving(work: Coroutine[object, object, None]) -> None:
    """Let go of a pod that was deleted or replaced meanwhile; the watch tells the rest."""
    try:
        await work
    except (rest.NotFoundError, rest.ConflictError):
        return


def _path(pod: Object) -> str:
    meta = pod["metadata"]
    return f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"


def _now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)
