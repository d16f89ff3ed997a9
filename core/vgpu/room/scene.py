"""What a question about room is asked of: a pool, its nodes, what namespaces hold, and who is left out of it.

Nodes that a waiting pod does not accept are in no answer; who lends nothing is asked for nothing.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from vgpu import quota, values
from vgpu.room import survey
from vgpu.room.survey import Sight


def _all(_: object) -> bool:
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One pool as it stands.

    ``used`` are totals per namespace, ``accepts`` says whether the waiting pod could live on a node, and
    ``lends`` whether growth of a slice may be taken back.
    """

    pool: values.Pool
    survey: survey.Survey
    used: Mapping[str, values.Amounts]
    accepts: Callable[[values.Node], bool] = _all
    lends: Callable[[values.Slice], bool] = _all

    def refusal(self, request: values.Request) -> values.Refusal | None:
        """The quota's no, None where the namespace may have what is asked."""
        verdict = quota.check(self.pool, self.used, namespace=request.claim.namespace, extra=total(request))
        return verdict if isinstance(verdict, values.Refusal) else None

    def headroom(self, request: values.Request) -> values.Amounts | None:
        """The most that the request's namespace may still take, in total; None without a bound."""
        return quota.headroom(self.pool, self.used, namespace=request.claim.namespace)

    def fits(self, request: values.Request) -> bool:
        """Whether any node has room for the request as things are."""
        return next(self._accepted(self.survey.roomy(request)), None) is not None

    def at_floors(self, request: values.Request) -> Iterator[Sight]:
        """As ``Survey.at_floors``, on accepted nodes."""
        return self._accepted(self.survey.at_floors(request))

    def nearly(self, request: values.Request) -> Iterator[Sight]:
        """As ``Survey.nearly``, on accepted nodes."""
        return self._accepted(self.survey.nearly(request))

    def short(self, request: values.Request) -> Iterator[Sight]:
        """As ``Survey.short``, on accepted nodes."""
        return self._accepted(self.survey.short(request))

    def cordoned(self) -> Iterator[Sight]:
        """Accepted nodes with cordoned devices."""
        return self._accepted(sight for sight in self.survey if sight.node.cordoned_devices)

    def bounded(self, bounds: Iterator[tuple[Sight, int]]) -> Iterator[tuple[Sight, int]]:
        """Those of the bounds that are of accepted nodes."""
        return ((sight, bound) for sight, bound in bounds if self.accepts(sight.node))

    def _accepted(self, sights: Iterable[Sight]) -> Iterator[Sight]:
        return (sight for sight in sights if self.accepts(sight.node))


def total(request: values.Request) -> values.Amounts:
    """What a request asks over all its GPUs."""
    return request.requests.times(request.device_count)
