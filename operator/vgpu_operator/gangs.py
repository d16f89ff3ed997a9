"""How a claim's pods stand that start together: how many have still to, and what they wait for, in words.

The extender decides on gangs; nothing is placed here.
"""

from collections.abc import Iterable, Sequence

from vgpu import reservations, values
from vgpu_operator import known, verdicts
from vgpu_operator.holdings import Holding


def lacking(claim: values.Claim, holdings: Iterable[Holding]) -> int:
    """How many pods have still to start together; 0 where the gang runs, or each starts by itself."""
    if claim.gang_pods < 2 or claim.mode is values.AllocationMode.SHARED:
        return 0
    held = sum(len(each.slice.pods) for each in holdings)
    return max(0, claim.gang_pods - held)


def verdict(
    judge: verdicts.Judge, asked: Sequence[values.Request], lacking: int, pods: Sequence[known.Pod]
) -> tuple[verdicts.Verdict | None, str]:
    """Why a gang waits whose first pod has room, None where it need not; and how it stands."""
    if len(pods) < lacking:
        return None, f"{len(pods)} of the {lacking} pods that start together are there"
    partly = judge.together(asked[:lacking], pods[0].home)
    if partly is None or isinstance(partly.why, reservations.Elsewhere):
        return None, ""
    return partly.why, f"{partly.placed} of the {partly.asked} pods that start together have room"
