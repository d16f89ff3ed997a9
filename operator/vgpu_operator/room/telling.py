"""Tells a claim's people what would let its pod in: once per kind of help, not per number."""

from collections.abc import Callable

from vgpu_kube import resources
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.objects import Key
from vgpu_operator.room import explaining
from vgpu_operator.room.wishes import Finding, Wish

ACTION = "MakeRoom"


class Teller:
    """Wakes a claim's status for each news, and records an Event where there is a new kind of it."""

    def __init__(self, recorder: Recorder, *, wake: Callable[[Key], None]) -> None:
        self._recorder = recorder
        self._wake = wake
        self._told: dict[str, frozenset[object]] = {}  # UID of the waiting pod -> kinds of help

    async def tell(self, wish: Wish, finding: Finding) -> None:
        """There is news for a wish."""
        self._wake(wish.claim)
        kinds = explaining.kinds(finding)
        if not kinds or self._told.get(wish.request.pod.uid) == kinds:
            return
        if len(self._told) >= 1000:
            self._told.clear()  # told again, which the recorder counts as a repetition
        self._told[wish.request.pod.uid] = frozenset(kinds)
        namespace, name = wish.claim
        regarding = {
            "apiVersion": resources.VGPU_CLAIMS.api_version,
            "kind": resources.VGPU_CLAIMS.kind,
            "namespace": namespace,
            "name": name,
            "uid": wish.request.claim.uid,
        }
        note = f"pod {wish.request.pod.name}: {explaining.note(finding)}"
        await self._recorder.record(regarding, EventType.NORMAL, "WouldFit", note, ACTION)
