"""Every policy with every value of the constant that decides it, on every load: who plays, what came out."""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from elasticity import arrivals, outcome, policy, profiles, simulation, timeline, traces
from elasticity.policies import captain, dilu, fast_gshare, fixed, has_gpu, hpa, kpa, ours, vpa
from vgpu.elasticity import pace, settings

OURS, ORACLE = "ours", "oracle"
ORACLES = ("fixed", ORACLE)
"""They know the whole load beforehand: printed beside the others, never counted as rivals."""

ONE_AXIS = ("hpa", "kpa", "vpa", "captain", "fast-gshare")
"""They move either slices or replicas."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A policy, what its deciding constant means, and the values that are tried; the first is the default."""

    constant: str
    values: tuple[float, ...]
    make: Callable[[float], policy.Policy]


POLICIES: dict[str, Entry] = {
    OURS: Entry(
        constant="ease",
        values=(1.0, 0.75, 0.5, 0.25, 0.1),
        make=lambda value: ours.Ours(
            rule=settings.Settings(roomy=pace.between(pace.SHORT, pace.ROOMY, value))
        ),
    ),
    "hpa": Entry(constant="target", values=(0.7, 0.8, 0.6, 0.5), make=lambda value: hpa.Hpa(target=value)),
    "kpa": Entry(constant="target", values=(0.7, 0.8, 0.6, 0.5), make=lambda value: kpa.Kpa(target=value)),
    "vpa": Entry(constant="percentile", values=(0.9, 0.99), make=lambda value: vpa.Vpa(percentile=value)),
    "captain": Entry(
        constant="throttle", values=(0.2, 0.1, 0.3), make=lambda value: captain.Captain(target=value)
    ),
    "dilu": Entry(
        constant="headroom", values=(1.0, 1.25, 1.5, 2.0), make=lambda value: dilu.Dilu(headroom=value)
    ),
    "dilu-spread": Entry(
        constant="headroom",
        values=(1.0, 1.25, 1.5, 2.0),
        make=lambda value: dilu.Dilu(headroom=value, spread=True),
    ),
    "has-gpu": Entry(constant="up", values=(0.9, 0.8, 0.7, 0.6), make=lambda value: has_gpu.HasGpu(up=value)),
    "fast-gshare": Entry(
        constant="factor",
        values=(1.0, 1.6, 2.0),
        make=lambda value: fast_gshare.FastGShare(factor=value),
    ),
    "fixed": Entry(constant="part", values=(0.5, 0.9), make=lambda value: fixed.Fixed(part=value)),
    ORACLE: Entry(constant="part", values=(0.999,), make=lambda value: fixed.Fixed(part=value)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One run: who, where, and how it went; ``took_seconds`` is the wall clock of the simulation."""

    trace: str
    policy: str
    value: float
    cards: int
    seed: int
    seconds: int
    outcome: outcome.Outcome
    took_seconds: float


class BadResultsError(Exception):
    """A file of saved runs is missing or of another version."""


def saved(path: Path) -> list[Result]:
    """The runs that were written with --json; raises BadResultsError."""
    try:
        rows = json.loads(path.read_text())
        return [Result(**{**row, "outcome": outcome.Outcome(**row["outcome"])}) for row in rows]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadResultsError(f"expected runs saved by this version in {path}: {error}") from error


def play(
    trace: str,
    models: list[profiles.Profile],
    *,
    names: Sequence[str],
    sweep: bool,
    settings_by_cards: Sequence[simulation.Setting],
    seconds: int,
    seed: int,
) -> Iterator[tuple[Result, timeline.Timeline]]:
    """All of them on one load, the same requests for all: how each went, and what happened meanwhile."""
    demands = arrivals.demands(traces.load(trace, seconds=seconds, seed=seed), models, seed=seed)
    for setting in settings_by_cards:
        for name in names:
            entry = POLICIES[name]
            for value in entry.values if sweep else entry.values[:1]:
                began, seen = time.perf_counter(), timeline.Timeline()
                result = simulation.run(demands, entry.make(value), setting, seen=seen)
                yield (
                    Result(
                        trace=trace,
                        policy=name,
                        value=value,
                        cards=setting.cards,
                        seed=seed,
                        seconds=len(demands[0].rates),
                        outcome=result,
                        took_seconds=time.perf_counter() - began,
                    ),
                    seen,
                )
