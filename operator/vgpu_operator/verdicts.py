"""Why a pod waits: what the extender would answer, asked without promising anything.

The extender's promises are not known here, so a verdict explains and never decides. One node with room is
enough for it, however many there are; the best one is not looked for.
"""

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace

from vgpu import inventory, reservations, values
from vgpu.placement import choice, eligibility, explain
from vgpu_kube.objects import Key
from vgpu_operator import homes, reading
from vgpu_operator.holdings import Holding

NOT_ACCEPTED = "the pod's node selector, affinity or tolerations rule it out"

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

    def __init__(self, book: reservations.Book, hosts: Mapping[Key, homes.Host]) -> None:
        self._book = book
        self._hosts = hosts
        self._rooms = reading.Rooms(book)
        self._no_fits: dict[str, dict[Hashable, choice.NoFit]] = {}

    def room_changed(self, pool: str) -> None:
        """Something about the pool's nodes or slices is not what it was."""
        self._no_fits.pop(pool, None)

    def verdict(self, asked: values.Request, home: homes.Home, holdings: Iterable[Holding]) -> Verdict:
        """Whether a request has a place among the nodes that its pod accepts.

        ``home`` is what the pod asks of its node, ``holdings`` are its claim's slices.
        """
        pool = self._book.pools.get(asked.pool_name)
        if pool is None:
            message = f"there is no VGPUPool {asked.pool_name}"
            return values.Refusal(reason=values.Reason.POOL_NOT_FOUND, message=message)
        for holding in holdings:
            if holding.slice.id == asked.slice_id:  # a shared slice takes in further pods where it lies
                return choice.Placement(node=holding.node, device_uuids=holding.slice.device_uuids)
        refusal = self._book.over_quota([asked])
        found = refusal or self._fit(pool, asked, home)
        if isinstance(found, choice.Placement):
            taken = inventory.taken(pool, self._book.nodes[found.node], asked, found.device_uuids)
            return self._book.over_quota([replace(asked, requests=taken)]) or found
        return found

    def together(self, asked: Sequence[values.Request], home: homes.Home) -> reservations.Partly | None:
        """How many of several requests have a place beside each other, None if all; nothing is promised."""
        names = [name for name in self._book.nodes if self._accepts(home, name)]
        found = self._book.place_together([(each, names) for each in asked], now=0.0)
        if isinstance(found, reservations.Partly):
            return found
        for slice_id in found:
            self._book.cancel(slice_id)
        return None

    def _fit(
        self, pool: values.Pool, asked: values.Request, home: homes.Home
    ) -> choice.Placement | choice.NoFit:
        remembered = self._no_fits.setdefault(pool.name, {})
        shape = _alike(asked, home)
        if shape in remembered:
            return remembered[shape]
        found = self._first_fit(pool, asked, home)
        if isinstance(found, choice.NoFit):
            remembered[shape] = found
        return found

    def _first_fit(
        self, pool: values.Pool, asked: values.Request, home: homes.Home
    ) -> choice.Placement | choice.NoFit:
        reasons: dict[str, str] = {}
        for room in self._rooms.of(pool):
            name = room.node
            fits = choice.fitting(room, asked)
            sides = eligibility.sides(fits, asked)
            if not sides:
                reasons[name] = explain.shortage(room, fits, asked)
            elif self._accepts(home, name):
                uuids = tuple(device.uuid for device in sides[0][: asked.device_count])
                return choice.Placement(node=name, device_uuids=uuids)
            else:
                reasons[name] = NOT_ACCEPTED
        return choice.NoFit(reasons=reasons)

    def _accepts(self, home: homes.Home, node: str) -> bool:
        host = self._hosts.get((None, node))
        return host is None or home.accepts(host)


def _alike(asked: values.Request, home: homes.Home) -> Hashable:
    """What two requests have in common that fit the same nodes; a claim is never kept off itself."""
    grouped = asked.constraints.exclusion_group is not None
    shape = asked.requests, asked.device_count, asked.constraints
    return shape, home.rules, asked.claim if grouped else None
