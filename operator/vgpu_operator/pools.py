"""Pools: facts from the view, a status from ``pool_status``, written by the publisher.

Also what a deletion waits for: the pool's slices.
"""

from collections.abc import Callable

from vgpu_operator import known, pool_status
from vgpu_operator.metrics import Metrics
from vgpu_operator.publishing import Publisher
from vgpu_operator.view import View
from vgpu_operator.wording import counted


class Pools:
    """Reconciles one pool at a time; ``now`` is the wall clock, in seconds since the epoch."""

    def __init__(
        self, view: View, publisher: Publisher, metrics: Metrics, *, now: Callable[[], float]
    ) -> None:
        self._view = view
        self._publisher = publisher
        self._metrics = metrics
        self._now = now

    async def reconcile(self, name: str) -> None:
        """Brings the status of one pool to what is there; raises KubeError where it cannot be written."""
        pool = self._view.pools.items.get((None, name))
        if pool is None:
            self._metrics.forget_pool(name)
            return
        with self._metrics.reconciles.labels("VGPUPool").time():
            facts = self._facts(pool)
            self._metrics.show_pool(facts)
            fields, says = pool_status.fields(facts), pool_status.conditions_of(facts)
            await self._publisher.publish(pool.meta, pool.status, fields, says)

    def in_use(self, name: str) -> str | None:
        """Why a pool cannot go yet, None where it can."""
        slices = self._view.holdings.in_pool(name)
        if not slices:
            return None
        return f"pool {name} still has {counted(slices, 'slice')}; it goes when the last of them is released"

    def _facts(self, pool: known.Pool) -> pool_status.Facts:
        view, name = self._view, pool.meta.name
        nodes = {node: view.nodes.items[(None, node)].heartbeat_at for node in view.membership.parts(name)}
        return pool_status.Facts(
            pool=pool.pool,
            totals=view.membership.totals(name),
            silent=pool_status.silent_nodes(nodes, now=self._now()),
            overlaps=view.membership.overlaps(name),
            used=view.book.used(name),
            bound=view.census.bound(name),
            pending=view.census.pending(name),
            slices=view.holdings.in_pool(name),
            deleting=pool.meta.deleting,
        )
