"""What a loop that has just begun can know of the past: the state that its samples would have left behind.

What no sample tells, such as when a slice grew last, is not made up.
"""

from collections.abc import Sequence
from dataclasses import replace

from vgpu.elasticity import demand, facts, idleness, settings, state

STEP_SECONDS = 5.0
"""Between two looks of the past."""


def state_of(
    claim: facts.ClaimFacts, samples: Sequence[facts.Sample], *, rule: settings.Settings = settings.DEFAULT
) -> state.State:
    """The state after looking at these samples, oldest first, every few seconds of their own time."""
    recalled, taken = state.EMPTY, 0
    while taken < len(samples):
        end = samples[taken].at + STEP_SECONDS
        upto = next((i for i in range(taken, len(samples)) if samples[i].at > end), len(samples))
        look = replace(claim, samples=tuple(samples[taken:upto]), objectives=(), queued=None, waiting=None)
        now, taken = samples[upto - 1].at, upto
        rates, newest = state.seen(recalled, look.samples)
        if rates and newest is not None:
            _, recalled = demand.measured(look, recalled, rule, now=now)
            recalled = idleness.remembered(look, recalled, now=now)
    return recalled
