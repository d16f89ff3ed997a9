"""The facts that a claim's conditions are made of, and how they are put into words."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import values
from vgpu_operator import known, verdicts, wording
from vgpu_operator.elasticity.outcomes import Outcome
from vgpu_operator.holdings import Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything that is known of a claim.

    ``waiting`` are the pods without a slice and ``verdict`` what placement says of the first of them;
    ``largest_bytes`` is the most memory that one device of the pool may promise, ``refused_edit`` why an
    edit of the bounds stays out of the ledger, ``refused_growth`` why a wish to grow is not granted. ``gang``
    is how pods stand that start together, and ``help`` what would let the first waiting pod in, in words.
    ``outcome`` is what the elastic loop last came to, None before its first look or where none runs.
    """

    claim: values.Claim
    pool_name: str | None
    pool: values.Pool | None
    largest_bytes: int
    used: Mapping[str, values.Amounts]
    holdings: tuple[Holding, ...]
    pods: tuple[known.Pod, ...]
    waiting: tuple[known.Pod, ...]
    verdict: verdicts.Verdict | None
    refused_edit: values.Refusal | None
    deleting: bool
    gang: str = ""
    help: str = ""
    refused_growth: values.Refusal | None = None
    outcome: Outcome | None = None
    loop_runs: bool = False

    @property
    def served(self) -> str:
        """How many pods have a slice: ``2 pods``."""
        return wording.counted(sum(len(each.slice.pods) for each in self.holdings), "pod")


def nodes_of(holdings: Iterable[Holding]) -> str:
    """Where slices lie: ``nodes gpu-0, gpu-1``."""
    return wording.named({each.node for each in holdings}, "node")


def leaving(pods: tuple[known.Pod, ...]) -> str:
    """What a claim that is being deleted waits for."""
    if not pods:
        return "being deleted, waits for its slices to be released"
    return f"being deleted, waits for {wording.named([pod.ref.name for pod in pods], 'pod')} to end"
