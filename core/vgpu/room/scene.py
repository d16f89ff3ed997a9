"""What a question about room is asked of: a pool, its nodes, and what each namespace holds of it."""

from collections.abc import Mapping
from dataclasses import dataclass

from vgpu import quota, values
from vgpu.room import survey


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One pool as it stands; ``used`` are totals per namespace."""

    pool: values.Pool
    survey: survey.Survey
    used: Mapping[str, values.Amounts]

    def refusal(self, request: values.Request) -> values.Refusal | None:
        """The quota's no, None where the namespace may have what is asked."""
        verdict = quota.check(self.pool, self.used, namespace=request.claim.namespace, extra=total(request))
        return verdict if isinstance(verdict, values.Refusal) else None

    def headroom(self, request: values.Request) -> values.Amounts | None:
        """The most that the request's namespace may still take, in total; None without a bound."""
        return quota.headroom(self.pool, self.used, namespace=request.claim.namespace)


def total(request: values.Request) -> values.Amounts:
    """What a request asks over all its GPUs."""
    return request.requests.times(request.device_count)
