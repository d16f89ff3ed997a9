"""What the loop asks Prometheus for, and the answers sorted by claim and slice.

Two queries about all slices, and the teams' own; the former are of the agents' exact counters.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from vgpu_kube.objects import Key
from vgpu_operator.elasticity import prometheus
from vgpu_operator.elasticity.asking import Answers, Questions
from vgpu_operator.elasticity.series import Series, Trouble

LATELY_SECONDS = 20
"""How far back every look asks: enough for a look that was late, and to tell what is stale."""

HISTORY_SECONDS = 300
"""How far back the first look at a claim asks: what a restarted loop can know; replicas look back as far."""

PEAK_SECONDS = 300
"""Memory is sized for the peak of so long."""

LONG_PEAK_SECONDS = 3600
"""How far back the first look at a claim seeks the peak: what a sleeper held before it slept."""

SCRAPES = 4
"""A rate is taken over so many scrapes, as one may be missing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """One slice's use by second (epoch): percent of one GPU, throttled part of the time, percent on loan."""

    percent: Mapping[int, float] = field(default_factory=dict)
    throttled: Mapping[int, float] = field(default_factory=dict)
    lent: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """One slice's memory: in use now and at its peak, and all refused allocations, in number and bytes."""

    used_bytes: int | None = None
    peak_bytes: int | None = None
    denials: float = 0.0
    denied_bytes: float = 0.0


Slot = tuple[str, str, str]
"""Namespace, claim, and pod; the pod is empty for a slice that several share."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Signals:
    """All that was heard at one look. ``trouble`` tells why nothing is known of the slices."""

    answers: Answers
    uses: Mapping[Slot, Use]
    memories: Mapping[Slot, Memory]
    trouble: Trouble | None = None


class Ears:
    """Asks what one look needs; ``scrape_seconds`` is how often Prometheus asks the agents."""

    def __init__(self, source: prometheus.Source, questions: Questions, *, scrape_seconds: int) -> None:
        self._source = source
        self._questions = questions
        self._window = max(2, SCRAPES * scrape_seconds)

    async def listen(
        self,
        claims: Iterable[Key],
        queries: Collection[str],
        *,
        start: int,
        end: int,
        peak_seconds: int = PEAK_SECONDS,
    ) -> Signals:
        """Answers to the teams' queries, and the use of the claims' slices by second. Raises nothing."""
        namespaces = sorted({namespace for namespace, _ in claims if namespace is not None})
        answers = await self._questions.ask(queries, start=start, end=end)
        if not namespaces:
            return Signals(answers=answers, uses={}, memories={})
        try:
            uses = await self._source.ranges(_use_query(namespaces, self._window), start=start, end=end)
            memories = await self._source.ranges(_memory_query(namespaces, peak_seconds), start=end, end=end)
        except (prometheus.Away, prometheus.Rejected) as error:
            return Signals(answers=answers, uses={}, memories={}, trouble=Trouble(str(error)))
        return Signals(answers=answers, uses=_uses(uses), memories=_memories(memories))


def _use_query(namespaces: Sequence[str], window: int) -> str:
    return _named(
        {
            "percent": f"100 * rate(vgpu_claim_gpu_seconds_total{_within(namespaces)}[{window}s])",
            "throttled": f"rate(vgpu_claim_throttled_seconds_total{_within(namespaces)}[{window}s])",
            "lent": f"100 * vgpu_claim_compute_borrowed_ratio{_within(namespaces)}",
        }
    )


def _memory_query(namespaces: Sequence[str], peak_seconds: int) -> str:
    return _named(
        {
            "used": f"vgpu_claim_memory_used_bytes{_within(namespaces)}",
            "peak": f"max_over_time(vgpu_claim_memory_used_bytes{_within(namespaces)}[{peak_seconds}s])",
            "denials": f"vgpu_claim_memory_denials_total{_within(namespaces)}",
            "denied": f"vgpu_claim_memory_denied_bytes_total{_within(namespaces)}",
        }
    )


def _within(namespaces: Sequence[str]) -> str:
    return f'{{namespace=~"{"|".join(namespaces)}"}}'  # a namespace's name holds nothing that a pattern minds


def _named(expressions: Mapping[str, str]) -> str:
    """The largest of a slice's devices, by signal."""
    return "\nor ".join(
        f'label_replace(max by (namespace, claim, pod) ({text}), "signal", "{name}", "", "")'
        for name, text in expressions.items()
    )


def _uses(answer: Iterable[Series]) -> dict[Slot, Use]:
    kinds = _by_slot(answer)
    return {
        slot: Use(**{name: {round(at): value for at, value in points} for name, points in found.items()})
        for slot, found in kinds.items()
    }


def _memories(found: Iterable[Series]) -> dict[Slot, Memory]:
    memories = {}
    for slot, kinds in _by_slot(found).items():
        last = {name: points[-1][1] for name, points in kinds.items() if points}
        memories[slot] = Memory(
            used_bytes=int(last["used"]) if "used" in last else None,
            peak_bytes=int(last["peak"]) if "peak" in last else None,
            denials=last.get("denials", 0.0),
            denied_bytes=last.get("denied", 0.0),
        )
    return memories


def _by_slot(found: Iterable[Series]) -> dict[Slot, dict[str, tuple[tuple[float, float], ...]]]:
    slots: dict[Slot, dict[str, tuple[tuple[float, float], ...]]] = {}
    for each in found:
        labels = each.labels
        slot = labels.get("namespace", ""), labels.get("claim", ""), labels.get("pod", "")
        slots.setdefault(slot, {})[labels.get("signal", "")] = each.points
    return slots
