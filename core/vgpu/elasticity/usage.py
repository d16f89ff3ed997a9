"""For claims that name no rate of work: de-censored use as the work, in percent of one GPU.

It asks for more than a batching server needs, which is always busy; a named rate is better.
"""

from collections.abc import Sequence

from vgpu.elasticity import facts, work


def sample(slices: Sequence[facts.SliceFacts], *, at: float) -> facts.Sample | None:
    """What the serving slices would have used together; None while the use of any of them is unknown."""
    total = 0.0
    for each in slices:
        if each.asleep or not each.ready:
            continue
        if each.used_percent is None or each.throttled is None:
            return None
        total += work.demand(each.used_percent, each.throttled)
    return facts.Sample(at=at, rate=total)


def curve(*, ceiling_percent: int, target_percent: int = 100) -> work.Curve:
    """A slice serves its own share of use, of which ``target_percent`` should be busy."""
    return work.linear(100 / target_percent, largest_percent=ceiling_percent)
