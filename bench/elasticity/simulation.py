"""One policy under one load: seconds of policy ticks, each of ten steps of serving and lending."""

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from elasticity import arrivals, cluster, outcome, policy, servers, timeline

STEPS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """The hardware and its delays, in seconds; nothing counts during the warm-up."""

    cards: int = 8
    cold_start: float = 20.0
    wake: float = 1.0
    warm_up: int = 60
    ceiling: float = 100.0


def run(
    demands: list[arrivals.Demand],
    chosen: policy.Policy,
    setting: Setting,
    *,
    seen: timeline.Timeline | None = None,
) -> outcome.Outcome:
    """Plays the whole load and says how it went; ``seen`` is told of every second."""
    world = _World(demands, chosen, setting)
    seconds = len(demands[0].rates)
    for second in range(seconds):
        if second == min(setting.warm_up, seconds // 2):
            world.forget()
        world.second(float(second))
        if seen is not None:
            world.show(seen)
    return world.finished(float(seconds))


class _World:
    def __init__(self, demands: list[arrivals.Demand], chosen: policy.Policy, setting: Setting) -> None:
        self._policy, self._setting = chosen, setting
        self._services = [servers.Service(each.profile.name, each) for each in demands]
        self._pool = cluster.Cluster(setting.cards, lends=chosen.lends, ceiling=setting.ceiling)
        self._meter = outcome.Meter()
        self._fresh: dict[str, tuple[int, int]] = {each.name: (0, 0) for each in self._services}
        known = [policy.Known(name=s.name, profile=s.profile, rates=s.demand.rates) for s in self._services]
        first = chosen.begin(known)
        for turn in itertools.zip_longest(*(first[service.name] for service in self._services)):
            for service, new in zip(self._services, turn, strict=True):  # in turn: a short pool is shared
                if new is not None:
                    self._pool.start(service, new, ready_at=-1.0)

    def second(self, now: float) -> None:
        if now >= 2 and int(now) % self._policy.tick_seconds == 0:
            self._apply(self._policy.decide(self._view(now)), now)
        self._remember(now)
        for step in range(STEPS):
            begin = now + step * servers.STEP
            self._pool.lend(begin)
            self._step(begin)
        self._meter.second(self._pool)

    def forget(self) -> None:
        """Begin to count: what came before is the start of the simulation, not of any policy."""
        self._meter = outcome.Meter()
        self._pool.forget()
        for service in self._services:
            service.forget()

    def show(self, seen: timeline.Timeline) -> None:
        seen.second(self._services, self._pool)

    def finished(self, now: float) -> outcome.Outcome:
        for service in self._services:
            service.close(now)
        return self._meter.outcome(self._services, self._pool)

    def _step(self, begin: float) -> None:
        for service in self._services:
            service.advance(begin, begin + servers.STEP)

    def _remember(self, now: float) -> None:
        """Begin a new second: what is seen now reaches the policies one second from now."""
        for service in self._services:
            self._fresh[service.name] = (service.arrived(now - 1, now), service.queued(now))
            for each in service.servers:
                each.used_second = each.throttled_second = 0.0
                each.throttled_steps = 0

    def _view(self, now: float) -> policy.View:
        services = tuple(self._service(each, now) for each in self._services)
        return policy.View(now=now, services=services, cards=self._pool.view())

    def _service(self, service: servers.Service, now: float) -> policy.Service:
        rate, queued = self._fresh[service.name]
        return policy.Service(
            name=service.name,
            profile=service.profile,
            rate=rate,
            queued=queued,
            replicas=tuple(_replica(each, now) for each in service.servers),
        )

    def _apply(self, orders: Mapping[str, policy.Orders], now: float) -> None:
        """Shrinks and ends of all services first, so that growth finds what they free."""
        for service in self._services:
            if service.name in orders:
                self._reduce(service, orders[service.name], now)
        for service in self._services:
            if service.name in orders:
                self._enlarge(service, orders[service.name], now)

    def _reduce(self, service: servers.Service, wished: policy.Orders, now: float) -> None:
        for each in list(service.servers):
            if each.id in wished.remove:
                self._pool.remove(service, each)
            elif each.id in wished.sleep:
                each.asleep = True
            if wished.shares.get(each.id, each.share) < each.share:
                self._pool.resize(each, wished.shares[each.id], now=now)

    def _enlarge(self, service: servers.Service, wished: policy.Orders, now: float) -> None:
        for each in service.servers:
            if each.id in wished.wake and each.asleep:
                each.asleep = False
                each.ready_at = each.free_at = now + self._setting.wake
            if wished.shares.get(each.id, each.share) > each.share:
                self._pool.resize(each, wished.shares[each.id], now=now)
        for new in wished.start:
            self._pool.start(service, new, ready_at=now + self._setting.cold_start)


def _replica(server: servers.Server, now: float) -> policy.Replica:
    return policy.Replica(
        id=server.id,
        card=server.card,
        share=server.share,
        ready=server.ready_at <= now,
        asleep=bool(server.asleep),
        lent=server.force > server.share,
        used_percent=server.used_second,
        throttled=min(1.0, server.throttled_second),
        throttled_steps=server.throttled_steps,
        used_steps=server.used_steps,
    )
