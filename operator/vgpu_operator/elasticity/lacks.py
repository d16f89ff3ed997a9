"""What claims lacked at their last look, for others of their pools: where one lacks, others keep less."""

from dataclasses import dataclass, field

from vgpu_kube.objects import Key


@dataclass(slots=True)
class Lacks:
    """Percent of one GPU by pool and claim; a process that begins knows of none until it has looked."""

    _percent: dict[str, dict[Key, float]] = field(default_factory=dict)

    def note(self, pool: str, claim: Key, percent: float) -> None:
        """Remember what one claim lacked just now."""
        self.forget(claim)
        if percent > 0:
            self._percent.setdefault(pool, {})[claim] = percent

    def forget(self, claim: Key) -> None:
        """The claim is no more, or lacks nothing."""
        for lacks in self._percent.values():
            lacks.pop(claim, None)

    def of_others(self, pool: str, claim: Key) -> float:
        """What all other claims of the pool lacked."""
        return sum(percent for key, percent in self._percent.get(pool, {}).items() if key != claim)
