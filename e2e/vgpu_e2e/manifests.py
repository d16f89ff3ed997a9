"""Kubernetes manifests as the bed needs them: read from files, pointed at processes outside the cluster."""

import base64
import copy
from collections.abc import Iterable
from pathlib import Path

import yaml

from vgpu_e2e import errors
from vgpu_e2e.rest import Object

WEBHOOK_KINDS = ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
FIRST_KINDS = ("CustomResourceDefinition", "Namespace", "ServiceAccount")


def load(path: Path) -> list[Object]:
    """Return the documents of a YAML file, or of all *.yaml files of a directory in order of name."""
    files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
    return [document for file in files for document in _documents(file)]


def in_order(documents: Iterable[Object]) -> list[Object]:
    """Return them with those first that others need to exist."""
    return sorted(documents, key=lambda each: _rank(each["kind"]))


def is_webhook(document: Object) -> bool:
    """Whether it registers an admission webhook."""
    return document["kind"] in WEBHOOK_KINDS


def point_webhooks_at(document: Object, *, url: str, authority: bytes) -> Object:
    """Return a copy whose webhooks call url plus the path of their service, trusting the PEM authority."""
    pointed = copy.deepcopy(document)
    for webhook in pointed["webhooks"]:
        webhook["clientConfig"] = {
            "url": url.rstrip("/") + webhook["clientConfig"]["service"].get("path", "/"),
            "caBundle": base64.b64encode(authority).decode(),
        }
    return pointed


def _documents(file: Path) -> list[Object]:
    try:
        documents = list(
            yaml.load_all(file.read_text(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        )
    except (OSError, yaml.YAMLError) as error:
        raise errors.BedError(f"expected a YAML manifest in {file}: {error}") from None
    found = [each for each in documents if each is not None]
    for document in found:
        if not isinstance(document, dict) or not {"apiVersion", "kind", "metadata"} <= document.keys():
            raise errors.BedError(f"expected apiVersion, kind and metadata in every document of {file}")
    return found


def _rank(kind: str) -> int:
    return FIRST_KINDS.index(kind) if kind in FIRST_KINDS else len(FIRST_KINDS)
