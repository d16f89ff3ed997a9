"""Those that the queue decides together, how two of them are alike, and the words of a refusal."""

from dataclasses import dataclass, replace

from vgpu import queue, reservations, values
from vgpu.placement import choice
from vgpu_webhooks.extender import waiting

NOBODY = values.PodRef(name="", uid="")
NO_CLAIM = values.ClaimRef(namespace="", name="", uid="")


@dataclass(frozen=True, slots=True)
class Party:
    """Those that are decided together: one pod, or as many of a gang as have to start together."""

    entries: tuple[waiting.Entry, ...]
    requests: tuple[values.Request, ...]

    @property
    def kind(self) -> object:
        """What finds no room where another has found none."""
        return size(self.requests[0]), self.entries[0].offered, len(self.entries)

    def ticket(self, *, arrived: int) -> queue.Ticket:
        """The party's place in the queue: that of its oldest pod; ``arrived`` sorts those of one second."""
        pod, request = self.entries[0].pod, self.requests[0]
        return queue.Ticket(
            id=pod.uid,
            pool_name=request.pool_name,
            namespace=pod.namespace,
            priority=(pod.priority, request.priority),
            since=pod.created,
            arrived=arrived,
        )


def size(request: values.Request) -> values.Request:
    """What finds no room where another has found none: who asks matters to shared slices and to groups."""
    shared = request.slice_id != request.pod.uid
    grouped = request.constraints.exclusion_group is not None
    return replace(
        request,
        slice_id=request.slice_id if shared else "",
        pod=NOBODY,
        claim=request.claim if shared or grouped else NO_CLAIM,
        limits=values.NOTHING,
    )


def worded(found: reservations.Partly) -> tuple[str, str]:
    """A refusal as a word and a sentence."""
    match found.why:
        case choice.NoFit():
            reason, note = str(values.Reason.NO_FIT), found.why.message
        case values.Refusal():
            reason, note = str(found.why.reason), found.why.message
        case reservations.Elsewhere():
            reason, note = str(values.Reason.NO_FIT), f"its slice is on {found.why.node} still"
    if found.asked == 1:
        return reason, note
    return reason, f"{found.asked} pods start together and {found.placed} of them have a place; {note}"
