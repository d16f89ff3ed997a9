"""The requests a test sees, stops at, and makes fail."""

from dataclasses import dataclass
from enum import Enum

from vgpu_kube import errors
from vgpu_kube.resources import Resource


class Moment(Enum):
    """Before or after a request takes effect; after it, the answer has not been received yet."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``verb`` is get, list, watch, create, patch_json, patch_merge, apply, delete or bind."""

    verb: str
    resource: Resource
    namespace: str | None
    name: str | None
    subresource: str | None = None

    @property
    def writes(self) -> bool:
        """True where the request changes something."""
        return self.verb not in {"get", "list", "watch"}


@dataclass(slots=True, kw_only=True)
class Failure:
    """An error that waits for requests; ``None`` matches every verb and every resource."""

    error: errors.KubeError
    verb: str | None
    resource: Resource | None
    moment: Moment
    times: int

    def strikes(self, request: Request, moment: Moment) -> bool:
        """True, once less each time, where this request is one of those."""
        matches = self.verb in {None, request.verb} and self.resource in {None, request.resource}
        if not matches or moment is not self.moment or self.times == 0:
            return False
        self.times -= 1
        return True
