"""Whatever is suggested, once it is done, lets the request in: held by the code that places."""

import itertools
from collections.abc import Iterable
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import inventory, ledger, reservations, values
from vgpu.placement import choice
from vgpu.room import changes, growth, moving, returning, scene, survey, whatif

NOW = 0.0


@st.composite
def slices(draw: st.DrawFn, uuids: list[str], number: int) -> tuple[values.Slice, values.Enforced | None]:
    """A slice between its bounds, and a node that has confirmed it, or not yet, or waits for memory."""
    floor = make.amounts(draw(st.integers(1, 20)), draw(st.integers(1, 30)))
    grown = floor + make.amounts(draw(st.sampled_from([0, 0, 8, 20])), draw(st.sampled_from([0, 0, 20, 40])))
    held = draw(st.sampled_from([0, 0, 6]))
    count = draw(st.integers(1, len(uuids)))
    slice_ = make.slice_(
        f"pod-{number}",
        uuids=tuple(draw(st.permutations(uuids))[:count]),
        requests=floor,
        allocated=grown,
        limits=make.amounts(80, 100),
        held_gib=grown.memory_bytes / make.GIB + held,
        revision=3,
        claim=make.claim_ref(f"claim-{number}", draw(st.sampled_from(["team-a", "team-b"]))),
    )
    slice_ = replace(slice_, priority=draw(st.integers(-1, 1)))
    if draw(st.booleans()):
        return slice_, None
    report = make.enforced(grown.memory_bytes / make.GIB + held, grown.compute_percent, revision=3)
    return slice_, report


@st.composite
def nodes(draw: st.DrawFn, number: int) -> values.Node:
    """A node of two devices that holds no more than there is."""
    name = f"node-{number}"
    uuids = [f"GPU-{number}-0", f"GPU-{number}-1"]
    node = make.node(name, devices=[make.device(uuid) for uuid in uuids], revision=5)
    for index in range(draw(st.integers(0, 5))):
        slice_, report = draw(slices(uuids, 10 * number + index))
        enforced = {**node.enforced, **({slice_.id: report} if report else {})}
        fuller = replace(node, slices={**node.slices, slice_.id: slice_}, enforced=enforced)
        room = inventory.room(make.pool(), fuller)
        if all(device.free.covers(values.NOTHING) for device in room.devices):
            node = fuller
    return replace(node, cordoned_devices=frozenset(draw(st.sets(st.sampled_from(uuids)))))


@st.composite
def clusters(draw: st.DrawFn) -> tuple[values.Pool, list[values.Node]]:
    quotas = {
        name: values.Quota(
            nominal=make.amounts(draw(st.integers(0, 200)), draw(st.integers(0, 300))),
            borrowing_limit=draw(st.sampled_from([None, values.NOTHING, make.amounts(40, 50)])),
        )
        for name in draw(st.sets(st.sampled_from(["team-a", "team-b"])))
    }
    pool = make.pool(quotas=draw(st.sampled_from([None, quotas])))
    return pool, [draw(nodes(number)) for number in range(draw(st.integers(0, 3)))]


requests = st.builds(
    lambda gib, percent, count, priority: replace(
        make.request("waits", requests=make.amounts(gib, percent), device_count=count), priority=priority
    ),
    st.integers(1, 80),
    st.integers(1, 100),
    st.integers(1, 2),
    st.integers(-1, 1),
)


def mobility(slice_: values.Slice) -> moving.Mobile:
    pod = values.PodRef(name=slice_.pods[0].name, uid=f"{slice_.id}-again")
    request = values.Request(
        slice_id=pod.uid,
        pool_name=slice_.pool_name,
        claim=slice_.claim,
        pod=pod,
        device_count=len(slice_.device_uuids),
        requests=slice_.requests,
        limits=slice_.limits,
        priority=slice_.priority,
    )
    return moving.Mobile(request=request, accepts=lambda node: node.name != "node-2")


def asked_of(pool: values.Pool, found: list[values.Node]) -> scene.Scene:
    seen = survey.Survey(lambda node: inventory.room(pool, node))
    for node in found:
        seen.see(node)
    return scene.Scene(pool=pool, survey=seen, used=book_of(pool, found).used(pool.name))


def book_of(pool: values.Pool, found: list[values.Node]) -> reservations.Book:
    book = reservations.Book()
    book.see_pool(pool)
    for node in found:
        book.see_node(node)
    return book


def suggested(at: scene.Scene, request: values.Request) -> tuple[changes.Suggestion, ...]:
    full = next(at.survey.roomy(request), None) is None
    moves = moving.plan(at, request, mobility) if full else None
    return whatif.suggestions(at, request, returns=returning.plan(at, request), moves=moves)


def confirmed(node: values.Node) -> values.Node:
    """The node when its agent has seen everything; what applications held on to they still hold."""
    reports = {}
    for slice_ in node.slices.values():
        known = node.enforced.get(slice_.id)
        held_on = 0
        if known is not None and known.memory_bytes > make.amounts(0).memory_bytes:
            held_on = known.memory_bytes if known.state is values.EnforcementState.SHRINKING else 0
        reports[slice_.id] = values.Enforced(
            memory_bytes=max(slice_.allocated.memory_bytes, held_on),
            compute_percent=slice_.allocated.compute_percent,
            revision=node.revision,
        )
    return replace(node, enforced=reports)


class World:
    """A cluster in which suggestions are carried out."""

    def __init__(self, pool: values.Pool, found: list[values.Node], request: values.Request) -> None:
        self.pool = pool
        self.nodes = {node.name: holding_on(node) for node in found}
        self.request = request

    def do(self, change: changes.Change) -> None:
        match change:
            case changes.Uncordon(node=name, device_uuids=uuids):
                node = self.nodes[name]
                self._write(name, ledger.cordon(node, node.cordoned_devices.difference(uuids)))
            case changes.ReturnShares(node=name, returns=returns):
                for share in returns:
                    self._write(name, ledger.shrink(self.nodes[name], share.slice_id, share.allocated))
                self.nodes[name] = confirmed(self.nodes[name])
            case changes.MovePods(node=name, moves=moves):
                for move in moves:
                    self._move(name, move)
            case changes.MoreQuota(namespace=namespace, amount=amount):
                self._raise(namespace, amount)
            case _:
                self._ask(change)

    def places(self) -> bool:
        book = book_of(self.pool, list(self.nodes.values()))
        return isinstance(book.place(self.request, self.nodes, now=NOW), choice.Placement)

    def _ask(self, change: changes.LessMemory | changes.LessCompute | changes.FewerDevices) -> None:
        asked = self.request
        match change:
            case changes.LessMemory(memory_bytes=memory_bytes):
                less = replace(asked.requests, memory_bytes=memory_bytes)
                self.request = replace(asked, requests=less)
            case changes.LessCompute(compute_percent=percent):
                less = replace(asked.requests, compute_percent=percent)
                self.request = replace(asked, requests=less)
            case changes.FewerDevices(device_count=count):
                self.request = replace(asked, device_count=count)

    def _raise(self, namespace: str, amount: values.Amounts) -> None:
        known = (self.pool.quotas or {}).get(
            namespace, values.Quota(nominal=values.NOTHING, borrowing_limit=values.NOTHING)
        )
        raised = replace(known, nominal=known.nominal + amount)
        self.pool = replace(self.pool, quotas={**(self.pool.quotas or {}), namespace: raised})

    def _move(self, name: str, move: changes.Move) -> None:
        slice_ = self.nodes[name].slices[move.pod.uid]
        self._write(name, ledger.release(self.nodes[name], {move.pod.uid}))
        mobile = mobility(slice_)
        assert mobile.accepts(self.nodes[move.to])
        placed = book_of(replace(self.pool, quotas=None), list(self.nodes.values())).place(
            mobile.request, [move.to], now=NOW
        )
        assert isinstance(placed, choice.Placement)
        self._write(move.to, ledger.hold(self.pool, self.nodes[move.to], mobile.request, placed.device_uuids))

    def _write(self, name: str, change: ledger.Change | values.Refusal) -> None:
        assert isinstance(change, ledger.Change)
        self.nodes[name] = ledger.applied(self.nodes[name], change)


def holding_on(node: values.Node) -> values.Node:
    """The node with reports that say where an application holds on to memory."""
    shrinking = values.EnforcementState.SHRINKING
    reports = {
        id_: replace(report, state=shrinking)
        if report.memory_bytes > node.slices[id_].allocated.memory_bytes
        else report
        for id_, report in node.enforced.items()
    }
    return replace(node, enforced=reports)


@given(cluster=clusters(), request=requests)
def test_every_suggestion_once_done_lets_the_request_in(
    cluster: tuple[values.Pool, list[values.Node]], request: values.Request
) -> None:
    pool, found = cluster
    if World(pool, found, request).places():
        return

    for suggestion in suggested(asked_of(pool, found), request):
        world = World(pool, found, request)
        for change in suggestion.changes:
            world.do(change)
        assert world.places(), str(suggestion)


@given(cluster=clusters(), request=requests)
def test_no_return_goes_below_a_floor_and_every_return_is_needed(
    cluster: tuple[values.Pool, list[values.Node]], request: values.Request
) -> None:
    pool, found = cluster
    at = asked_of(pool, found)

    for shares in returning.plan(at, request) or ():
        node = at.survey[shares.node].node
        for each in shares.returns:
            assert each.allocated.covers(node.slices[each.slice_id].requests)
            assert each.amount != values.NOTHING
    (here, *_) = returning.plan(at, request) or (None,)
    if here is not None and here.returns and at.refusal(request) is None:
        assert not survey.fits(at.survey.read(survey.settled(at.survey[here.node].node)), request)


@given(cluster=clusters(), request=requests)
def test_moves_spare_higher_priorities_and_are_few(
    cluster: tuple[values.Pool, list[values.Node]], request: values.Request
) -> None:
    pool, found = cluster
    at = asked_of(pool, found)

    plan = moving.plan(at, request, mobility)

    if plan is not None:
        moved = [at.survey[plan.moved.node].node.slices[each.pod.uid] for each in plan.moved.moves]
        assert len(moved) <= moving.MOST
        assert all(slice_.priority <= request.priority for slice_ in moved)


@given(node=nodes(0), request=requests)
def test_no_cheaper_choice_of_slices_spares_a_higher_priority(
    node: values.Node, request: values.Request
) -> None:
    at = asked_of(make.pool(), [node])
    gifts = list(growth.of(node, lambda _: True))

    shares = returning.on_node(at, node, request)

    enough = [
        chosen
        for count in range(min(len(gifts), 4) + 1)
        for chosen in itertools.combinations(gifts, count)
        if survey.fits(at.survey.read(growth.without(node, chosen)), request)
    ]
    if shares is None:
        assert not enough
    elif enough:
        best = min(_highest(gift.slice.priority for gift in chosen) for chosen in enough)
        assert _highest(each.priority for each in shares.returns) <= best


def _highest(priorities: Iterable[int]) -> int:
    return max(priorities, default=-2)
