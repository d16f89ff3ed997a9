"""Whether admission is in force yet: the API server takes up to seconds to heed a new webhook or policy."""

import dataclasses

from vgpu.api import names
from vgpu_e2e import rest
from vgpu_e2e.rest import Object

PODS = "/api/v1/namespaces/default/pods"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """A pod that must be refused, and the words by which the API server names who refused it."""

    guard: str
    pod: Object


def _pod(**metadata: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "forbidden", **metadata},
        "spec": {"containers": [{"name": "main", "image": "none"}]},
    }


DOORS = (
    Door(guard="admission webhook", pod=_pod(labels={names.CLAIM_LABEL: "no-such-claim"})),
    Door(guard="ValidatingAdmissionPolicy", pod=_pod(annotations={names.SLICE_ANNOTATION: "forged"})),
)


async def refuses(api: rest.API, door: Door) -> bool:
    """Whether the door's pod is refused now by its guard; nothing is created either way."""
    try:
        await api.request("POST", PODS, door.pod, parameters={"dryRun": "All"})
    except rest.StatusError as error:
        return door.guard in str(error) and error.code < 500
    return False
