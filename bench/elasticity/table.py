"""The tables: one line per run, means over loads, and the comparison at equal cost.

Costs are GPU-hours per hour. A tie is where both violate at most 0.1 %.
"""

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence

from elasticity import contest

TIE = 0.1
COSTS = ("allocated", "charged", "dominant", "occupied")
HEAD = (
    f"{'load':21}{'policy':12}{'value':>6}{'cards':>6}{'late %':>8}{'worst':>7}{'alloc':>7}{'charged':>8}"
    f"{'dominant':>9}{'occupied':>9}{'p99/obj':>8}{'changes':>8}{'flips':>6}{'starts':>7}{'s/h':>6}"
)


def row(result: contest.Result) -> str:
    """One run."""
    it = result.outcome
    return (
        f"{result.trace[:20]:21}{result.policy:12}{result.value:6.3g}{result.cards:6d}{it.violations:8.2f}{it.worst:7.1f}"
        f"{it.allocated:7.2f}{it.charged:8.2f}{it.dominant:9.2f}{it.occupied:9.2f}{it.p99:8.1f}"
        f"{it.changes:8.1f}{it.flips:6d}{it.starts:7.0f}{3600 * result.took_seconds / result.seconds:6.1f}"
    )


def means(results: Sequence[contest.Result]) -> list[str]:
    """Every setting's mean over the loads."""
    by: dict[tuple[int, str, float], list[contest.Result]] = defaultdict(list)
    for each in results:
        by[each.cards, each.policy, each.value].append(each)
    lines = ["", f"{'mean of loads':21}{'policy':12}{'value':>6}{'cards':>6}{'late %':>8}" + _cost_heads()]
    for (cards, name, value), group in by.items():
        late = statistics.mean(each.outcome.violations for each in group)
        costs = "".join(f"{statistics.mean(getattr(e.outcome, c) for e in group):10.2f}" for c in COSTS)
        lines.append(f"{len(group):<21d}{name:12}{value:6.3g}{cards:6d}{late:8.2f}{costs}")
    return lines


def at_equal_cost(results: Sequence[contest.Result]) -> list[str]:
    """Our default beside the best rival setting that costs no more, load by load and cost by cost."""
    lines = []
    for cards in sorted({each.cards for each in results}):
        here = [each for each in results if each.cards == cards]
        for cost in COSTS:
            lines += ["", f"best rival at no more {cost} GPU-hours than ours, {cards} cards"]
            lines += _verdicts(here, cost)
    return lines


def _verdicts(results: Sequence[contest.Result], cost: str) -> list[str]:
    lines, halves, worse = [], 0, 0
    for trace in dict.fromkeys(each.trace for each in results):
        own = next((e for e in results if e.trace == trace and _default(e)), None)
        if own is None:
            continue
        budget = getattr(own.outcome, cost)
        rivals = [e for e in results if e.trace == trace and _rival(e) and getattr(e.outcome, cost) <= budget]
        best = min(rivals, key=lambda e: e.outcome.violations, default=None)
        late, theirs = own.outcome.violations, best.outcome.violations if best else 100.0
        half = late <= theirs / 2 or (late <= TIE and theirs <= TIE)
        halves, worse = halves + half, worse + (late > theirs + 0.2)
        who = f"{best.policy} {best.value:g}" if best else "none so cheap"
        lines.append(
            f"  {trace[:20]:21}ours {late:6.2f} % at {budget:5.2f}   {who:20}{theirs:6.2f} %{'  half' * half}"
        )
    return [*lines, f"  half or tie on {halves} of {len(lines)} loads, more than 0.2 points worse on {worse}"]


def cheapest_within(results: Sequence[contest.Result], most: float = 1.0) -> list[str]:
    """The least cost with at most so many % violations in the mean of the loads, per policy."""
    lines = [
        "",
        f"least mean cost of one setting with <= {most:g} % on each load that it can meet, per policy",
    ]
    for name in dict.fromkeys(each.policy for each in results):
        group = [e for e in results if e.policy == name and e.outcome.violations <= most]
        traces = {e.trace for e in group}
        cells = [f"{cost} {_least(group, cost):.2f}" for cost in COSTS if traces]
        lines.append(f"  {name:12}{len(traces):3d} loads  {'  '.join(cells)}")
    return lines


def _least(results: Sequence[contest.Result], cost: str) -> float:
    by: dict[str, float] = {}
    for each in results:
        by[each.trace] = min(by.get(each.trace, float("inf")), getattr(each.outcome, cost))
    return statistics.mean(by.values())


def _default(result: contest.Result) -> bool:
    return result.policy == contest.OURS and result.value == contest.POLICIES[contest.OURS].values[0]


def _rival(result: contest.Result) -> bool:
    return result.policy not in (contest.OURS, *contest.ORACLES)


def _cost_heads(costs: Iterable[str] = COSTS) -> str:
    return "".join(f"{cost:>10}" for cost in costs)
