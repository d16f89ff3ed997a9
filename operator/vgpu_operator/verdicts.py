"""Why a pod waits: the same decision the extender takes, asked without promising anything.

The extender's promises are not known here, so a verdict explains and never decides.
"""

from vgpu import reservations, values
from vgpu.placement import choice

Verdict = choice.Placement | choice.NoFit | values.Refusal
"""Where the pod would go, why no node has room, or why its namespace may not have more."""


def request(claim: values.Claim, pool_name: str, pod: values.PodRef) -> values.Request:
    """What a pod of a claim asks of placement."""
    shared = claim.mode is values.AllocationMode.SHARED
    return values.Request(
        slice_id=claim.ref.uid if shared else pod.uid,
        pool_name=pool_name,
        claim=claim.ref,
        pod=pod,
        device_count=claim.device_count,
        requests=claim.requests,
        limits=claim.limits,
        priority=claim.priority,
    )


def of(book: reservations.Book, asked: values.Request, *, now: float) -> Verdict:
    """What the book would answer for a request, all its nodes offered; no promise is left behind."""
    outcome = book.place(asked, book.nodes, now=now)
    book.cancel(asked.slice_id)
    if isinstance(outcome, reservations.Elsewhere):
        return choice.Placement(node=outcome.node, device_uuids=())
    return outcome
