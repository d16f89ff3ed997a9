"""What the API server refuses, as exceptions named for what the caller does next."""

# ruff: noqa: N818 -- named as the API server names its refusals

from collections.abc import Mapping
from typing import Any

UNREACHABLE = 0
"""The status of an error that never got an HTTP answer."""

PATCH_NOT_APPLICABLE = "the server rejected our request due to an error in our request"
"""All the API server says when an operation of a JSON patch fails; invalid results have causes instead."""


class KubeError(Exception):
    """The API server did not do what was asked; ``status`` is HTTP's, ``reason`` Kubernetes' word for it."""

    def __init__(self, status: int, reason: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{message} (HTTP {status}, {reason})" if status else f"{message} ({reason})")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after = retry_after  # seconds the server asks to wait


class NotFound(KubeError):
    """There is no such object or kind."""


class AlreadyExists(KubeError):
    """An object of this name exists."""


class Conflict(KubeError):
    """The object is not what the write expected: read again, decide again."""


class Gone(KubeError):
    """The version asked for is no longer kept: list again."""


class Invalid(KubeError):
    """The object breaks its schema or its rules; repeating it cannot help."""


class Forbidden(KubeError):
    """Our identity may not do that, or a policy refused it."""


class Unavailable(KubeError):
    """No answer, or one that asks to come back later. Whether a write took place is unknown."""


_BY_STATUS: dict[int, type[KubeError]] = {
    401: Forbidden,
    403: Forbidden,
    404: NotFound,
    408: Unavailable,
    409: Conflict,
    410: Gone,
    422: Invalid,
    429: Unavailable,
}


def from_status(status: int, answer: Mapping[str, Any], *, retry_after: float | None = None) -> KubeError:
    """The exception for an HTTP status and the ``Status`` object that came with it."""
    reason = answer.get("reason") or f"HTTP{status}"
    message = answer.get("message") or "the API server gave no message"
    kind = Unavailable if status >= 500 else _BY_STATUS.get(status, KubeError)
    if reason == "AlreadyExists":
        kind = AlreadyExists
    return kind(status, reason, message, retry_after=retry_after)


def of_json_patch(error: KubeError) -> KubeError:
    """The same error, a :class:`Conflict` where an operation of a JSON patch did not apply.

    The API server answers those with 422, as it does invalid objects; but a failed ``test`` (or a path
    that is not there) means that the object has changed.
    """
    failed = PATCH_NOT_APPLICABLE in error.message or "testing value" in error.message
    return (
        Conflict(error.status, "PatchNotApplicable", error.message)
        if error.status == 422 and failed
        else error
    )
