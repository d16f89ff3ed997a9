"""``python -m elasticity.consolidation``: a day of image-generation pods on few cards by elastic memory.

Trace: cluster-trace-v2026-GenAI (duty and memory of about 109 pods, 57-s samples); its publisher scaled the
values, so shapes and ratios count. Memory sizes are the decisions of ``vgpu.elasticity.memory``. A pod whose
growth its card cannot take moves to another one, which costs a model load; memory is never overcommitted.
Compared: a card per pod, slices fixed at the day's peak (an oracle), slices that follow use, and the same
with idle pods put to sleep where a neighbour needs their memory.
"""

import argparse
import csv
import gzip
import json
import signal
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from elasticity import traces
from vgpu import values
from vgpu.elasticity import facts, memory, settings

FOLDER = traces.DATA / "alibaba_research_use" / "genai_2026"
CARD_BYTES = 80 * values.GIB - 512 * values.MIB
"""A card less what the pool keeps for driver and contexts."""

SAMPLES_KEPT = 3
"""A slice is sized for the largest use of the last three minutes."""

ASLEEP_BYTES = 1 * values.GIB
"""What a sleeping pod keeps on its card: its context; its weights are in host memory (assumed)."""

FLOOR_BYTES = 4 * values.GIB
BUSY_PERCENT = 100.0

HEAD = (
    f"{'way':19}{'cards':>6}{'mean':>7}{'moves':>7}{'wakes':>7}{'resizes':>9}{'overload %':>11}{'any %':>7}"
    f"{'memory over':>12}"
)


@dataclass(frozen=True, slots=True)
class Sample:
    """A pod in one period: percent of a card it computed, and memory it held."""

    duty: float
    memory_bytes: int


Trace = list[dict[str, Sample]]
"""Periods in order, each with the pods that were alive."""


@dataclass(slots=True)
class Pod:
    """A pod on a card, with what its slice holds and what it used lately."""

    card: int
    held_bytes: int
    peaks: list[int] = field(default_factory=list)
    duties: list[float] = field(default_factory=list)
    asleep: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a way to share cost.

    ``overload_percent`` is of card-periods whose duties add up to more than a card, ``any_overload_percent``
    of periods with any such card. ``overcommitted`` counts card-periods with more memory in use than there
    is. A move costs a model load (22.7 s in the median of this trace), a wake the way back from host memory.
    """

    way: str
    cards_peak: int
    cards_mean: float
    moves: int
    wakes: int
    resizes: int
    overload_percent: float
    any_overload_percent: float
    overcommitted: int


def read(folder: Path) -> Trace:
    """The periods in which both duty and memory of a pod are known; raises BadTraceError."""
    duty, held = _values(folder, "pod_gpu_duty_cycle_anon"), _values(folder, "pod_gpu_memory_used_bytes_anon")
    return [
        {
            pod: Sample(duty[time][pod], int(held[time][pod]))
            for pod in sorted(duty[time].keys() & held[time].keys())
        }
        for time in sorted(duty.keys() & held.keys())
    ]


def _values(folder: Path, name: str) -> Mapping[float, dict[str, float]]:
    by_time: dict[float, dict[str, float]] = defaultdict(dict)
    try:
        with gzip.open(folder / f"{name}.csv.gz", "rt") as file:
            for row in csv.DictReader(file):
                if row["container_ip"] and row["value"] not in ("", "NULL"):
                    by_time[float(row["timestamp_anon"])][row["container_ip"]] = float(row["value"])
    except (OSError, KeyError, ValueError) as error:
        raise traces.BadTraceError(f"expected {name}.csv.gz in {folder}: {error}") from error
    return by_time


class Pool:
    """Pods on as few cards as their slices permit; idle pods sleep where others need their memory."""

    def __init__(self, wished: Callable[[str, Pod, Sample], int], *, sleeps: bool) -> None:
        self._wished, self._sleeps = wished, sleeps
        self._pods: dict[str, Pod] = {}
        self.moves = self.wakes = self.resizes = 0

    def period(self, alive: Mapping[str, Sample]) -> dict[int, list[str]]:
        """Who is on which card after this period's arrivals, ends, resizes and moves."""
        self._pods = {id_: pod for id_, pod in self._pods.items() if id_ in alive}
        for id_, pod in self._pods.items():
            pod.duties = [*pod.duties, alive[id_].duty][-SAMPLES_KEPT:]
        for id_, sample in sorted(alive.items(), key=lambda pair: (-pair[1].memory_bytes, pair[0])):
            self._follow(id_, sample)
        cards: dict[int, list[str]] = defaultdict(list)
        for id_, pod in self._pods.items():
            cards[pod.card].append(id_)
        return cards

    def held(self, id_: str) -> int:
        """What a pod's slice holds."""
        return self._pods[id_].held_bytes

    def asleep(self, id_: str) -> bool:
        """True while a pod sleeps."""
        return self._pods[id_].asleep

    def _follow(self, id_: str, sample: Sample) -> None:
        pod = self._pods.get(id_)
        if pod is None:
            pod = Pod(card=-1, held_bytes=sample.memory_bytes, peaks=[], duties=[sample.duty])
            pod.peaks.append(sample.memory_bytes)
            pod.held_bytes = self._wished(id_, pod, sample)
            self._place(id_, pod)
            return
        if pod.asleep and not sample.duty:
            return
        self.wakes += pod.asleep
        pod.peaks = [*pod.peaks, sample.memory_bytes][-SAMPLES_KEPT:]
        wished = self._wished(id_, pod, sample)
        self.resizes += wished != pod.held_bytes and not pod.asleep
        self._resize(id_, pod, wished)

    def _resize(self, id_: str, pod: Pod, wished: int) -> None:
        pod.asleep = False
        if wished - pod.held_bytes <= self._room(pod.card, id_) and not self._hot(pod, id_):
            self._make_room(pod.card, wished - pod.held_bytes, id_)
            pod.held_bytes = wished
            return
        del self._pods[id_]
        pod.held_bytes = wished
        self.moves += 1
        self._place(id_, pod)

    def _place(self, id_: str, pod: Pod) -> None:
        """The fullest card that takes the pod, without waking anybody's sleep if possible; else a new one."""
        cards = {each.card for each in self._pods.values()}
        calm = [card for card in cards if self._duty(card) + pod.duties[-1] <= BUSY_PERCENT]
        free = [card for card in calm if self._free(card) >= pod.held_bytes]
        fitting = free or [card for card in calm if self._room(card, id_) >= pod.held_bytes]
        new = next(card for card in range(len(cards) + 1) if card not in cards)
        pod.card = min(fitting, key=lambda card: (self._free(card), card), default=new)
        self._make_room(pod.card, pod.held_bytes, id_)
        self._pods[id_] = pod

    def _make_room(self, card: int, needed: int, id_: str) -> None:
        """Put idle neighbours to sleep, the largest first, until what is needed is free."""
        for other in sorted(self._idle(card, id_), key=lambda pod: -pod.held_bytes):
            if self._free(card) >= needed:
                return
            other.asleep, other.held_bytes = True, ASLEEP_BYTES

    def _idle(self, card: int, beside: str) -> list[Pod]:
        here = (pod for id_, pod in self._pods.items() if pod.card == card and id_ != beside)
        return [pod for pod in here if self._sleeps and not pod.asleep and not pod.duties[-1]]

    def _hot(self, pod: Pod, id_: str) -> bool:
        """True for the smallest busy pod of a card that computes more than it can."""
        busy = [each for each in self._pods.values() if each.card == pod.card and each.duties[-1]]
        smallest = min(busy, key=lambda each: each.held_bytes, default=None)
        return self._sleeps and len(busy) > 1 and smallest is pod and self._duty(pod.card) > BUSY_PERCENT

    def _room(self, card: int, id_: str) -> int:
        """What is free, and what idle neighbours would free by sleeping."""
        return self._free(card) + sum(pod.held_bytes - ASLEEP_BYTES for pod in self._idle(card, id_))

    def _free(self, card: int) -> int:
        return CARD_BYTES - sum(pod.held_bytes for pod in self._pods.values() if pod.card == card)

    def _duty(self, card: int) -> float:
        return sum(pod.duties[-1] for pod in self._pods.values() if pod.card == card)


def elastic(_: str, pod: Pod, sample: Sample) -> int:
    """The size our loop wishes for a slice, whose card's room is looked at by the pool."""
    whole = values.Amounts(memory_bytes=CARD_BYTES, compute_percent=100)
    slice_ = facts.SliceFacts(
        id="",
        requests=values.Amounts(memory_bytes=FLOOR_BYTES, compute_percent=1),
        allocated=values.Amounts(memory_bytes=pod.held_bytes, compute_percent=1),
        limits=whole,
        room=whole,
        memory_peak_bytes=max(pod.peaks),
        memory_denied=sample.memory_bytes > pod.held_bytes,
    )
    return max(sample.memory_bytes, memory.wished_bytes(slice_, settings.DEFAULT))


def at_peak(trace: Trace) -> Callable[[str, Pod, Sample], int]:
    """Slices fixed at what each pod will at most hold: known only afterwards."""
    peaks: dict[str, int] = defaultdict(int)
    for period in trace:
        for id_, sample in period.items():
            peaks[id_] = max(peaks[id_], sample.memory_bytes)
    return lambda id_, _pod, _sample: peaks[id_]


def exclusive(_: str, pod: Pod, sample: Sample) -> int:
    """A card per pod."""
    return CARD_BYTES


def play(
    trace: Trace, way: str, wished: Callable[[str, Pod, Sample], int], *, sleeps: bool = False
) -> Outcome:
    """The whole day shared in one way."""
    pool = Pool(wished, sleeps=sleeps)
    used, overloads, any_overload, overcommitted = [], 0, 0, 0
    for alive in trace:
        cards = pool.period(alive)
        used.append(len(cards))
        hot = sum(sum(alive[id_].duty for id_ in ids) > BUSY_PERCENT for ids in cards.values())
        overloads, any_overload = overloads + hot, any_overload + bool(hot)
        overcommitted += sum(_in_use(pool, alive, ids) > CARD_BYTES for ids in cards.values())
    return Outcome(
        way=way,
        cards_peak=max(used),
        cards_mean=sum(used) / len(used),
        moves=pool.moves,
        wakes=pool.wakes,
        resizes=pool.resizes,
        overload_percent=100 * overloads / sum(used),
        any_overload_percent=100 * any_overload / len(used),
        overcommitted=overcommitted,
    )


def _in_use(pool: Pool, alive: Mapping[str, Sample], ids: list[str]) -> int:
    """What the pods of a card hold and what they use beyond that."""
    used = (0 if pool.asleep(id_) else alive[id_].memory_bytes for id_ in ids)
    return sum(max(pool.held(id_), memory_bytes) for id_, memory_bytes in zip(ids, used, strict=True))


def main() -> int:
    """Prints the table; 2 when the trace is not there."""
    parser = argparse.ArgumentParser(prog="elasticity.consolidation", description=__doc__)
    parser.add_argument("--folder", type=Path, default=FOLDER)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    try:
        trace = read(options.folder)
    except traces.BadTraceError as error:
        print(f"bench-elasticity: {error}", file=sys.stderr)
        return 2
    outcomes = [
        play(trace, "exclusive", exclusive),
        play(trace, "fixed at peak", at_peak(trace)),
        play(trace, "elastic", elastic),
        play(trace, "elastic, sleeping", elastic, sleeps=True),
    ]
    print(HEAD)
    for it in outcomes:
        print(
            f"{it.way:19}{it.cards_peak:6d}{it.cards_mean:7.1f}{it.moves:7d}{it.wakes:7d}{it.resizes:9d}"
            f"{it.overload_percent:11.2f}{it.any_overload_percent:7.1f}{it.overcommitted:12d}"
        )
    if options.json:
        options.json.write_text(json.dumps([asdict(each) for each in outcomes], indent=1))
    return 0


if __name__ == "__main__":
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # who reads no further ends us quietly, as `| head` does
    sys.exit(main())
