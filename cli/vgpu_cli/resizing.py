"""What an edit of a claim's floor and ceiling would do to its slices and to the quota, before it is written.

Pure. It asks the same functions as the operator and the extender do, on what the claim and the pool publish;
whether the devices have room is only known to those who read VGPUNodes.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import quota, values
from vgpu_cli import words


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """A floor and a ceiling, per GPU."""

    requests: values.Amounts
    limits: values.Amounts


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What follows at once: slices that grow and shrink, the totals they take and free, the quota.

    ``pending`` is what a refused growth waits for; the slices keep what they have until then.
    """

    before: Bounds
    after: Bounds
    grown: int
    shrunk: int
    taken: values.Amounts
    freed: values.Amounts
    standing: quota.Standing | None
    pending: values.Refusal | None

    def sentences(self) -> list[str]:
        """The effect for people."""
        said = [
            f"floor    {words.amounts(self.before.requests)} -> {words.amounts(self.after.requests)} per GPU",
            f"ceiling  {words.amounts(self.before.limits)} -> {words.amounts(self.after.limits)} per GPU",
        ]
        if self.grown:
            said.append(f"{words.counted(self.grown, 'slice')} up by {words.amounts(self.taken)} in all")
        if self.shrunk:
            said.append(f"{words.counted(self.shrunk, 'slice')} down by {words.amounts(self.freed)} in all")
        if not self.grown and not self.shrunk:
            said.append("every slice keeps the size it has")
        return [*said, f"quota: {self._quota()}"]

    def _quota(self) -> str:
        if self.pending is not None:
            return f"{self.pending.reason.value}: {self.pending.message}; slices keep their size until then"
        return {
            None: "not known, the pool cannot be read",
            quota.Standing.UNBOUND: "none is set",
            quota.Standing.WITHIN: "within nominal",
            quota.Standing.BORROWING: "borrows from what others leave unused",
        }[self.standing]


def effect(
    before: Bounds,
    after: Bounds,
    allocated: Iterable[values.Amounts],
    *,
    devices: int,
    namespace: str,
    pool: values.Pool | None,
    used: Mapping[str, values.Amounts],
) -> Effect:
    """The effect on slices of these allocations (per GPU, on ``devices`` GPUs each).

    Raises ValueError where the ceiling lies below the floor.
    """
    if not after.limits.covers(after.requests):
        raise ValueError(
            f"expected a ceiling of at least the floor {words.amounts(after.requests)}, "
            f"found {words.amounts(after.limits)}; raise limits or lower requests"
        )
    changes = [_change(now, after, devices) for now in allocated]
    taken = sum((more for more, _ in changes), values.NOTHING)
    freed = sum((less for _, less in changes), values.NOTHING)
    verdict = None
    if pool is not None:
        held = {**used, namespace: used.get(namespace, values.NOTHING) - freed}
        verdict = quota.check(pool, held, namespace=namespace, extra=taken)
    return Effect(
        before=before,
        after=after,
        grown=sum(more != values.NOTHING for more, _ in changes),
        shrunk=sum(less != values.NOTHING for _, less in changes),
        taken=taken,
        freed=freed,
        standing=verdict.standing if isinstance(verdict, quota.Admitted) else None,
        pending=verdict if isinstance(verdict, values.Refusal) else None,
    )


def _change(now: values.Amounts, after: Bounds, devices: int) -> tuple[values.Amounts, values.Amounts]:
    """What a slice takes and frees on its GPUs together, to lie within the bounds."""
    then = now.at_most(after.limits).at_least(after.requests)
    more, less = (then - now).at_least(values.NOTHING), (now - then).at_least(values.NOTHING)
    return more.times(devices), less.times(devices)
