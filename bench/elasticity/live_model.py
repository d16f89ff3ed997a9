"""The same case in the simulator: the server as a latency profile, the claim's bounds around our own policy.

Cold start and GPU time of a request are taken over from the live run: they are the machine's, not the rule's.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from elasticity import arrivals, live_case, policy, profiles, simulation, timeline
from elasticity.policies import ours
from vgpu import values
from vgpu.elasticity import facts, work

NAME = "live"
SHARES = tuple(range(5, 101, 5))


def play(case: live_case.Case, *, beside: live_case.Figures, folder: Path) -> live_case.Figures:
    """The simulated run; the folder is for the profile."""
    unit = (
        beside.request_ms / 10
    )  # ms of a whole GPU per request are tenths of its percent per request a second
    profile = dataclasses.replace(
        profiles.read(_written(case, folder)),
        curve=work.linear(unit, largest_percent=case.ceiling_percent),
    )
    demand = arrivals.Demand(profile=profile, rates=case.rates, times=tuple(case.times()))
    cold_start = beside.cold_start or 3.0
    ceiling = case.ceiling_percent / profile.curve.efficient_percent  # lending ends there as well
    setting = simulation.Setting(cards=case.gpus, cold_start=cold_start, warm_up=0, ceiling=ceiling)
    seen = timeline.Timeline()
    outcome = simulation.run([demand], Bounded(case=case), setting, seen=seen)
    moments = [
        live_case.Moment(at=float(second), allocated=round(100 * held), replicas=count)
        for second, (held, count) in enumerate(zip(seen.allocated, seen.replicas, strict=True))
    ]
    return live_case.Figures(
        requests=outcome.requests,
        late_percent=outcome.violations,
        allocated=outcome.allocated,
        first_growth=live_case.first_growth(moments, case),
        first_replica=live_case.first_replica(moments, case),
        most_replicas=max(seen.replicas),
        cold_start=cold_start,
        request_ms=beside.request_ms,
    )


@dataclass(slots=True, kw_only=True)
class Bounded(ours.Ours):
    """Our policy within the claim's floor, ceiling and replicas; one replica at its floor to begin with."""

    case: live_case.Case
    sleeps: bool = False

    def begin(self, services: Sequence[policy.Known]) -> Mapping[str, tuple[policy.New, ...]]:
        """As the Deployment begins."""
        return {each.name: (policy.New(share=self.case.floor_percent, spread=True),) for each in services}

    def decide(self, view: policy.View) -> Mapping[str, policy.Orders]:
        """New replicas begin at the floor, on a card without one where there is such a card."""
        orders = ours.Ours.decide(self, view)
        return {name: dataclasses.replace(each, start=self._starts(each)) for name, each in orders.items()}

    def _claim(self, service: policy.Service, view: policy.View, free: list[int]) -> facts.ClaimFacts:
        claim = ours.Ours._claim(self, service, view, free)
        return dataclasses.replace(
            claim,
            slices=tuple(self._bounded(each) for each in claim.slices),
            queued=None,  # the operator is told of no queue
            max_replicas=self.case.max_replicas,
        )

    def _bounded(self, slice_: facts.SliceFacts) -> facts.SliceFacts:
        memory = slice_.allocated.memory_bytes
        bounds = [
            values.Amounts(memory_bytes=memory, compute_percent=percent)
            for percent in (self.case.floor_percent, self.case.ceiling_percent)
        ]
        return dataclasses.replace(slice_, requests=bounds[0], limits=bounds[1])

    def _starts(self, orders: policy.Orders) -> tuple[policy.New, ...]:
        return (policy.New(share=self.case.floor_percent, spread=True),) * len(orders.start)


def _written(case: live_case.Case, folder: Path) -> Path:
    """The server as a profile: a kernel fills the GPU, so a share of it takes that much longer."""
    rows = []
    for batch in range(1, case.most + 1):
        whole = (case.batch_ms + case.item_ms * batch) / 1000
        rows += [f"{batch},{s},{whole * 100 / s},{batch / (whole * 100 / s)}" for s in SHARES]
    path = folder / f"bs_sm_{NAME}.csv"
    path.write_text("\n".join(rows) + "\n")
    return path
