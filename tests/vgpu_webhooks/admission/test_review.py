import base64
from typing import Any

import orjson
import pytest

from vgpu_webhooks.admission import review


def body(**changes: Any) -> bytes:
    request = {
        "uid": "u1",
        "resource": {"group": "", "version": "v1", "resource": "pods"},
        "operation": "CREATE",
        "namespace": "team-a",
        "object": {"metadata": {}},
        "oldObject": None,
        **changes,
    }
    return orjson.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request})


def parse(raw: bytes) -> review.Review:
    return review.parse(raw, group="", plural="pods")


def test_a_review_is_read() -> None:
    asked = parse(body(operation="UPDATE", oldObject={"spec": {}}))

    assert asked == review.Review(
        uid="u1", creates=False, namespace="team-a", object={"metadata": {}}, old_object={"spec": {}}
    )


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resource": {"group": "apps", "resource": "deployments"}}, "expected pods of group 'core'"),
        ({"resource": {"group": "", "resource": "nodes"}}, "manifests register it"),
        ({"resource": "pods"}, "expected an object in resource"),
        ({"subResource": "status"}, "expected nothing in request.subResource, found the text 'status'"),
        ({"operation": "DELETE"}, "expected CREATE or UPDATE in request.operation"),
        ({"operation": 3}, "expected a text in operation"),
        ({"object": None}, "expected an object in request.object, found nothing"),
        ({"object": [1]}, "found a list"),
        ({"oldObject": "x"}, "expected an object in oldObject"),
        ({"namespace": {}}, "expected a text in namespace"),
    ],
)
def test_a_request_that_cannot_be_judged_still_gets_its_answer(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(review.MalformedReviewError, match="AdmissionReview: ") as caught:
        parse(body(**changes))

    assert said in str(caught.value)
    assert caught.value.uid == "u1"


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (b"", "expected JSON"),
        (b"{", "expected JSON"),
        (b"\xff\xfe", "expected JSON"),
        (b'"\\ud800"', "expected"),
        (b"[]", "expected an object, found a list"),
        (b"null", "expected an object, found nothing"),
        (b"{}", "expected AdmissionReview in kind, found nothing"),
        (b'{"kind": "Pod", "apiVersion": "v1"}', "expected AdmissionReview in kind, found the text 'Pod'"),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1beta1"}',
            "admission.k8s.io/v1beta1",
        ),
        (
            b'{"kind": "AdmissionReview", "apiVersion": "admission.k8s.io/v1"}',
            "expected an object in request",
        ),
        (body(uid=""), "expected a text in request.uid"),
        (body(uid=7), "expected a text in uid"),
        (b"[" * 20_000 + b"]" * 20_000, "expected JSON"),
        (b"[" + b"[]," * 900_000 + b"[]]", "expected at most 50000 objects and lists, found 900002"),
        (b'{"a":' * 500 + b"1" + b"}" * 500, "levels of nesting"),
    ],
)
def test_what_is_no_review_is_refused_in_words(raw: bytes, said: str) -> None:
    with pytest.raises(review.MalformedReviewError) as caught:
        parse(raw)

    assert said in str(caught.value)
    assert caught.value.uid is None


def answered(verdict: review.Verdict) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(review.answer("u1", verdict))
    assert (document["apiVersion"], document["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
    response: dict[str, Any] = document["response"]
    return response


def test_a_yes_is_short() -> None:
    assert answered(review.ALLOWED) == {"uid": "u1", "allowed": True}


def test_a_yes_carries_its_patch_and_warnings() -> None:
    operations = [{"op": "add", "path": "/a", "value": 1}]

    response = answered(review.Verdict(allowed=True, patch=operations, warnings=["w" * 300]))

    assert response["patchType"] == "JSONPatch"
    assert orjson.loads(base64.b64decode(response["patch"])) == operations
    assert [len(each) for each in response["warnings"]] == [256]


def test_a_no_carries_its_sentence_and_never_a_patch() -> None:
    response = answered(review.refused("because", code=503))

    assert response["status"] == {"code": 503, "reason": "ServiceUnavailable", "message": "because"}
    assert "patch" not in response


def test_a_huge_message_is_cut() -> None:
    assert len(answered(review.refused("x" * 100_000))["status"]["message"]) == review.MAX_MESSAGE
