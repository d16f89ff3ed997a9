"""Preempt: whose end would really make room for the pod.

The stock scheduler counts node totals. Its victims may be spread over GPUs so that the slice fits none of
them even afterwards, and it finds victims for a pod that waits for its quota: they would die for nothing.
So this verb keeps its victims where they help, names others on the same node where those do, and vetoes
the node otherwise. Nothing is promised: the room is given once the victims are gone.
"""

from collections.abc import Iterable, Mapping

from vgpu import holdings, inventory, ledger, quota, reservations, values
from vgpu.placement import choice, eligibility
from vgpu_webhooks.extender import view, wire


class Preempter:
    """Looks at what would be, and changes nothing."""

    def __init__(self, *, seen: view.View) -> None:
        self._view = seen
        self._book = seen.book

    async def victims(self, args: wire.PreemptionArgs) -> dict[str, frozenset[str]]:
        """The victims' UIDs for each node where the pod has a place after them; raises view.Unanswerable."""
        request = await self._view.request_of(args.pod)
        pool = self._book.pools.get(request.pool_name)
        found: dict[str, frozenset[str]] = {}
        if pool is None or self._room_is_coming(pool, request, args.pod.nominated):
            return found
        for name, offered in args.victims.items():
            node = self._book.nodes.get(name)
            if node is None or name in self._book.silent:
                continue
            for victims in (offered, self._others(pool, node, request, offered, args.pod.priority)):
                if self._helps(pool, node, request, victims):
                    found[name] = victims
                    break
        return found

    def _room_is_coming(self, pool: values.Pool, request: values.Request, nominated: str | None) -> bool:
        """Whether earlier victims on the nominated node make the room, which may not be there yet."""
        node = None if nominated is None else self._book.nodes.get(nominated)
        if node is None:
            return False
        holders = (pod.uid for slice_ in node.slices.values() for pod in slice_.pods)
        leaving = frozenset(uid for uid in holders if not self._stays(uid))
        return self._helps(pool, node, request, leaving)

    def _stays(self, uid: str) -> bool:
        pod = self._view.pod(uid)
        return pod is not None and not (pod.deleting or pod.finished)

    def _helps(
        self, pool: values.Pool, node: values.Node, request: values.Request, victims: frozenset[str]
    ) -> bool:
        """Whether the request has a place and the quota for it once the victims are gone."""
        after = ledger.staged(node, ledger.release(node, victims))
        room = inventory.room(pool, after, self._promises(node))
        sides = eligibility.sides(choice.fitting(room, request), request)
        if not sides:
            return False
        used = _used_after(self._book, pool, node, after)
        uuids = [device.uuid for device in sides[0][: request.device_count]]
        extra = inventory.taken(pool, after, request, uuids).times(request.device_count)
        verdict = quota.check(pool, used, namespace=request.claim.namespace, extra=extra)
        return isinstance(verdict, quota.Admitted)

    def _others(
        self,
        pool: values.Pool,
        node: values.Node,
        request: values.Request,
        offered: frozenset[str],
        priority: int,
    ) -> frozenset[str]:
        """Victims that share the fewest and least important GPUs; those that hold no slice stay victims."""
        costs = sorted(
            cost
            for device in inventory.room(pool, node, self._promises(node)).devices
            if eligibility.accepted(device, request)
            and (cost := self._cost(node, device, request, priority)) is not None
        )
        holders = {pod.uid for slice_ in node.slices.values() for pod in slice_.pods}
        chosen = (uid for _, _, uids in costs[: request.device_count] for uid in uids)
        return frozenset(chosen) | (offered - holders)

    def _cost(
        self, node: values.Node, device: inventory.DeviceRoom, request: values.Request, priority: int
    ) -> tuple[int, int, list[str]] | None:
        """The highest priority and the number of the victims that free enough of a device, and their UIDs."""
        free, highest, uids = device.free, -(2**31), list[str]()
        enough = device.capacity if request.constraints.exclusive else request.requests
        for importance, slice_ in sorted(self._lower(node, device.uuid, priority), key=_importance):
            if free.covers(enough):
                break
            charged = inventory.charged(slice_, node.enforced.get(slice_.id))
            free = device.capacity if slice_.exclusive else free + charged
            highest = max(highest, importance)
            uids += [pod.uid for pod in slice_.pods]
        return (highest, len(uids), uids) if free.covers(enough) else None

    def _lower(self, node: values.Node, uuid: str, priority: int) -> Iterable[tuple[int, values.Slice]]:
        """The slices on a device whose pods are all less important, with the highest priority among those."""
        for slice_ in node.slices.values():
            known = [self._view.pod(pod.uid) for pod in slice_.pods]
            importance = max((pod.priority if pod else priority for pod in known), default=priority)
            if uuid in slice_.device_uuids and importance < priority:
                yield importance, slice_

    def _promises(self, node: values.Node) -> list[inventory.Promise]:
        return [each for each in self._book.promises.values() if each.node == node.name]


def _used_after(
    book: reservations.Book, pool: values.Pool, before: values.Node, after: values.Node
) -> Mapping[str, values.Amounts]:
    used = dict(book.used(pool.name))
    left = holdings.usage(after)
    for (pool_name, namespace), amount in holdings.usage(before).items():
        if pool_name == pool.name:
            freed = amount - left.get((pool_name, namespace), values.NOTHING)
            used[namespace] = used.get(namespace, values.NOTHING) - freed
    return used


def _importance(entry: tuple[int, values.Slice]) -> tuple[int, str]:
    return entry[0], entry[1].id
