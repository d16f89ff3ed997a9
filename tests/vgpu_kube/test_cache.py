"""Whatever order news arrives in, a cache ends where the cluster is and never goes back in time."""

import copy
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from vgpu_kube import objects
from vgpu_kube.cache import Cache, Change, ChangeKind, identity
from vgpu_kube.objects import Key, Object

NAMES = "abc"


@dataclass
class History:
    """A cluster's objects, and everything that happened to them."""

    version: int = 0
    present: dict[str, Object] = field(default_factory=dict)
    events: list[tuple[str, Object]] = field(default_factory=list)

    def write(self, name: str) -> Object:
        self.version += 1
        raw = {"metadata": {"name": name, "resourceVersion": str(self.version)}}
        self.events.append(("PUT", raw))
        self.present[name] = raw
        return raw

    def delete(self, name: str) -> None:
        if name in self.present:
            self.version += 1
            raw = copy.deepcopy(self.present.pop(name))
            raw["metadata"]["resourceVersion"] = str(self.version)
            self.events.append(("DELETED", raw))


def deliver(cache: Cache[Object], event: tuple[str, Object]) -> None:
    kind, raw = event
    (cache.delete if kind == "DELETED" else cache.put)(raw)
    cache.advance(objects.resource_version(raw))


class Following(RuleBasedStateMachine):
    """A cache between a watch that lags, answers that come late, and lists that run into writes."""

    def __init__(self) -> None:
        super().__init__()
        self.history = History()
        self.delivered = 0
        self.answers: list[Object] = []
        self.seen: dict[Key, int] = {}
        self.mirror: dict[Key, Object] = {}
        self.cache: Cache[Object] = Cache(identity, lambda error: None)
        self.cache.subscribe(self.follow)

    def follow(self, change: Change[Object]) -> None:
        assert (change.kind is ChangeKind.ADDED) == (change.key not in self.mirror)
        assert change.old == self.mirror.pop(change.key, None)
        if change.new is not None:
            version = objects.revision(objects.resource_version(change.new))
            assert version > self.seen.get(change.key, 0), "no value comes back after a newer one"
            self.seen[change.key] = version
            self.mirror[change.key] = change.new

    @rule(name=st.sampled_from(NAMES))
    def write(self, name: str) -> None:
        self.answers.append(self.history.write(name))

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        self.history.delete(name)

    @rule()
    def deliver_one(self) -> None:
        for event in self.history.events[self.delivered : self.delivered + 1]:
            deliver(self.cache, event)
            self.delivered += 1

    @rule(data=st.data())
    @precondition(lambda self: self.answers)
    def answer(self, data: st.DataObject) -> None:
        self.cache.observe(self.answers.pop(data.draw(st.integers(0, len(self.answers) - 1))))

    @rule(written_meanwhile=st.none() | st.sampled_from(NAMES), late_answers=st.integers(1, 3))
    def list_anew(self, written_meanwhile: str | None, late_answers: int) -> None:
        listed, version = [*self.history.present.values()], self.history.version
        self.delivered = len(self.history.events)
        with self.cache.replacing(str(version)) as replacement:
            for raw in listed:
                replacement.put(raw)
            if written_meanwhile:
                self.cache.observe(self.history.write(written_meanwhile))
            missing = replacement.missing()
            for answer in self.answers[-late_answers:]:
                self.cache.observe(answer)
            for key in missing:
                replacement.drop(key)

    @invariant()
    def nothing_is_promised_that_has_not_been_delivered(self) -> None:
        assert self.cache.items == self.mirror
        assert self.cache.reached <= self.history.version

    def teardown(self) -> None:
        for event in self.history.events[self.delivered :]:
            deliver(self.cache, event)
        present = {(None, name): raw for name, raw in self.history.present.items()}
        assert self.cache.items == self.mirror == present, "the cache ends where the cluster is"


TestFollowing = Following.TestCase
TestFollowing.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
