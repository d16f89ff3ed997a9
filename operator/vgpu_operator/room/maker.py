"""Serves those who wait, pool by pool and one after the other: plan, act, and remember what would help.

Never in the way of placing: it runs in the operator, looks closely at few wishes at a time, and lets others
go first between them.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from vgpu import values
from vgpu.room import moving, returning, scene, whatif
from vgpu_kube.objects import Key
from vgpu_operator import wording
from vgpu_operator.metrics import Metrics
from vgpu_operator.room import explaining
from vgpu_operator.room.moves import Mover
from vgpu_operator.room.reclaim import Reclaimer
from vgpu_operator.room.surveys import Surveys
from vgpu_operator.room.wishes import Finding, Wish, Wishes
from vgpu_operator.view import View

SERVED = 16
"""So many wishes of a pool are planned for in one run, in their order; a millisecond each at 5,000 nodes."""

PROTECTED = 64
"""So many keep growth off the room that they wait for; the rest would be among many who want it."""

EXPLAINED = 2
"""So many are explained in one run, the longest unexplained first; 20 ms each at 5,000 nodes."""

AGAIN_SECONDS = 1.0
"""A wish is explained again at most once in so long."""

Told = Callable[[Wish, Finding], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class _Look:
    """When a wish was explained, and by which room."""

    at: float
    room: int


class RoomMaker:
    """Makes room in one pool at a time; ``told`` hears of news for a wish, ``clock`` is monotonic."""

    def __init__(
        self,
        view: View,
        wishes: Wishes,
        reclaimer: Reclaimer,
        mover: Mover,
        *,
        told: Told,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._view = view
        self._wishes = wishes
        self._reclaimer = reclaimer
        self._mover = mover
        self._told = told
        self._metrics = metrics
        self._clock = clock
        self._contended: dict[str, tuple[Key, ...]] = {}
        self._rooms: Counter[str] = Counter()  # pool -> how often its room has changed
        self._looks: dict[Key, _Look] = {}
        self._surveys = Surveys(view.book)

    def waiting_for(self, pool: str) -> tuple[Key, ...]:
        """The claims that would fit if all slices of a pool were at their floors: nothing may grow there."""
        return self._contended.get(pool, ())

    def room_changed(self, pool: str) -> None:
        """Something about a pool's nodes, slices or quotas is not what it was."""
        self._rooms[pool] += 1

    def node_changed(self, node: str) -> None:
        """A node is new, gone or not what it was."""
        self._surveys.node_changed(node)

    def pool_changed(self, pool: str) -> None:
        """A pool's own spec is not what it was."""
        self._surveys.forget(pool)

    def due(self) -> set[str]:
        """The pools with wishes to be looked at again: room has changed, or a move goes on or may."""
        stale = {wish.request.pool_name for wish in self._wishes if wish.alone and self._stale(wish)}
        return stale | {pool for pool in self._mover.busy if self._wishes.of(pool)}

    def count(self) -> None:
        """Shows how many claims wait, by reason."""
        reasons = Counter((wish.request.pool_name, explaining.reason(wish)) for wish in self._wishes)
        self._metrics.show_waiting(reasons)

    async def reconcile(self, name: str) -> None:
        """One run over the wishes of a pool; raises KubeError."""
        wishes = self._wishes.of(name)
        seen = await self._surveys.fresh(name) if wishes else None
        if seen is None:
            self._surveys.forget(name)
            self._contended.pop(name, None)
            return
        self._contended[name] = await self._contending(name, wishes[:PROTECTED])
        for wish in wishes[:SERVED]:
            await self._reclaim(name, wish)
        await self._mover.go_on(name, {wish.request.pod.uid for wish in wishes})
        for wish in self._to_explain(name, wishes):
            await self._explain(name, wish)

    async def _contending(self, name: str, wishes: list[Wish]) -> tuple[Key, ...]:
        found: list[Key] = []
        for wish in wishes:
            at = await self._scene(name, wish)
            if at is not None and next(at.at_floors(wish.request), None) is not None:
                found.append(wish.claim)
        return tuple(found)

    async def _reclaim(self, name: str, wish: Wish) -> None:
        at = await self._scene(name, wish)
        plan = None if at is None else returning.plan(at, wish.request)
        if at is not None and plan:
            await self._reclaimer.take_back(at, wish, plan)

    def _to_explain(self, name: str, wishes: list[Wish]) -> list[Wish]:
        self._looks = {claim: look for claim, look in self._looks.items() if claim in self._wishes}
        open_ = [wish for wish in wishes if self._stale(wish) or name in self._mover.busy]
        return sorted(open_, key=self._looked_at)[:EXPLAINED]

    def _stale(self, wish: Wish) -> bool:
        look = self._looks.get(wish.claim)
        if look is None or not self._wishes.explained(wish.claim):
            return True
        rested = self._clock() - look.at >= AGAIN_SECONDS
        return rested and look.room != self._room(wish.request.pool_name)

    def _room(self, pool: str) -> int:
        """Another number whenever a look may find something else."""
        return self._rooms[pool] + self._mover.turns(pool)

    def _looked_at(self, wish: Wish) -> float:
        look = self._looks.get(wish.claim)
        return float("-inf") if look is None else look.at

    async def _explain(self, name: str, wish: Wish) -> None:
        """Finds out what would help a wish, and begins a move where the pool wants that."""
        self._looks[wish.claim] = _Look(self._clock(), self._room(name))
        at = await self._scene(name, wish)
        if at is None:
            return
        returns = returning.plan(at, wish.request)
        moves = (
            None
            if at.fits(wish.request) or returns
            else moving.plan(at, wish.request, self._mover.mobility(name))
        )
        progress = under_way(returns or ())
        if moves is not None and at.refusal(wish.request) is None:
            progress = await self._mover.consider(at.pool, wish, moves)
        found = whatif.suggestions(at, wish.request, returns=returns, moves=moves)
        finding = Finding(suggestions=found, progress=progress or self._mover.doing(name, wish))
        if self._wishes.find(wish.claim, finding):
            await self._told(wish, finding)

    async def _scene(self, name: str, wish: Wish) -> scene.Scene | None:
        """The pool as it is now; writes of ours are in it already."""
        seen = await self._surveys.fresh(name)
        pool = self._view.book.pools.get(name)
        if seen is None or pool is None:
            return None

        def accepts(node: values.Node) -> bool:
            host = self._view.hosts.items.get((None, node.name))
            return host is None or wish.home.accepts(host)

        def lends(slice_: values.Slice) -> bool:
            claim = self._view.claims.items.get((slice_.claim.namespace, slice_.claim.name))
            modes = {pool.elasticity, None if claim is None else claim.claim.elasticity}
            return values.ElasticityMode.FIXED not in modes

        used = self._view.book.used(name)
        return scene.Scene(pool=pool, survey=seen, used=used, accepts=accepts, lends=lends)


def under_way(plan: returning.Plan) -> str:
    """What is being returned, in words; empty where nothing is."""
    if not plan:
        return ""
    nodes = wording.named({each.node for each in plan}, "node")
    slices = sum(len(each.returns) for each in plan)
    if not slices:
        return f"growth is being returned on {nodes}"
    amount = sum((each.amount for each in plan), values.NOTHING)
    return f"{wording.counted(slices, 'slice')} on {nodes} shall return {amount} of growth"
