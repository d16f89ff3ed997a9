"""What the loop keeps of a claim between two looks, and how it learns from what was heard. Pure.

Everything here can be rebuilt from Prometheus: a process that begins misses it for no longer than a look.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace

from vgpu.elasticity import facts, work
from vgpu.elasticity.state import State
from vgpu_operator.elasticity.signals import Use

RAW_SAMPLES = 300
"""Samples kept as heard, for the day that their unit changes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Remembered:
    """One claim. ``rates`` are what the claim's query gives, ``uses`` de-censored use in percent, by second.

    ``state`` is of the unit that decisions are made in: work per second once ``cost`` is known, else use.
    ``recalled`` tells whether the past could be asked for at all. ``denials`` are refused allocations already
    answered, by slice, ``answers`` when and with how much memory the last of them was; a slice that grew for
    a sleeper is such an answer too. ``awake_bytes`` is what each slice's application holds when it is awake.
    """

    query: str | None
    rates: tuple[facts.Sample, ...] = ()
    uses: tuple[facts.Sample, ...] = ()
    cost: work.Cost = field(default_factory=work.Cost)
    state: State | None = None
    by_work: bool = False
    recalled: bool = True
    denials: Mapping[str, float] = field(default_factory=dict)
    answers: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    awake_bytes: Mapping[str, int] = field(default_factory=dict)

    def heard(
        self, rates: Sequence[facts.Sample], uses: Collection[Use], *, expected_slices: int
    ) -> "Remembered":
        """With the seconds that are new: their rates, their use, and what both together teach.

        Use counts only for seconds in which every serving slice was heard of: a part of it would make work
        look cheap.
        """
        uses = uses if len(uses) >= expected_slices else ()
        used = _demands(uses) if uses else ()
        after = replace(self, rates=_more(self.rates, rates), uses=_more(self.uses, used))
        taught = self.cost
        seen = self.rates[-1].at if self.rates else -math.inf
        for sample in after.rates:
            if sample.at > seen:
                taught = _taught(taught, sample, uses)
        by_work = self.query is not None and taught.percent_per_unit is not None
        kept = self.state if by_work == self.by_work else None  # states of two units do not mix
        return replace(after, cost=taught, by_work=by_work, state=kept)


def _more(kept: tuple[facts.Sample, ...], new: Sequence[facts.Sample]) -> tuple[facts.Sample, ...]:
    at = kept[-1].at if kept else -math.inf
    return (*kept, *(sample for sample in new if sample.at > at))[-RAW_SAMPLES:]


def _demands(uses: Collection[Use]) -> tuple[facts.Sample, ...]:
    """De-censored use of all slices together, for the seconds in which each of them was heard."""
    seconds = set.intersection(*(set(use.percent) for use in uses))
    return tuple(
        facts.Sample(
            at=float(at),
            rate=sum(work.demand(use.percent[at], min(1.0, use.throttled.get(at, 0.0))) for use in uses),
        )
        for at in sorted(seconds)
    )


def _taught(cost: work.Cost, sample: facts.Sample, uses: Collection[Use]) -> work.Cost:
    at = round(sample.at)
    if not uses or any(at not in use.percent for use in uses):
        return cost
    lent = any(use.lent.get(at, 0.0) > 0 for use in uses)
    return cost.after(used_percent=sum(use.percent[at] for use in uses), rate=sample.rate, lent=lent)
