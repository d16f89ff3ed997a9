"""Manifests are read whole, ordered by need, and pointed at the bed."""

import base64
from pathlib import Path

import pytest

from vgpu_e2e import errors, manifests

WEBHOOK = {
    "apiVersion": "admissionregistration.k8s.io/v1",
    "kind": "MutatingWebhookConfiguration",
    "metadata": {"name": "vgpu"},
    "webhooks": [
        {"name": "a", "clientConfig": {"service": {"name": "s", "namespace": "n", "path": "/mutate/pods"}}},
        {"name": "b", "clientConfig": {"service": {"name": "s", "namespace": "n"}}},
    ],
}


def test_a_directory_is_read_in_the_order_of_its_files(tmp_path: Path) -> None:
    for name in ("b", "a"):
        text = f"apiVersion: v1\nkind: Namespace\nmetadata: {{name: {name}}}\n---\n"
        (tmp_path / f"{name}.yaml").write_text(text)

    assert [each["metadata"]["name"] for each in manifests.load(tmp_path)] == ["a", "b"]


@pytest.mark.parametrize("text", ["kind: Pod\n", "- 1\n", "a: [\n"])
def test_what_is_no_manifest_is_refused_with_its_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text(text)

    with pytest.raises(errors.BedError, match=r"broken\.yaml"):
        manifests.load(path)


def test_a_missing_file_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(errors.BedError, match=r"none\.yaml"):
        manifests.load(tmp_path / "none.yaml")


def test_what_others_need_comes_first() -> None:
    kinds = ["Role", "ServiceAccount", "Pod", "Namespace", "CustomResourceDefinition"]

    ordered = [each["kind"] for each in manifests.in_order({"kind": kind} for kind in kinds)]

    assert ordered == ["CustomResourceDefinition", "Namespace", "ServiceAccount", "Role", "Pod"]


def test_webhooks_call_the_bed_and_trust_its_authority() -> None:
    pointed = manifests.point_webhooks_at(WEBHOOK, url="https://127.0.0.1:1", authority=b"pem")

    urls = [each["clientConfig"]["url"] for each in pointed["webhooks"]]
    assert urls == ["https://127.0.0.1:1/mutate/pods", "https://127.0.0.1:1/"]
    assert base64.b64decode(pointed["webhooks"][0]["clientConfig"]["caBundle"]) == b"pem"
    assert "service" not in pointed["webhooks"][0]["clientConfig"]


def test_pointing_a_webhook_leaves_the_manifest_as_it_was() -> None:
    before = repr(WEBHOOK)

    manifests.point_webhooks_at(WEBHOOK, url="https://127.0.0.1:1", authority=b"pem")

    assert repr(WEBHOOK) == before
