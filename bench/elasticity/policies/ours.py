"""The loop of this project: the decisions of ``vgpu.elasticity``, with lending by the agent's inner loop."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from elasticity import policy, profiles
from elasticity.policies import sizing
from vgpu import values
from vgpu.elasticity import decision, facts, settings, state

MOST_REPLICAS = 64
ASLEEP_PERCENT = 1
ROOMY = 0.8
"""A new replica prefers a card with this part of its efficient size free, so that it can grow."""


@dataclass(slots=True, kw_only=True)
class Ours:
    """The dual loop with these constants."""

    rule: settings.Settings = settings.DEFAULT
    sleeps: bool = True
    lends: bool = True
    tick_seconds: int = 1
    _states: dict[str, state.State] = field(default_factory=dict)
    _lacks: dict[str, float] = field(default_factory=dict)

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """A warm start for the rate with which the load begins, with sleepers on the cards that takes."""
        counts = {each.name: self._first(each) for each in services}
        held = sum(counts[each.name] * each.profile.curve.efficient_percent for each in services)
        cards = math.ceil(held / 100) if self.sleeps else 0
        standby = policy.New(share=ASLEEP_PERCENT, standby=True)
        return {
            each.name: (
                *sizing.efficient(each.profile, counts[each.name]),
                *(standby,) * max(0, cards - counts[each.name]),
            )
            for each in services
        }

    def _first(self, known: policy.Known) -> int:
        return sizing.replicas(known.profile, self.rule.roomy.headroom * sizing.beginning(known))

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """Every claim in turn, each seeing what those before it took."""
        free = [each.free_percent for each in view.cards]
        orders = {}
        for service in view.services:
            claim = self._claim(service, view, free)
            decided, self._states[service.name] = decision.decide(
                claim, self._states.get(service.name, state.EMPTY), now=view.now, rule=self.rule
            )
            self._lacks[service.name] = decided.lacking_percent
            orders[service.name] = _orders(service, view, decided)
            _take(free, service, decided)
        return orders

    def _lacking(self, name: str) -> float:
        """Percent of one GPU that the other services lacked at their last look."""
        return sum(percent for other, percent in self._lacks.items() if other != name)

    def _claim(self, service: policy.Service, view: policy.View, free: list[int]) -> facts.ClaimFacts:
        curve = service.profile.curve
        return facts.ClaimFacts(
            slices=tuple(_slice(each, service.profile, free) for each in service.replicas),
            curve=curve,
            pool=facts.PoolFacts(
                free=max(0, sum(free)) / (100 * len(free)),
                placeable=_joinable(service, view) + _roomy(service.profile, view, free),
                lacking=self._lacking(service.name) / (100 * len(free)),
                devices=_joinable(service, view) + _joined(service, view),
            ),
            samples=(facts.Sample(at=view.now - 1, rate=service.rate),),
            queued=service.queued,
            batch=max(1, service.profile.most[curve.efficient_percent]),
            replicas=len(service.replicas),
            max_replicas=MOST_REPLICAS,
            can_sleep=self.sleeps,
        )


def _slice(replica: policy.Replica, profile: profiles.Profile, free: list[int]) -> facts.SliceFacts:
    memory = profile.memory_bytes
    return facts.SliceFacts(
        id=replica.id,
        requests=values.Amounts(memory_bytes=memory, compute_percent=ASLEEP_PERCENT),
        allocated=values.Amounts(memory_bytes=memory, compute_percent=replica.share),
        limits=values.Amounts(memory_bytes=memory, compute_percent=100),
        room=values.Amounts(memory_bytes=0, compute_percent=max(0, free[replica.card])),
        device_uuids=(str(replica.card),),
        neighbours_percent=100 - max(0, free[replica.card]) - replica.share,
        ready=replica.ready,
        asleep=replica.asleep,
        used_percent=replica.used_percent,
        throttled=replica.throttled,
    )


def _roomy(profile: profiles.Profile, view: policy.View, free: list[int]) -> int:
    """A dry run of placement: replicas that the cards would take, with room to grow."""
    share = max(profile.curve.floor_percent, _room(profile))
    return sum(
        min(max(0, percent) // share, card.free_memory_bytes // profile.memory_bytes)
        for percent, card in zip(free, view.cards, strict=True)
    )


def _joined(service: policy.Service, view: policy.View) -> int:
    """Cards in use on which the service has a replica."""
    return len({each.card for each in service.replicas if view.cards[each.card].awake})


def _joinable(service: policy.Service, view: policy.View) -> int:
    """Cards in use that have the memory for a first replica of the service."""
    own, needed = {each.card for each in service.replicas}, service.profile.memory_bytes
    return sum(
        bool(card.awake) and number not in own and card.free_memory_bytes >= needed and card.free_percent > 0
        for number, card in enumerate(view.cards)
    )


def _room(profile: profiles.Profile) -> int:
    return math.ceil(ROOMY * profile.curve.efficient_percent)


def _orders(service: policy.Service, view: policy.View, decided: decision.Decision) -> policy.Orders:
    present, wished = len(service.replicas), decided.replicas or 0
    more = max(0, wished - present)
    standbys = min(more, _joinable(service, view))
    return policy.Orders(
        shares={id_: amounts.compute_percent for id_, amounts in decided.allocations.items()},
        start=(
            *(policy.New(share=ASLEEP_PERCENT, standby=True),) * standbys,
            *(policy.New(share=ASLEEP_PERCENT, room=_room(service.profile)),) * (more - standbys),
        ),
        remove=_removed(service, view, decided.sleep, present - wished),
        sleep=decided.sleep,
        wake=decided.wake,
    )


def _removed(service: policy.Service, view: policy.View, sleep: frozenset[str], count: int) -> frozenset[str]:
    """Sleepers on unused cards go first, then other sleepers, then the smallest."""
    order = sorted(
        service.replicas,
        key=lambda each: (
            not (each.asleep or each.id in sleep),
            bool(view.cards[each.card].awake),
            each.share,
            -sizing.number(each.id),
        ),
    )
    return frozenset(each.id for each in order[: max(0, count)])


def _take(free: list[int], service: policy.Service, decided: decision.Decision) -> None:
    for each in service.replicas:
        if each.id in decided.allocations:
            free[each.card] -= decided.allocations[each.id].compute_percent - each.share
