"""Events on pods that wait: why, once for each reason that is new.

Telling comes after placing: one Event at a time, and none for a pod that has found its place meanwhile.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vgpu_kube import events
from vgpu_kube.objects import Object
from vgpu_webhooks.extender import pods

ACTION = "Placing"

REST_SECONDS = 0.01
"""Between two Events, so that a thousand of them leave the API server to those that are placed."""


@dataclass(frozen=True, slots=True)
class _News:
    pod: pods.Pod
    reason: str
    note: str


class Herald:
    """Knows what has been told of each pod; ``run`` writes what is new."""

    def __init__(self, recorder: events.Recorder, *, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._recorder = recorder
        self._sleep = sleep
        self._said: dict[str, str] = {}  # pod UID -> reason
        self._news: dict[str, _News] = {}
        self._woken = asyncio.Event()

    def tell(self, pod: pods.Pod, reason: str, note: str) -> None:
        """The pod waits for this reason, a CamelCase word; the note is a sentence with the figures of now."""
        if self._said.get(pod.uid) != reason:
            self._said[pod.uid] = reason
            self._news[pod.uid] = _News(pod, reason, note)
            self._woken.set()

    def forget(self, pod: pods.Pod) -> None:
        """The pod waits no more."""
        self._said.pop(pod.uid, None)
        self._news.pop(pod.uid, None)

    async def run(self) -> None:
        """Writes Events until cancelled."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._news:
                news = self._news.pop(next(iter(self._news)))
                await self._recorder.record(
                    _reference(news.pod), events.EventType.WARNING, news.reason, news.note, ACTION
                )
                await self._sleep(REST_SECONDS)


def _reference(pod: pods.Pod) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "namespace": pod.namespace,
        "name": pod.name,
        "uid": pod.uid,
    }
