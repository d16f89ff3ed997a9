"""What must always hold, over random sequences of everything that can happen.

One API server with compare-and-swap, one placing process that crashes, one operator and one agent per node
that all act on old views; after every step the true state is held to the five invariants of the ledger.
"""

from collections import deque
from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

import builders as make
from vgpu import inventory, ledger, reservations, values
from vgpu.placement import choice

NODES = ("node-0", "node-1")
QUOTAS = {
    "team-a": values.Quota(nominal=make.amounts(24, 90), borrowing_limit=make.amounts(24, 60)),
    "team-b": values.Quota(nominal=make.amounts(120, 240), borrowing_limit=make.amounts(0, 0)),
}
POOL = make.pool(quotas=QUOTAS, compute_overcommit=150, reserved_gib=2, strategy=values.Strategy.SPREAD)

sizes = st.builds(make.amounts, st.sampled_from([24, 4]), st.sampled_from([10, 60]))
growths = st.builds(make.amounts, st.sampled_from([40, 4, 0]), st.sampled_from([90, 10, 0]))


@dataclass(slots=True)
class Pod:
    """A pod as the API server has it; ``node`` is set by the Binding alone."""

    request: values.Request
    node: str | None = None
    gone: bool = False


class Platform(RuleBasedStateMachine):
    """The true state, and four kinds of actors that know only what has reached them."""

    def __init__(self) -> None:
        super().__init__()
        self.truth: dict[str, values.Node] = {}
        self.pods: list[Pod] = []
        self.in_force: dict[str, values.Amounts] = {}
        self.watch: deque[values.Node] = deque()
        self.operator_view: dict[str, values.Node] = {}
        self.agent_view: dict[str, values.Node] = {}
        self.now = 0.0
        self.book = reservations.Book(promise_seconds=30)

    @initialize()
    def start(self) -> None:
        for name in NODES:
            devices = [make.device(f"{name}-gpu-{index}", gib=50) for index in range(2)]
            self.truth[name] = make.node(name, devices=devices)
        self.operator_view = dict(self.truth)
        self.agent_view = dict(self.truth)
        self.restart_extender()

    # The API server.

    def write(self, change: ledger.Change) -> bool:
        """Compare-and-swap; the writer learns the outcome, everybody else in their own time."""
        node = self.truth[change.node]
        if change.revision != node.revision:
            self.book.see_node(node)
            return False
        self.store(ledger.applied(node, change))
        return True

    def store(self, node: values.Node) -> None:
        self.truth[node.name] = node
        self.watch.append(node)

    # Users.

    @rule(
        namespace=st.sampled_from(sorted(QUOTAS)),
        size=sizes,
        count=st.sampled_from([1, 1, 1, 2]),
        shared=st.booleans(),
    )
    def create_pod(self, namespace: str, size: values.Amounts, count: int, shared: bool) -> None:
        name = f"pod-{len(self.pods)}"
        claim = make.claim_ref(f"shared-{size}-{count}" if shared else name, namespace)
        ask = make.request(
            name,
            requests=size,
            limits=size + make.amounts(40, 90),
            claim=claim,
            device_count=count,
            slice_id=claim.uid if shared else name,
        )
        self.pods.append(Pod(request=ask))

    @precondition(lambda self: any(not pod.gone for pod in self.pods))
    @rule(data=st.data())
    def end_pod(self, data: st.DataObject) -> None:
        pod = data.draw(st.sampled_from([pod for pod in self.pods if not pod.gone]))
        pod.gone = True
        if all(other.gone or other.node is None for other in self._tenants(pod.request.slice_id)):
            self.in_force.pop(pod.request.slice_id, None)

    # Whole ways that succeed, so that short sequences reach full devices and spent quotas.

    @rule(namespace=st.sampled_from(sorted(QUOTAS)), size=sizes)
    def run_pod(self, namespace: str, size: values.Amounts) -> None:
        self.create_pod(namespace, size, 1, False)
        pod = self.pods[-1]
        answer = self.book.place(pod.request, NODES, now=self.now)
        if isinstance(answer, choice.Placement) and self._hold(pod, answer.node):
            pod.node = answer.node

    @rule(namespace=st.sampled_from(sorted(QUOTAS)), size=sizes)
    def promise_pod(self, namespace: str, size: values.Amounts) -> None:
        self.create_pod(namespace, size, 1, False)
        self.book.place(self.pods[-1].request, NODES, now=self.now)

    @precondition(lambda self: any(node.slices for node in self.truth.values()))
    @rule(data=st.data(), by=growths, delivered=st.sampled_from([False, False, True]))
    def grow(self, data: st.DataObject, by: values.Amounts, delivered: bool) -> None:
        self.operator_view = dict(self.truth)
        self.wish(data, by)
        self.settle()
        for slice_id in self.book.wishes():
            change = self.book.grant(slice_id)
            if isinstance(change, ledger.Change):
                self.write(change)
        if delivered:
            self.settle()

    @precondition(lambda self: any(node.slices for node in self.truth.values()))
    @rule(data=st.data())
    def grow_and_shrink(self, data: st.DataObject) -> None:
        self.grow(data, make.amounts(40, 90), True)
        self.shrink(data)
        while self.watch:
            self.deliver_to_extender()

    @rule()
    def settle(self) -> None:
        """Everybody has seen everything, and every limit is in force."""
        while self.watch:
            self.deliver_to_extender()
        self.operator_view = dict(self.truth)
        for name in NODES:
            self.deliver_to_agent(name)
            self.apply_limits(name, 0)

    # The placing process.

    @rule()
    def restart_extender(self) -> None:
        self.book = reservations.Book(promise_seconds=30)
        self.watch.clear()
        self.book.see_pool(POOL)
        for node in self.truth.values():
            self.book.see_node(node)

    @precondition(lambda self: self.watch)
    @rule()
    def deliver_to_extender(self) -> None:
        self.book.see_node(self.watch.popleft())

    @precondition(lambda self: any(pod.node is None and not pod.gone for pod in self.pods))
    @rule(data=st.data(), offered=st.sampled_from([NODES, NODES, NODES[:1], NODES[1:]]))
    def filter(self, data: st.DataObject, offered: tuple[str, ...]) -> None:
        pod = data.draw(st.sampled_from([pod for pod in self.pods if pod.node is None and not pod.gone]))
        answer = self.book.place(pod.request, offered, now=self.now)
        if isinstance(answer, reservations.Elsewhere):
            self.write(ledger.release(self.book.nodes[answer.node], [pod.request.pod.uid]))

    @precondition(lambda self: self.book.promises)
    @rule(data=st.data(), killed_before_binding=st.booleans())
    def bind(self, data: st.DataObject, killed_before_binding: bool) -> None:
        promise = self.book.promises[data.draw(st.sampled_from(sorted(self.book.promises)))]
        waiting = [
            pod for pod in self._tenants(promise.request.slice_id) if pod.node is None and not pod.gone
        ]
        if not waiting:
            return
        pod = data.draw(st.sampled_from(waiting))
        if self._hold(pod, promise.node):
            if killed_before_binding:
                self.restart_extender()
            else:
                pod.node = promise.node

    def _hold(self, pod: Pod, name: str) -> bool:
        answer = self.book.place(pod.request, [name], now=self.now)
        if not isinstance(answer, choice.Placement):
            return False
        change = ledger.hold(POOL, self.book.nodes[name], pod.request, answer.device_uuids)
        if isinstance(change, values.Refusal) or not (change.empty or self.write(change)):
            return False
        self.book.see_node(self.truth[name])
        return True

    @rule()
    def sweep(self) -> None:
        """Release slices of pods that are gone, as the extender knows the ledger."""
        gone = [pod.request.pod.uid for pod in self.pods if pod.gone]
        for node in list(self.book.nodes.values()):
            change = ledger.release(node, gone)
            if not change.empty and self.write(change):
                self.book.see_node(self.truth[node.name])

    @precondition(lambda self: self.book.wishes())
    @rule(data=st.data())
    def grant(self, data: st.DataObject) -> None:
        change = self.book.grant(data.draw(st.sampled_from(self.book.wishes())))
        if isinstance(change, ledger.Change):
            self.write(change)

    @rule(seconds=st.sampled_from([1.0, 31.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds

    # The operator, on a view as old as it likes.

    @rule(name=st.sampled_from(NODES))
    def deliver_to_operator(self, name: str) -> None:
        self.operator_view[name] = self.truth[name]

    @precondition(lambda self: any(node.slices for node in self.operator_view.values()))
    @rule(data=st.data(), by=growths)
    def wish(self, data: st.DataObject, by: values.Amounts) -> None:
        node, slice_ = self._operators_slice(data)
        self._act(ledger.wish(node, slice_.id, (slice_.allocated + by).at_most(slice_.limits)))

    @precondition(lambda self: any(node.slices for node in self.operator_view.values()))
    @rule(data=st.data())
    def shrink(self, data: st.DataObject) -> None:
        node, slice_ = self._operators_slice(data)
        self._act(ledger.shrink(node, slice_.id, slice_.requests))

    @precondition(lambda self: any(node.slices for node in self.operator_view.values()))
    @rule(data=st.data(), requests=sizes, above=growths)
    def edit_claim(self, data: st.DataObject, requests: values.Amounts, above: values.Amounts) -> None:
        node, slice_ = self._operators_slice(data)
        self._act(ledger.retarget(node, slice_.id, requests=requests, limits=requests + above, priority=1))

    # The agents.

    @rule(name=st.sampled_from(NODES))
    def deliver_to_agent(self, name: str) -> None:
        self.agent_view[name] = self.truth[name]

    @rule(name=st.sampled_from(NODES), freed=st.integers(0, 4))
    def apply_limits(self, name: str, freed: int) -> None:
        """Growth is in force at once; of a shrink, the application frees quarters of what is too much."""
        for slice_ in self.agent_view[name].slices.values():
            if not self._lives(slice_.id):
                continue
            had = self.in_force.get(slice_.id, slice_.allocated)
            excess = max(0, had.memory_bytes - slice_.allocated.memory_bytes)
            self.in_force[slice_.id] = values.Amounts(
                memory_bytes=slice_.allocated.memory_bytes + excess * (4 - freed) // 4,
                compute_percent=slice_.allocated.compute_percent,
            )

    @rule(name=st.sampled_from(NODES))
    def report(self, name: str) -> None:
        """What is in force, as of the revision the agent has seen; status has no revision test."""
        seen = self.agent_view[name]
        enforced = {
            id_: values.Enforced(
                memory_bytes=self.in_force[id_].memory_bytes,
                compute_percent=self.in_force[id_].compute_percent,
                revision=seen.revision,
            )
            for id_ in seen.slices
            if id_ in self.in_force
        }
        self.store(replace(self.truth[name], enforced=enforced))

    # What must always hold.

    @invariant()
    def no_device_gives_more_memory_than_it_has(self) -> None:
        for device, capacity, slices in self._devices():
            memory = sum(self._memory(slice_) for slice_ in slices)
            assert memory <= capacity.memory_bytes, f"{device}: {memory} of {capacity.memory_bytes} bytes"

    @invariant()
    def no_device_gives_more_compute_than_it_may(self) -> None:
        for device, capacity, slices in self._devices():
            compute = sum(slice_.allocated.compute_percent for slice_ in slices)
            assert compute <= capacity.compute_percent, f"{device}: {compute} %"

    @invariant()
    def every_slice_lies_between_its_floor_and_its_ceiling(self) -> None:
        for slice_ in self._slices():
            assert slice_.allocated.covers(slice_.requests)
            assert slice_.limits.covers(slice_.allocated)

    @invariant()
    def every_bound_pod_has_one_slice_on_its_node_and_none_counts_twice(self) -> None:
        ids = [slice_.id for slice_ in self._slices()]
        assert len(ids) == len(set(ids))
        for pod in self.pods:
            if pod.node is not None and not pod.gone:
                held = self.truth[pod.node].slices.get(pod.request.slice_id)
                assert held is not None
                assert pod.request.pod in held.pods

    @invariant()
    def no_namespace_holds_more_than_its_quota(self) -> None:
        for namespace, quota in QUOTAS.items():
            held = values.NOTHING
            for slice_ in self._slices():
                if slice_.claim.namespace == namespace:
                    amount = replace(slice_.allocated, memory_bytes=self._memory(slice_))
                    held = held + amount.times(len(slice_.device_uuids))
            assert (quota.nominal + (quota.borrowing_limit or values.NOTHING)).covers(held), namespace

    # Helpers.

    def _act(self, change: ledger.Change | values.Refusal) -> None:
        if isinstance(change, ledger.Change) and not change.empty:
            self.write(change)

    def _operators_slice(self, data: st.DataObject) -> tuple[values.Node, values.Slice]:
        pairs = [(node, slice_) for node in self.operator_view.values() for slice_ in node.slices.values()]
        return data.draw(st.sampled_from(pairs))

    def _tenants(self, slice_id: str) -> list[Pod]:
        return [pod for pod in self.pods if pod.request.slice_id == slice_id]

    def _lives(self, slice_id: str) -> bool:
        return any(pod.node is not None and not pod.gone for pod in self._tenants(slice_id))

    def _slices(self) -> list[values.Slice]:
        return [slice_ for node in self.truth.values() for slice_ in node.slices.values()]

    def _memory(self, slice_: values.Slice) -> int:
        in_force = self.in_force.get(slice_.id, values.NOTHING)
        return max(slice_.allocated.memory_bytes, in_force.memory_bytes)

    def _devices(self) -> list[tuple[str, values.Amounts, list[values.Slice]]]:
        return [
            (
                device.uuid,
                inventory.capacity(POOL, device),
                [slice_ for slice_ in node.slices.values() if device.uuid in slice_.device_uuids],
            )
            for node in self.truth.values()
            for device in node.devices
        ]


TestPlatform = Platform.TestCase
TestPlatform.settings = settings(max_examples=500, stateful_step_count=30, deadline=None)
