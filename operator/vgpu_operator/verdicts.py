"""Why a pod waits: what the extender would answer, asked without promising anything.

The extender's promises are not known here, so a verdict explains and never decides. One node with room is
enough for it, however many there are; the best one is not looked for.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace

from vgpu import inventory, reservations, values
from vgpu.placement import choice, eligibility, explain
from vgpu_operator.holdings import Holding

Verdict = choice.Placement | choice.NoFit | values.Refusal
"""A node where the pod would fit, why no node has room, or why its namespace may not have more."""


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
        constraints=claim.constraints,
    )


class Judge:
    """Gives verdicts; that there is no room is remembered until room changes, for many claims ask alike."""

    def __init__(self, book: reservations.Book) -> None:
        self._book = book
        self._no_fits: dict[str, dict[Hashable, choice.NoFit]] = {}

    def room_changed(self, pool: str) -> None:
        """Something about the pool's nodes or slices is not what it was."""
        self._no_fits.pop(pool, None)

    def verdict(self, asked: values.Request, holdings: Iterable[Holding]) -> Verdict:
        """Whether a request has a place among all nodes; ``holdings`` are its claim's slices."""
        pool = self._book.pools.get(asked.pool_name)
        if pool is None:
            message = f"there is no VGPUPool {asked.pool_name}"
            return values.Refusal(reason=values.Reason.POOL_NOT_FOUND, message=message)
        for holding in holdings:
            if holding.slice.id == asked.slice_id:  # a shared slice takes in further pods where it lies
                return choice.Placement(node=holding.node, device_uuids=holding.slice.device_uuids)
        refusal = self._book.over_quota([asked])
        found = refusal or self._fit(pool, asked)
        if isinstance(found, choice.Placement):
            taken = inventory.taken(pool, self._book.nodes[found.node], asked, found.device_uuids)
            return self._book.over_quota([replace(asked, requests=taken)]) or found
        return found

    def _fit(self, pool: values.Pool, asked: values.Request) -> choice.Placement | choice.NoFit:
        remembered = self._no_fits.setdefault(pool.name, {})
        shape = _alike(asked)
        if shape in remembered:
            return remembered[shape]
        found = _first_fit(self._book, pool, asked)
        if isinstance(found, choice.NoFit):
            remembered[shape] = found
        return found


def _alike(asked: values.Request) -> Hashable:
    """What two requests have in common that fit the same nodes; a claim is never kept off itself."""
    grouped = asked.constraints.exclusion_group is not None
    return asked.requests, asked.device_count, asked.constraints, asked.claim if grouped else None


def _first_fit(
    book: reservations.Book, pool: values.Pool, asked: values.Request
) -> choice.Placement | choice.NoFit:
    reasons: dict[str, str] = {}
    for name in book.nodes:
        room = book.room(pool, name)
        fits = choice.fitting(room, asked)
        sides = eligibility.sides(fits, asked)
        if sides:
            uuids = tuple(device.uuid for device in sides[0][: asked.device_count])
            return choice.Placement(node=name, device_uuids=uuids)
        reasons[name] = explain.shortage(room, fits, asked)
    return choice.NoFit(reasons=reasons)
