"""What claims scale: anything with a scale subresource, read and written through it.

Who else scales it is looked up in ``rivals``; how many replicas it should have is decided elsewhere.
"""

from collections.abc import Callable
from dataclasses import dataclass

from vgpu import values
from vgpu_kube import errors, objects
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube
from vgpu_kube.resources import Resource
from vgpu_operator.elasticity.series import Trouble

FRESH_SECONDS = 15.0
"""A scale is read again after so long, and every time while it has not got what it is asked to have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """What a target is asked to have and what it has, as of one version of it."""

    wished: int
    current: int
    version: str


class Targets:
    """The scales of targets by namespace, read when they are not fresh; ``clock`` is monotonic."""

    def __init__(self, kube: Kube, *, clock: Callable[[], float]) -> None:
        self._kube = kube
        self._clock = clock
        self._known: dict[tuple[str, values.Target], tuple[float, Scale | Trouble]] = {}

    async def scale(self, namespace: str, target: values.Target, *, fresh: bool = False) -> Scale | Trouble:
        """The scale of a target, or why there is none; ``fresh`` asks the cluster in any case."""
        read_at, known = self._known.get((namespace, target), (0.0, None))
        on_its_way = isinstance(known, Scale) and known.current != known.wished
        if known is None or fresh or on_its_way or self._clock() - read_at >= FRESH_SECONDS:
            known = await self._read(namespace, target)
        return known

    async def write(
        self, namespace: str, target: values.Target, replicas: int, *, seen: Scale
    ) -> Scale | Trouble:
        """The scale after asking for so many replicas, if nobody has changed the target since it was seen."""
        body = {"metadata": {"resourceVersion": seen.version}, "spec": {"replicas": replicas}}
        try:
            raw = await self._kube.patch_merge(
                resource_of(target), target.name, body, namespace, subresource="scale"
            )
        except errors.KubeError as error:
            self._known.pop((namespace, target), None)
            return _trouble(target, error)
        return self._keep(namespace, target, _scale(raw))

    async def _read(self, namespace: str, target: values.Target) -> Scale | Trouble:
        try:
            raw = await self._kube.get(resource_of(target), target.name, namespace, subresource="scale")
        except errors.KubeError as error:
            return self._keep(namespace, target, _trouble(target, error))
        return self._keep(namespace, target, _scale(raw))

    def _keep(self, namespace: str, target: values.Target, found: Scale | Trouble) -> Scale | Trouble:
        self._known[(namespace, target)] = self._clock(), found
        return found


def resource_of(target: values.Target) -> Resource:
    """Where a kind is served, its plural guessed by the rule that Kubernetes' own clients guess by."""
    group, _, version = target.api_version.rpartition("/")
    return Resource(group, version, _plural(target.kind.lower()), target.kind, namespaced=True)


def _plural(singular: str) -> str:
    if singular.endswith("s"):
        return singular + "es"
    return singular[:-1] + "ies" if singular.endswith("y") else singular + "s"


def _scale(raw: Object) -> Scale:
    return Scale(
        wished=int(raw.get("spec", {}).get("replicas") or 0),
        current=int(raw.get("status", {}).get("replicas") or 0),
        version=objects.resource_version(raw),
    )


def _trouble(target: values.Target, error: errors.KubeError) -> Trouble:
    if isinstance(error, errors.NotFound):
        return Trouble(f"{target} does not exist or has no scale subresource; correct scaling.targetRef")
    if isinstance(error, errors.Conflict):
        return Trouble(f"{target} was changed by somebody else just now")
    return Trouble(f"{target} cannot be scaled: {error.message}")
