"""A kubeconfig holds all that a client needs, in one file that only its owner reads."""

import base64
import stat
from pathlib import Path

import yaml

from vgpu_e2e import kubeconfig


def test_a_token_kubeconfig_names_the_server_and_trusts_its_authority(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("pem")

    path = kubeconfig.with_token(
        tmp_path / "k.yaml", url="https://127.0.0.1:1", authority=authority, token="t"
    )

    document = yaml.safe_load(path.read_text())
    assert document["clusters"][0]["cluster"]["server"] == "https://127.0.0.1:1"
    assert base64.b64decode(document["clusters"][0]["cluster"]["certificate-authority-data"]) == b"pem"
    assert document["users"][0]["user"] == {"token": "t"}
    assert document["current-context"] == document["contexts"][0]["name"]


def test_a_kubeconfig_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    authority = tmp_path / "ca.crt"
    authority.write_text("pem")

    path = kubeconfig.with_token(tmp_path / "k.yaml", url="u", authority=authority, token="t")

    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not path.with_suffix(".part").exists()
