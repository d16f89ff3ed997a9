"""Preempt: which of kube-scheduler's victims would really make room for the pod.

The stock scheduler counts node totals, so it may choose victims for a pod that waits for its quota, or whose
slice would fit no single GPU even afterwards; they would die for nothing, again and again. It needs this
verb only as a veto: here nobody is ever added to the victims, and what the victims free is believed once
they are gone. Without the verb everything works, only less kindly.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from vgpu import inventory, quota, reservations, values
from vgpu.placement import choice
from vgpu_webhooks.extender import view, wire


class Preempter:
    """Looks at what would be, and changes nothing."""

    def __init__(self, *, seen: view.View) -> None:
        self._view = seen

    async def useful(self, args: wire.PreemptionArgs) -> list[str]:
        """The nodes on which the pod has a place once the victims are gone; raises view.Unanswerable."""
        request = await self._view.request_of(args.pod)
        return list(_useful(self._view.book, request, args.victims))


def _useful(
    book: reservations.Book, request: values.Request, victims: Mapping[str, frozenset[str]]
) -> Iterator[str]:
    pool = book.pools.get(request.pool_name)
    for name, uids in victims.items():
        node = book.nodes.get(name)
        if pool is not None and node is not None and _would_fit(book, pool, node, request, uids):
            yield name


def _would_fit(
    book: reservations.Book,
    pool: values.Pool,
    node: values.Node,
    request: values.Request,
    victims: frozenset[str],
) -> bool:
    left = {
        id_: slice_
        for id_, slice_ in node.slices.items()
        if not victims.issuperset(pod.uid for pod in slice_.pods)
    }
    after = replace(node, slices=left)
    promises = [each for each in book.promises.values() if each.node == node.name]
    room = inventory.room(pool, after, promises)
    return len(choice.fitting(room, request)) >= request.device_count and _within_quota(
        book, pool, node, after, request
    )


def _within_quota(
    book: reservations.Book,
    pool: values.Pool,
    before: values.Node,
    after: values.Node,
    request: values.Request,
) -> bool:
    used = dict(book.used(pool.name))
    freed = _held(before, pool.name)
    for namespace, amount in _held(after, pool.name).items():
        freed[namespace] = freed[namespace] - amount
    for namespace, amount in freed.items():
        used[namespace] = used.get(namespace, values.NOTHING) - amount
    extra = request.requests.times(request.device_count)
    verdict = quota.check(pool, used, namespace=request.claim.namespace, extra=extra)
    return isinstance(verdict, quota.Admitted)


def _held(node: values.Node, pool_name: str) -> dict[str, values.Amounts]:
    usage = reservations.usage(node).items()
    return {namespace: amount for (pool, namespace), amount in usage if pool == pool_name}
