"""AdmissionReview v1 on the wire: bytes in, a checked request; a verdict in, bytes out.

Knows nothing of what is reviewed.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from vgpu_kube.objects import Object
from vgpu_webhooks.admission import shape

API_VERSION = "admission.k8s.io/v1"
KIND = "AdmissionReview"

MAX_PARTS = 50_000
"""Objects and lists in a body, counted before they are built: a flood of them would hold up everyone else.

The largest pods have a few thousand.
"""

MAX_MESSAGE = 4000
"""Characters of a refusal; a pod may have hundreds of containers, each with the same fault."""

MAX_WARNING = 256
"""Characters that clients are promised to see of a warning."""


class MalformedReviewError(ValueError):
    """The body is no review that we can judge; ``uid`` is its request's, where that much could be read."""

    def __init__(self, message: str, uid: str | None = None) -> None:
        super().__init__(message)
        self.uid = uid


@dataclass(frozen=True, slots=True, kw_only=True)
class Review:
    """A question of the API server: whether this object may be created, or may become so."""

    uid: str
    creates: bool
    namespace: str
    object: Object
    old_object: Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The answer; ``message`` and ``code`` (an HTTP status) only count where it is a no."""

    allowed: bool
    message: str = ""
    code: int = 422
    patch: Sequence[Object] = ()
    warnings: Sequence[str] = ()


ALLOWED = Verdict(allowed=True)


def refused(message: str, *, code: int = 422) -> Verdict:
    """A no: what was expected, what was found, what to do."""
    return Verdict(allowed=False, message=message, code=code)


def parse(body: bytes, *, group: str, plural: str) -> Review:
    """The request of a review of objects of this resource.

    Raises MalformedReviewError.
    """
    uid: str | None = None
    try:
        document = _decoded(body)
        _expect(document.get("kind") == KIND, "kind", KIND, document.get("kind"))
        _expect(
            document.get("apiVersion") == API_VERSION, "apiVersion", API_VERSION, document.get("apiVersion")
        )
        request = document.get("request")
        if not isinstance(request, dict):
            raise shape.MalformedError(f"expected an object in request, found {shape.described(request)}")
        uid = shape.text(request, "uid") or None
        _expect(uid is not None, "request.uid", "a text", request.get("uid"))
        return _request(request, group=group, plural=plural)
    except shape.MalformedError as error:
        raise MalformedReviewError(f"{KIND}: {error}", uid) from None


def answer(uid: str, verdict: Verdict) -> bytes:
    """The review that carries a verdict back to the API server."""
    response: dict[str, Any] = {"uid": uid, "allowed": verdict.allowed}
    if verdict.warnings:
        response["warnings"] = [shape.shortened(each, MAX_WARNING) for each in verdict.warnings]
    if not verdict.allowed:
        message = shape.shortened(verdict.message, MAX_MESSAGE)
        response["status"] = {"code": verdict.code, "reason": _reason(verdict.code), "message": message}
    elif verdict.patch:
        response["patchType"] = "JSONPatch"
        response["patch"] = base64.b64encode(orjson.dumps([*verdict.patch])).decode()
    return orjson.dumps({"apiVersion": API_VERSION, "kind": KIND, "response": response})


def _decoded(body: bytes) -> Object:
    if (found := body.count(b"{") + body.count(b"[")) > MAX_PARTS:
        raise shape.MalformedError(
            f"expected at most {MAX_PARTS} objects and lists, found {found}; send a smaller object"
        )
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise shape.MalformedError(
            f"expected JSON, found {len(body)} bytes that are none ({error}); send an {KIND} {API_VERSION}"
        ) from None
    if not isinstance(document, dict):
        raise shape.MalformedError(
            f"expected an object, found {shape.described(document)}; send an {KIND} {API_VERSION}"
        )
    shape.bounded(document)
    return document


def _request(request: Object, *, group: str, plural: str) -> Review:
    resource = shape.mapping(request, "resource")
    found = (shape.text(resource, "group"), shape.text(resource, "resource"))
    _expect(found == (group, plural), "request.resource", f"{plural} of group {group or 'core'!r}", found)
    subresource = shape.text(request, "subResource")
    _expect(not subresource, "request.subResource", "nothing", subresource)
    operation = shape.text(request, "operation")
    _expect(operation in {"CREATE", "UPDATE"}, "request.operation", "CREATE or UPDATE", operation)
    reviewed = request.get("object")
    if not isinstance(reviewed, dict):
        raise shape.MalformedError(f"expected an object in request.object, found {shape.described(reviewed)}")
    return Review(
        uid=request["uid"],
        creates=operation == "CREATE",
        namespace=shape.text(request, "namespace"),
        object=reviewed,
        old_object=shape.mapping(request, "oldObject"),
    )


def _expect(holds: bool, field: str, expected: str, found: object) -> None:
    if not holds:
        words = " ".join(found) if isinstance(found, tuple) else found
        raise shape.MalformedError(
            f"expected {expected} in {field}, found {shape.described(words)}; "
            "call the webhook as the project's manifests register it"
        )


def _reason(code: int) -> str:
    reasons = {
        400: "BadRequest",
        403: "Forbidden",
        409: "Conflict",
        422: "Invalid",
        503: "ServiceUnavailable",
    }
    return reasons.get(code, "Invalid")
