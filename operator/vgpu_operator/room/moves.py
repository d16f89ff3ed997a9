"""Moves of pods that would make room: proposed, or where the pool says so carried out by evictions.

One node of a pool at a time, every pod by the Eviction API and so as PodDisruptionBudgets allow; only pods
that a controller makes anew and whose rules for nodes we can read. What a budget holds back is left out of
plans for a while. Nothing is lost with the process: what is evicted is evicted, and the rest is planned anew.
"""

import logging
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from vgpu import values
from vgpu.room import changes, moving
from vgpu_kube import crash, errors, logs, resources
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_operator import verdicts, wording
from vgpu_operator.metrics import Metrics
from vgpu_operator.room.wishes import Wish
from vgpu_operator.view import View

BLOCKED_SECONDS = 30.0
"""So long a pod is left out of plans after a budget has kept it."""

SETTLING_SECONDS = 60.0
"""So long after a move the same waiting pod causes no other one: it may take time to use the room."""

LEAVING_SECONDS = 600.0
"""So long the pods of a move may take to leave before others are moved."""

KEPT = frozenset({403, 422, 429, 500})
"""How the API server keeps a pod: 429 by a budget, 500 by more than one, the others by a policy."""

BEFORE_EVICTION = "eviction-before-write"
AFTER_EVICTION = "eviction-after-write"

logger = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class _Move:
    """A move under way; ``left`` are its pods that have not been evicted yet."""

    node: str
    wish: Wish
    began_at: float
    pods: tuple[changes.Move, ...]
    left: list[changes.Move] = field(default_factory=list)


class Mover:
    """Proposes and carries out moves; ``clock`` is monotonic."""

    def __init__(
        self, kube: Kube, view: View, recorder: Recorder, metrics: Metrics, *, clock: Callable[[], float]
    ) -> None:
        self._kube = kube
        self._view = view
        self._recorder = recorder
        self._metrics = metrics
        self._clock = clock
        self._moves: dict[str, _Move] = {}  # pool -> what is under way there
        self._blocked: dict[str, tuple[str, float]] = {}  # pod UID -> pool, until
        self._settling: dict[str, tuple[str, float]] = {}  # UID of a waiting pod -> pool, until
        self._turns: Counter[str] = Counter()  # pool -> how often something has lapsed there
        self._proposed: dict[str, changes.MovePods] = {}  # UID of a waiting pod -> what was told last

    @property
    def busy(self) -> frozenset[str]:
        """The pools where a move goes on."""
        return frozenset(self._moves)

    def turns(self, pool: str) -> int:
        """Another number whenever a move may be tried that was not to be tried before."""
        self._lapse()
        return self._turns[pool]

    def doing(self, pool: str, wish: Wish) -> str:
        """What is being done for a wish, in words; empty where nothing is."""
        move = self._moves.get(pool)
        mine = move is not None and move.wish.request.pod.uid == wish.request.pod.uid
        return _leaving(move) if move is not None and mine else ""

    def mobility(self, pool: str) -> moving.Mobility:
        """Which slices of a pool may be moved, and where to."""
        self._lapse()

        def mobile(slice_: values.Slice) -> moving.Mobile | None:
            return self._mobile(pool, slice_)

        return mobile

    async def consider(self, pool: values.Pool, wish: Wish, plan: moving.Plan) -> str:
        """Proposes a move, or begins it where the pool wants that; returns in words what is done.

        Raises KubeError.
        """
        if pool.moves is values.MovePolicy.PROPOSE:
            await self._propose(wish, plan.moved)
            return ""
        known = self._moves.get(pool.name)
        if known is not None:
            return _leaving(known)
        if wish.request.pod.uid in self._settling:
            return "pods were moved for it; it waits for the room they leave"
        return await self._begin(pool, wish, plan.moved)

    async def go_on(self, pool: str, waiting: Collection[str]) -> None:
        """Ends the move of a pool once its pods have left, and tries again with those that a budget kept.

        ``waiting`` are the UIDs of the pods that wait: for one that does not, nobody is evicted. Raises
        KubeError.
        """
        move = self._moves.get(pool)
        if move is None:
            return
        if move.wish.request.pod.uid in waiting:
            await self._evict_left(pool, move)
        left = {each.pod.uid for each in move.left}
        leaving = [each for each in move.pods if each.pod.uid not in left and self._holds(each)]
        if leaving and self._clock() - move.began_at <= LEAVING_SECONDS:
            return
        del self._moves[pool]
        if not left:
            self._settling[move.wish.request.pod.uid] = pool, self._clock() + SETTLING_SECONDS

    def _holds(self, move: changes.Move) -> bool:
        return self._view.book.slice_of(move.pod.uid) is not None

    def _mobile(self, pool: str, slice_: values.Slice) -> moving.Mobile | None:
        key = (slice_.claim.namespace, slice_.claim.name)
        claim = self._view.claims.items.get(key)
        pod = self._view.pod(key, slice_.id)
        if claim is None or pod is None or claim.meta.deleting or pod.deleting or pod.finished:
            return None
        if claim.claim.gang_pods > 1:  # a member's restart is a restart of all
            return None
        if pod.ref.uid in self._blocked or not (pod.home.replaced and pod.home.readable):
            return None

        def accepts(node: values.Node) -> bool:
            host = self._view.hosts.items.get((None, node.name))
            return host is not None and pod.home.accepts(host)

        return moving.Mobile(request=verdicts.request(claim.claim, pool, pod.ref), accepts=accepts)

    async def _begin(self, pool: values.Pool, wish: Wish, plan: changes.MovePods) -> str:
        """Evicts all pods of a plan if a rehearsal says that each may go."""
        for each in plan.moves:
            if not await self._evict(each, rehearsal=True):
                self._block(pool.name, each)
                return f"a pod on {plan.node} may not be evicted now; its PodDisruptionBudget keeps it"
        move = _Move(
            node=plan.node, wish=wish, began_at=self._clock(), pods=plan.moves, left=list(plan.moves)
        )
        self._moves[pool.name] = move
        await self._evict_left(pool.name, move)
        await self._tell_node(wish, plan, "PodsMoved")
        return _leaving(move)

    async def _evict_left(self, pool: str, move: _Move) -> None:
        for each in list(move.left):
            if await self._evict(each, rehearsal=False):
                move.left.remove(each)
                self._metrics.moves.labels(pool, "evicted").inc()
                pod, waiting = f"{each.claim.namespace}/{each.pod.name}", move.wish.request.pod.name
                logs.event(logger, logging.INFO, "pod moved", pod=pod, node=move.node, waiting=waiting)
                await self._tell_pod(each)
            else:
                self._block(pool, each)

    async def _evict(self, move: changes.Move, *, rehearsal: bool) -> bool:
        """Whether the pod may go, and goes; False where a budget or a policy keeps it.

        Raises KubeError where the API server cannot be asked.
        """
        options = {"preconditions": {"uid": move.pod.uid}, **({"dryRun": ["All"]} if rehearsal else {})}
        name, namespace = move.pod.name, move.claim.namespace
        body: Object = {
            "apiVersion": "policy/v1",
            "kind": "Eviction",
            "metadata": {"name": name, "namespace": namespace},
            "deleteOptions": options,
        }
        try:
            if not rehearsal:
                crash.point(BEFORE_EVICTION)
            await self._kube.create_subresource(resources.PODS, name, "eviction", body, namespace)
        except (errors.NotFound, errors.Conflict):
            return True  # it has gone meanwhile, or one of its name is another one
        except errors.KubeError as error:
            if error.status not in KEPT:
                raise
            logs.event(logger, logging.DEBUG, "pod kept", pod=f"{namespace}/{name}", reason=error)
            return False
        if not rehearsal:
            crash.point(AFTER_EVICTION)
        return True

    def _block(self, pool: str, move: changes.Move) -> None:
        self._turns[pool] += 1  # another pod may be moved in its place
        self._blocked[move.pod.uid] = pool, self._clock() + BLOCKED_SECONDS
        self._metrics.moves.labels(pool, "kept by a budget").inc()

    async def _propose(self, wish: Wish, plan: changes.MovePods) -> None:
        if self._proposed.get(wish.request.pod.uid) != plan:
            self._proposed[wish.request.pod.uid] = plan
            await self._tell_node(wish, plan, "MoveProposed")

    async def _tell_node(self, wish: Wish, plan: changes.MovePods, reason: str) -> None:
        """Names all pods, on an object that tenants cannot read."""
        regarding = {"apiVersion": resources.VGPU_NODES.api_version, "kind": "VGPUNode", "name": plan.node}
        pods = wording.listed(f"{each.claim.namespace}/{each.pod.name} to {each.to}" for each in plan.moves)
        note = f"room for {wish.claim[0]}/{wish.request.pod.name}, by restarting {pods}"
        await self._recorder.record(regarding, EventType.NORMAL, reason, note, "MakeRoom")

    async def _tell_pod(self, move: changes.Move) -> None:
        """Says why a pod went, without naming the one that it made room for."""
        about = {"namespace": move.claim.namespace, "name": move.pod.name, "uid": move.pod.uid}
        regarding = {"apiVersion": "v1", "kind": "Pod", **about}
        note = f"evicted so that a waiting pod fits on its GPU; {move.to} has room for it"
        await self._recorder.record(regarding, EventType.NORMAL, "Moved", note, "MakeRoom")

    def _lapse(self) -> None:
        now = self._clock()
        for lapsing in (self._blocked, self._settling):
            for uid in [uid for uid, (_, until) in lapsing.items() if until <= now]:
                pool, _ = lapsing.pop(uid)
                self._turns[pool] += 1
        if len(self._proposed) > 1000:
            self._proposed.clear()


def _leaving(move: _Move) -> str:
    return f"{wording.counted(len(move.pods), 'pod')} of {move.node} restart elsewhere"
