"""What the loop may count on when it decides: room on devices beside open wishes, quota, places for replicas.

Asked of the view's ledgers and promising nothing; the extender decides in the end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from vgpu import inventory, quota, values
from vgpu.elasticity import facts
from vgpu.placement import choice
from vgpu_operator.holdings import Holding
from vgpu_operator.view import View

MOST_AT_ONCE = 16
"""Places looked for at most; a loop that wants more finds them at its next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """How many more replicas would find a place and quota; ``short_of`` says what ended the count."""

    count: int
    short_of: values.Reason | None = None
    message: str = ""


class Rooms:
    """The rooms of one pool as they are now; made anew for every decision.

    Where pods wait that grown slices could make way for, the pool is ``contended``: nothing grows there.
    ``lacking_percent`` is what other claims of the pool lacked when they were looked at.
    """

    def __init__(
        self, view: View, pool: values.Pool, *, contended: bool = False, lacking_percent: float = 0.0
    ) -> None:
        self._view = view
        self._pool = pool
        self._contended = contended
        self._lacking_percent = lacking_percent
        self._nodes: dict[str, dict[str, inventory.DeviceRoom]] = {}

    def beside(self, holding: Holding) -> tuple[values.Amounts, int]:
        """What each device of a slice could give on top of what it holds, and what compute others hold."""
        devices = self._devices(holding.node)
        found = [devices[uuid] for uuid in holding.slice.device_uuids if uuid in devices]
        if len(found) < len(holding.slice.device_uuids):
            return values.NOTHING, 0  # a device is gone, sick or cordoned: nothing grows there
        wished = self._wished(holding)
        free = [(each.free - wished[each.uuid]).at_least(values.NOTHING) for each in found]
        others = max(
            each.capacity.compute_percent
            - each.free.compute_percent
            - holding.slice.allocated.compute_percent
            for each in found
        )
        if self._contended:
            return values.NOTHING, max(0, others)
        least = values.Amounts(
            memory_bytes=min(each.memory_bytes for each in free),
            compute_percent=min(each.compute_percent for each in free),
        )
        return least, max(0, others)

    def free_part(self) -> float:
        """The part of the pool's compute that nobody holds, nor waits for."""
        if self._contended:
            return 0.0
        capacity = self._capacity_percent()
        held = sum(each.compute_percent for each in self._view.book.used(self._pool.name).values())
        return max(0.0, 1.0 - held / capacity) if capacity else 0.0

    def lacking_part(self) -> float:
        """The part of the pool's compute that other claims lacked."""
        capacity = self._capacity_percent()
        return self._lacking_percent / capacity if capacity else 0.0

    def _capacity_percent(self) -> int:
        return self._view.membership.totals(self._pool.name).capacity.compute_percent

    def pool_facts(self, claim: values.Claim, *, places: int) -> facts.PoolFacts:
        """The facts of the pool for one claim."""
        left = quota.headroom(
            self._pool, self._view.book.used(self._pool.name), namespace=claim.ref.namespace
        )
        return facts.PoolFacts(
            free=self.free_part(),
            placeable=places,
            lacking=self.lacking_part(),
            quota_percent=None if left is None else max(0, left.compute_percent) // claim.device_count,
            quota_memory_bytes=None if left is None else max(0, left.memory_bytes) // claim.device_count,
        )

    def places(self, request: values.Request, *, at_most: int) -> Places:
        """How many such requests placement and quota would take now, up to ``at_most``."""
        if self._contended:
            return Places(count=0, short_of=values.Reason.NO_FIT, message="pods that wait for room go first")
        most = min(at_most, MOST_AT_ONCE)
        found: list[inventory.Promise] = []
        for node in self._view.book.nodes:
            found += self._on_node(node, request, most - len(found))
            if len(found) >= most:
                break
        return self._within_quota(request, found, most)

    def _within_quota(self, request: values.Request, found: Sequence[inventory.Promise], most: int) -> Places:
        used, extra = self._view.book.used(self._pool.name), values.NOTHING
        for count, promise in enumerate(found):
            extra += promise.total
            verdict = quota.check(self._pool, used, namespace=request.claim.namespace, extra=extra)
            if isinstance(verdict, values.Refusal):
                reason = values.Reason.WAITING_FOR_QUOTA
                return Places(count=count, short_of=reason, message=verdict.message)
        if len(found) >= most:
            return Places(count=len(found))
        message = f"no GPU has {request.requests} free for another replica"
        return Places(count=len(found), short_of=values.Reason.NO_FIT, message=message)

    def _on_node(self, name: str, request: values.Request, most: int) -> list[inventory.Promise]:
        """Up to so many places on one node; which of its devices they take in turn is no matter."""
        promises: list[inventory.Promise] = []
        node = self._view.book.nodes[name]
        while len(promises) < most and name not in self._view.book.silent:
            room = inventory.room(self._pool, node, promises)
            if choice.lack(room, request) is not None:
                break
            uuids = tuple(each.uuid for each in choice.fitting(room, request)[: request.device_count])
            promises.append(
                inventory.Promise(
                    request=replace(request, slice_id=f"{request.slice_id}/{len(promises)}"),
                    node=name,
                    device_uuids=uuids,
                    expires_at=0.0,
                    taken=inventory.taken(self._pool, node, request, uuids),
                )
            )
        return promises

    def _devices(self, node: str) -> Mapping[str, inventory.DeviceRoom]:
        if node not in self._nodes:
            room = inventory.room(self._pool, self._view.book.nodes[node])
            self._nodes[node] = {each.uuid: each for each in room.devices}
        return self._nodes[node]

    def _wished(self, holding: Holding) -> dict[str, values.Amounts]:
        """What others on the slice's devices wish and have not been granted yet."""
        wished = dict.fromkeys(holding.slice.device_uuids, values.NOTHING)
        for other in self._view.book.nodes[holding.node].slices.values():
            if other.wanted is not None and other.id != holding.slice.id:
                for uuid in other.device_uuids:
                    if uuid in wished:
                        wished[uuid] += other.wanted - other.allocated
        return wished
