"""Kubeconfig files: how a process finds the bed's API server and who it is there."""

import base64
import os
from pathlib import Path

import yaml

from vgpu_e2e import pki
from vgpu_e2e.rest import Object


def with_certificate(path: Path, *, url: str, authority: Path, identity: pki.Pair) -> Path:
    """Write a kubeconfig that authenticates by client certificate."""
    user = {
        "client-certificate-data": _encoded(identity.certificate),
        "client-key-data": _encoded(identity.key),
    }
    return _write(path, url=url, authority=authority, user=user)


def with_token(path: Path, *, url: str, authority: Path, token: str) -> Path:
    """Write a kubeconfig that authenticates by bearer token."""
    return _write(path, url=url, authority=authority, user={"token": token})


def _write(path: Path, *, url: str, authority: Path, user: Object) -> Path:
    cluster = {"server": url, "certificate-authority-data": _encoded(authority)}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "bed", "cluster": cluster}],
        "users": [{"name": "bed", "user": user}],
        "contexts": [{"name": "bed", "context": {"cluster": "bed", "user": "bed"}}],
        "current-context": "bed",
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.touch(mode=0o600)
    part.write_text(yaml.safe_dump(document))
    os.replace(part, path)  # a reader never sees half a file
    return path


def _encoded(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
