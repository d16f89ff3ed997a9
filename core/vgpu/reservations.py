"""Who is promised what: the placing process's own view of all nodes, pools and promises.

The book is fed with nodes and pools as the cluster shows them and answers one pod at a time. A promise keeps
devices for a request from the moment they are chosen until the ledger has the slice, so that the next pod
does not count on them. Writing the ledger, and knowing whether that worked, is the caller's.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from vgpu import boards, holdings, inventory, ledger, promises, quota, values
from vgpu.placement import board, choice, explain, mix, policies

AHEAD_NODES = 64
"""So many nodes with pods that are leaving are looked at; 0.1 ms each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The ledger already holds the request's slice on a node that is not offered: release it there first."""

    node: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Partly:
    """Of requests that start together only ``placed`` had a place, so none has; ``why`` the next had none."""

    placed: int
    asked: int
    why: choice.NoFit | values.Refusal | Elsewhere


class Book:
    """Nodes, pools and promises of one placing process. Time comes in as ``now`` (seconds, any clock)."""

    def __init__(self, *, promise_seconds: float = 30.0) -> None:
        self._promise_seconds = promise_seconds
        self._pools: dict[str, values.Pool] = {}
        self._holdings = holdings.Holdings()
        self._promises = promises.Promises()
        self._boards = boards.Boards(self._room_if_there)
        self._silent: frozenset[str] = frozenset()
        self._eased = 0

    @property
    def nodes(self) -> Mapping[str, values.Node]:
        """The nodes as last seen, by name."""
        return self._holdings.nodes

    @property
    def pools(self) -> Mapping[str, values.Pool]:
        """The pools as last seen, by name."""
        return self._pools

    @property
    def promises(self) -> Mapping[str, inventory.Promise]:
        """The live promises by slice id."""
        return self._promises.by_slice

    @property
    def eased(self) -> int:
        """Grows whenever room or quota may have appeared: a no stays a no until then."""
        return self._eased

    def see_node(self, node: values.Node) -> None:
        """Take in a node as the cluster shows it; an older revision than the one known is ignored."""
        known = self.nodes.get(node.name)
        if known is not None and node.revision < known.revision:
            return
        self._eased += known is None or _eases(known, node)
        self._holdings.see(node)
        for slice_id in node.slices:
            self._withdraw(slice_id)  # the ledger has what was promised
        self._learn(known, node)
        self._boards.touch(node.name)

    def forget_node(self, name: str) -> None:
        """A node is gone, and its slices with it."""
        self._holdings.forget(name)
        self._eased += 1
        self._boards.touch(name)

    @property
    def silent(self) -> frozenset[str]:
        """The nodes whose agents are silent, as last seen."""
        return self._silent

    def see_silent(self, names: Collection[str]) -> frozenset[str]:
        """Take in which nodes' agents are silent now, and return those that fell silent or speak again.

        Silent nodes take nothing new; what they hold stays.
        """
        silent = frozenset(names)
        changed = self._silent ^ silent
        for name in changed:
            self._boards.touch(name)
        self._eased += not self._silent <= silent
        self._silent = silent
        return changed

    def see_pool(self, pool: values.Pool) -> None:
        """Take in a pool; where it has changed in more than quotas, its rooms are read anew."""
        known = self._pools.get(pool.name)
        self._pools[pool.name] = pool
        if known is None or replace(known, quotas=pool.quotas) != pool:
            self._boards.renew(pool.name)
        self._eased += 1

    def forget_pool(self, name: str) -> None:
        """A pool is gone; its slices stay in the ledger until their pods go."""
        self._pools.pop(name, None)
        self._boards.forget(name)

    def slice_of(self, pod_uid: str) -> tuple[values.Node, values.Slice] | None:
        """The node and slice that hold this pod in the ledger."""
        return self._holdings.of_pod(pod_uid)

    def used(self, pool_name: str) -> Mapping[str, values.Amounts]:
        """What each namespace holds of a pool: totals of slices in the ledger and of promises."""
        totals = self._holdings.used(pool_name)
        holdings.add(totals, self._promises.totals(pool_name))
        return totals

    def place(
        self, request: values.Request, offered: Collection[str] | None, *, now: float
    ) -> choice.Placement | choice.NoFit | values.Refusal | Elsewhere:
        """Choose a place among the offered nodes, None being all, and promise it.

        Asked again, the answer stays.
        """
        self.expire(now)
        held = self._holdings.slice(request.slice_id)
        if held is not None:
            return _standing(request, *held, offered)
        promise = self.promises.get(request.slice_id)
        if promise is None:
            return self._place_anew(request, offered, now=now)
        stays = offered is None or promise.node in offered
        if not stays and promise.request.pod != request.pod:
            return choice.NoFit(reasons=dict.fromkeys(offered or (), explain.SLICE_ELSEWHERE))
        self._withdraw(request.slice_id)
        if stays and self._still_holds(promise, request):
            return self._promise(request, promise.node, promise.device_uuids, now=now)
        self._eased += not promise.ahead
        return self._place_anew(request, offered, now=now)

    def place_together(
        self, asked: Sequence[tuple[values.Request, Collection[str] | None]], *, now: float
    ) -> dict[str, choice.Placement] | Partly:
        """A place by slice id for each of one claim's requests among its offered nodes, or for none of them.

        The quota has to admit all together. Earlier promises to them are taken back in any case.
        """
        self.expire(now)
        eased = self._eased
        for request, _ in asked:
            self._withdraw(request.slice_id)
        found: dict[str, choice.Placement] = {}
        why: choice.NoFit | values.Refusal | Elsewhere | None = self.over_quota(
            [request for request, _ in asked]
        )
        for request, offered in asked if why is None else ():
            answer = self.place(request, offered, now=now)
            if not isinstance(answer, choice.Placement):
                why = answer
                break
            found[request.slice_id] = answer
        if why is not None:
            for slice_id in found:
                self._withdraw(slice_id)
            self._eased = eased  # all is as it was
            return Partly(placed=len(found), asked=len(asked), why=why)
        return found

    def promise_ahead(
        self,
        request: values.Request,
        offered: Collection[str] | None,
        leaving: Collection[str],
        *,
        now: float,
    ) -> choice.Placement | None:
        """Keep for a request that fits nowhere what pods on their way out will free; None where too little.

        ``leaving`` are the pods' UIDs. Nobody else gets that room; ``place`` gives it once it is there.
        """
        pool = self._pools.get(request.pool_name)
        held = {on[0].name for uid in leaving if (on := self.slice_of(uid)) is not None} - self._silent
        names = sorted(held if offered is None else held.intersection(offered))
        if pool is None or self.over_quota([request]) is not None:
            return None
        after = (self._room_after(pool, name, leaving) for name in names[:AHEAD_NODES])
        found = choice.place(request, after, policies.of(pool.strategy))
        if isinstance(found, choice.NoFit):
            return None
        return self._promise(request, found.node, found.device_uuids, now=now, ahead=True)

    def withdraw_ahead(self) -> frozenset[str]:
        """Take back all promises of room that is not there yet, to be made anew in order; their slice ids."""
        ahead = frozenset(slice_id for slice_id, promise in self.promises.items() if promise.ahead)
        for slice_id in ahead:
            self._withdraw(slice_id)
        return ahead

    def over_quota(self, asked: Sequence[values.Request]) -> values.Refusal | None:
        """Why their namespace may not have all of these besides what it holds, None where it may."""
        new = [request for request in asked if request.slice_id not in self._holdings]
        pool = self._pools.get(new[0].pool_name) if new else None
        if pool is None:
            return None
        total = sum((request.requests.times(request.device_count) for request in new), values.NOTHING)
        namespace = new[0].claim.namespace
        verdict = quota.check(pool, self.used(pool.name), namespace=namespace, extra=total)
        return verdict if isinstance(verdict, values.Refusal) else None

    def grant(self, slice_id: str) -> ledger.Change | values.Refusal:
        """Decide a slice's wish to grow, by quota and by device; promises count as given.

        A granted growth counts against the quota at once, until the node shows it or ``settle`` is called.
        """
        found = self._holdings.slice(slice_id)
        if found is None or found[1].wanted is None:
            return values.Refusal(reason=values.Reason.NOT_HELD, message=f"slice {slice_id} has no open wish")
        node, slice_ = found
        pool = self._pools.get(slice_.pool_name)
        if pool is None:
            return _no_pool(slice_.pool_name)
        extra = _growth(node, slice_)
        namespace = slice_.claim.namespace
        verdict = quota.check(pool, self.used(pool.name), namespace=namespace, extra=extra)
        if isinstance(verdict, values.Refusal):
            return verdict
        change = ledger.grant(pool, node, slice_id, self._promises.on(node.name))
        if isinstance(change, ledger.Change):
            self._holdings.grow(slice_id, pool.name, namespace, extra)
        return change

    def settle(self, slice_id: str) -> None:
        """The growth of a slice is not under way any more: written and seen, or given up."""
        self._holdings.settle(slice_id)

    def cancel(self, slice_id: str) -> None:
        """Take back a promise, if there is one."""
        if slice_id in self.promises:
            self._withdraw(slice_id)
            self._eased += slice_id not in self._holdings  # else the ledger holds now what it kept

    def _withdraw(self, slice_id: str) -> None:
        promise = self._promises.pop(slice_id)
        if promise is not None:
            self._boards.touch(promise.node)

    def expire(self, now: float) -> None:
        """Take back promises that nobody has claimed in time."""
        for slice_id in self._promises.due(now):
            self.cancel(slice_id)

    def wishes(self) -> list[str]:
        """The slices that wish to grow, the highest priority first."""
        slices = [slice_ for slice_ in self._holdings if slice_.wanted]
        return [slice_.id for slice_ in sorted(slices, key=lambda slice_: (-slice_.priority, slice_.id))]

    def prepare(self, *, now: float) -> None:
        """Read all rooms now, so that the first pods need not wait for that."""
        for pool in self._pools.values():
            self._board(pool, now=now)

    def expected(self, pool_name: str, *, now: float) -> mix.Mix:
        """What a pool will be asked for, as far as its slices and the requests so far tell."""
        return self._boards.expected(pool_name, now=now)

    def room(self, pool: values.Pool, name: str) -> inventory.NodeRoom:
        """The room of one node for a pool, promises taken off; none where its agent is silent."""
        if name in self._silent:
            return inventory.silent_room(name)
        return inventory.room(pool, self.nodes[name], self._promises.on(name))

    def _room_after(self, pool: values.Pool, name: str, leaving: Collection[str]) -> inventory.NodeRoom:
        """The room of a node without the pods that are leaving it."""
        node = self.nodes[name]
        left = ledger.staged(node, ledger.release(node, leaving))
        return inventory.room(pool, left, self._promises.on(name))

    def _place_anew(
        self, request: values.Request, names: Collection[str] | None, *, now: float
    ) -> choice.Placement | choice.NoFit | values.Refusal:
        pool = self._pools.get(request.pool_name)
        if pool is None:
            return _no_pool(request.pool_name)
        refusal = self.over_quota([request])
        if refusal is not None:
            return refusal
        self._boards.demand(pool.name).ask(request)
        found = _roomy(self._board(pool, now=now), request, names)
        if isinstance(found, choice.NoFit):
            return found
        taken = inventory.taken(pool, self.nodes[found.node], request, found.device_uuids)
        if taken != request.requests:  # which devices an exclusive request takes whole is known only now
            refusal = self.over_quota([replace(request, requests=taken)])
        return refusal or self._promise(request, found.node, found.device_uuids, now=now)

    def _promise(
        self,
        request: values.Request,
        node: str,
        device_uuids: tuple[str, ...],
        *,
        now: float,
        ahead: bool = False,
    ) -> choice.Placement:
        pool = self._pools[request.pool_name]
        self._promises.add(
            inventory.Promise(
                request=request,
                node=node,
                device_uuids=device_uuids,
                expires_at=now + self._promise_seconds,
                taken=inventory.taken(pool, self.nodes[node], request, device_uuids),
                ahead=ahead,
            )
        )
        self._boards.touch(node)
        return choice.Placement(node=node, device_uuids=device_uuids)

    def _still_holds(self, promise: inventory.Promise, request: values.Request) -> bool:
        """Whether a promise answers the request as it is now: same ask, devices usable and with room."""
        pool = self._pools.get(request.pool_name)
        if pool is None or replace(promise.request, pod=request.pod) != request:
            return False
        if promise.node not in self.nodes:
            return False
        fits = choice.fitting(self.room(pool, promise.node), request)
        return {device.uuid for device in fits}.issuperset(promise.device_uuids)

    def _board(self, pool: values.Pool, *, now: float) -> board.Board:
        """The pool's board, brought up to date where nodes, promises or what to expect have changed."""
        return self._boards.board(pool, self.nodes, now=now)

    def _room_if_there(self, pool: values.Pool, name: str) -> inventory.NodeRoom | None:
        return self.room(pool, name) if name in self.nodes else None

    def _learn(self, known: values.Node | None, node: values.Node) -> None:
        """Counts the slices that are new in the ledger; all of them, where the node is."""
        before = known.slices if known is not None else {}
        for slice_id, slice_ in node.slices.items():
            if slice_id not in before:
                self._boards.demand(slice_.pool_name).hold(slice_)


def _roomy(
    table: board.Board, request: values.Request, names: Collection[str] | None
) -> choice.Placement | choice.NoFit:
    """The best place where the slice can grow, or the best of all where it can nowhere."""
    if request.grown is not None:
        found = table.place(replace(request, requests=request.grown), names)
        if isinstance(found, choice.Placement):
            return found
    return table.place(request, names)


def _standing(
    request: values.Request, node: values.Node, slice_: values.Slice, offered: Collection[str] | None
) -> choice.Placement | choice.NoFit | Elsewhere:
    """The answer for a request whose slice the ledger has: there, or nowhere while others live in it."""
    if offered is None or node.name in offered:
        return choice.Placement(node=node.name, device_uuids=slice_.device_uuids)
    if any(pod != request.pod for pod in slice_.pods):
        return choice.NoFit(reasons=dict.fromkeys(offered, explain.SLICE_ELSEWHERE))
    return Elsewhere(node=node.name)


def _eases(known: values.Node, node: values.Node) -> bool:
    """Whether something may fit now that did not before."""
    if (known.devices, known.labels, known.cordoned_devices) != (
        node.devices,
        node.labels,
        node.cordoned_devices,
    ):
        return True
    after = inventory.charges(node)
    return any(
        not after.get(uuid, values.NOTHING).covers(amount)
        for uuid, amount in inventory.charges(known).items()
    )


def _growth(node: values.Node, slice_: values.Slice) -> values.Amounts:
    """What granting the wish adds to what the slice is charged, in total over its devices."""
    charged = inventory.charged(slice_, node.enforced.get(slice_.id))
    wanted = slice_.wanted or slice_.allocated
    return (wanted - charged).at_least(values.NOTHING).times(len(slice_.device_uuids))


def _no_pool(name: str) -> values.Refusal:
    return values.Refusal(reason=values.Reason.POOL_NOT_FOUND, message=f"there is no VGPUPool {name}")
