"""The tables: one line per run, means over loads, and the comparisons at equal cost, hardware and quality.

Costs are GPU-hours per hour. A tie is where both violate at most 0.1 %.
"""

import statistics
from collections import defaultdict
from collections.abc import Sequence

from elasticity import contest, traces

TIE = 0.1
WORSE = 0.2
COSTS = ("allocated", "charged", "dominant", "occupied")
HEAD = (
    f"{'load':21}{'policy':12}{'value':>6}{'cards':>6}{'seed':>5}{'late %':>8}{'worst':>7}{'alloc':>7}"
    f"{'charged':>8}{'dominant':>9}{'occupied':>9}{'p99/obj':>8}{'changes':>8}{'flips':>6}{'starts':>7}{'s/h':>6}"
)


def row(result: contest.Result) -> str:
    """One run."""
    it = result.outcome
    return (
        f"{_name(result.trace):21}{result.policy:12}{result.value:6.3g}{result.cards:6d}{result.seed:5d}"
        f"{it.violations:8.2f}{it.worst:7.1f}{it.allocated:7.2f}{it.charged:8.2f}{it.dominant:9.2f}"
        f"{it.occupied:9.2f}{it.p99:8.1f}{it.changes:8.1f}{it.flips:6d}{it.starts:7.0f}"
        f"{3600 * result.took_seconds / result.seconds:6.1f}"
    )


def means(results: Sequence[contest.Result]) -> list[str]:
    """Every setting's mean over the loads and seeds, and its worst seed."""
    by: dict[tuple[int, str, float], list[contest.Result]] = defaultdict(list)
    for each in results:
        by[each.cards, each.policy, each.value].append(each)
    heads = "".join(f"{cost:>10}" for cost in COSTS)
    lines = [
        "",
        f"{'mean of runs':21}{'policy':12}{'value':>6}{'cards':>6}{'late %':>8}{'worst seed':>11}{heads}",
    ]
    for (cards, name, value), group in by.items():
        late = statistics.mean(each.outcome.violations for each in group)
        costs = "".join(f"{statistics.mean(getattr(e.outcome, c) for e in group):10.2f}" for c in COSTS)
        lines.append(
            f"{len(group):<21d}{name:12}{value:6.3g}{cards:6d}{late:8.2f}{_worst_seed(group):11.2f}{costs}"
        )
    return lines


def _worst_seed(results: Sequence[contest.Result]) -> float:
    by: dict[int, list[float]] = defaultdict(list)
    for each in results:
        by[each.seed].append(each.outcome.violations)
    return max(statistics.mean(seen) for seen in by.values())


def at_equal_cost(results: Sequence[contest.Result]) -> list[str]:
    """Our default beside the best rival setting that costs no more, run by run and cost by cost."""
    lines = []
    for cards in sorted({each.cards for each in results}):
        here = [each for each in results if each.cards == cards]
        for cost in COSTS:
            lines += ["", f"best rival at no more {cost} GPU-hours than ours, {cards} cards"]
            lines += _verdicts(here, cost)
    return lines


def at_equal_hardware(results: Sequence[contest.Result]) -> list[str]:
    """Our default beside the best rival setting on the same cards, whatever it costs."""
    lines = []
    for cards in sorted({each.cards for each in results}):
        lines += ["", f"best rival on {cards} cards"]
        lines += _verdicts([each for each in results if each.cards == cards], None)
    return lines


def _verdicts(results: Sequence[contest.Result], cost: str | None) -> list[str]:
    lines, halves, worse = [], 0, 0
    for own in (each for each in results if _default(each)):
        rivals = [each for each in results if _same_load(each, own) and _rival(each)]
        if cost is not None:
            rivals = [e for e in rivals if getattr(e.outcome, cost) <= getattr(own.outcome, cost)]
        best = min(rivals, key=lambda each: each.outcome.violations, default=None)
        late, theirs = own.outcome.violations, best.outcome.violations if best else 100.0
        half = late <= theirs / 2 or (late <= TIE and theirs <= TIE)
        halves, worse = halves + half, worse + (late > theirs + WORSE)
        who = f"{best.policy} {best.value:g}" if best else "none"
        at = getattr(own.outcome, cost or COSTS[0])
        verdict = "  half" * half + "  WORSE" * (late > theirs + WORSE)
        lines.append(
            f"  {_name(own.trace):21}seed {own.seed}  ours {late:6.2f} % at {at:5.2f}"
            f"   {who:20}{theirs:6.2f} %{verdict}"
        )
    return [
        *lines,
        f"  half or tie on {halves} of {len(lines)} runs, more than {WORSE} points worse on {worse}",
    ]


def cheapest_within(results: Sequence[contest.Result], most: float = 1.0) -> list[str]:
    """The cheapest one setting of each policy that keeps every smooth load within so many % violations."""
    loads = [e for e in results if e.trace in traces.SMOOTH] or list(results)
    asked = len({(e.trace, e.seed, e.cards) for e in loads})
    lines = [
        "",
        f"least mean cost of one setting with <= {most:g} % on each of {asked} smooth runs, per policy",
    ]
    found: dict[str, dict[str, tuple[float, float]]] = {}
    for name in dict.fromkeys(each.policy for each in results):
        settings = _settings_within([e for e in loads if e.policy == name], most, asked)
        found[name] = {cost: _cheapest(settings, cost) for cost in COSTS if settings}
        cells = [f"{cost} {mean:.2f} ({value:g})" for cost, (mean, value) in found[name].items()]
        lines.append(f"  {name:12}{'  '.join(cells) or 'none does'}")
    return [*lines, *_gain(found)]


def _settings_within(
    results: Sequence[contest.Result], most: float, asked: int
) -> dict[float, list[contest.Result]]:
    by: dict[float, list[contest.Result]] = defaultdict(list)
    for each in results:
        if each.outcome.violations <= most:
            by[each.value].append(each)
    return {value: group for value, group in by.items() if len(group) == asked}


def _cheapest(settings: dict[float, list[contest.Result]], cost: str) -> tuple[float, float]:
    return min(
        (statistics.mean(getattr(e.outcome, cost) for e in group), value) for value, group in settings.items()
    )


def _gain(found: dict[str, dict[str, tuple[float, float]]]) -> list[str]:
    """Ours against the best loop with one axis, cost by cost, each with its own best setting."""
    cells = []
    for cost in COSTS:
        rivals = [found[name][cost][0] for name in contest.ONE_AXIS if found.get(name)]
        if rivals and found.get(contest.OURS):
            cells.append(f"{cost} {100 * (found[contest.OURS][cost][0] / min(rivals) - 1):+.0f} %")
    return [f"  ours against the best one-axis loop: {', '.join(cells)}"] if cells else []


def _name(trace: str) -> str:
    return trace.rsplit("/", 1)[-1][:20]


def _same_load(one: contest.Result, other: contest.Result) -> bool:
    return (one.trace, one.seed) == (other.trace, other.seed)


def _default(result: contest.Result) -> bool:
    return result.policy == contest.OURS and result.value == contest.POLICIES[contest.OURS].values[0]


def _rival(result: contest.Result) -> bool:
    return result.policy not in (contest.OURS, *contest.ORACLES)
