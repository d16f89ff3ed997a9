"""Filter: one node for a pod, promised to it, or the reason of every node that was offered.

kube-scheduler asks again and again for the same pod, with all nodes or with a single one; the same question
gets the same answer. Up to the answer nothing waits, so that no other caller can come between, except where
a slice of the pod has to be taken back first or its claim is not known yet.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vgpu import reservations, values
from vgpu.placement import choice
from vgpu_webhooks.extender import gangs, release, view, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """The pod goes to this node, where ``slice_id`` is its slice."""

    node: str
    slice_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """No node for now: why, for each that was offered. ``kind`` is one of few words, for metrics."""

    kind: str
    reasons: dict[str, str]
    request: values.Request


Verdict = Placed | Refused


class Filter:
    """Answers one pod at a time, whoever asks at the same time."""

    def __init__(
        self,
        *,
        seen: view.View,
        releaser: release.Releaser,
        groups: gangs.Gangs,
        clock: Callable[[], float],
    ) -> None:
        self._view = seen
        self._releaser = releaser
        self._gangs = groups
        self._clock = clock

    async def answer(self, args: wire.FilterArgs) -> Verdict:
        """Decides; raises view.Unanswerable, and writing.Standby or KubeError where a release was needed."""
        request = await self._view.request_of(args.pod)
        if self._gangs.lacking(args.pod) and not self._gangs.reserved(args.pod):
            return self._gang_first(request, args)
        found = self._place(request, args.node_names)
        if isinstance(found, reservations.Elsewhere):
            await self._releaser.take_back(args.pod, found.node)
            found = self._place(request, args.node_names)
        if isinstance(found, reservations.Elsewhere):
            raise view.Unanswerable(
                "SliceElsewhere",
                f"expected pod {args.pod} to have given back its slice on {found.node}, found it there still:"
                " it is tried again",
            )
        return _verdict(found, request, args.node_names)

    def _gang_first(self, request: values.Request, args: wire.FilterArgs) -> Refused:
        """The queue decides on a gang, all of it at once."""
        message = (
            f"{self._gangs.size(args.pod)} pods of its claim start together and have no place for all yet"
        )
        reasons = dict.fromkeys(args.node_names, message)
        return Refused(kind=gangs.WAITING, reasons=reasons, request=request)

    def _place(
        self, request: values.Request, offered: list[str]
    ) -> choice.Placement | choice.NoFit | values.Refusal | reservations.Elsewhere:
        return self._view.book.place(request, offered, now=self._clock())


def _verdict(
    found: choice.Placement | choice.NoFit | values.Refusal, request: values.Request, offered: list[str]
) -> Verdict:
    match found:
        case choice.Placement():
            return Placed(node=found.node, slice_id=request.slice_id)
        case choice.NoFit():
            return Refused(kind=str(values.Reason.NO_FIT), reasons=dict(found.reasons), request=request)
        case values.Refusal():
            return Refused(
                kind=str(found.reason), reasons=dict.fromkeys(offered, found.message), request=request
            )
