"""Credentials from an exec plugin, as cloud providers ship them (client.authentication.k8s.io)."""

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from vgpu_cli.faults import NoCluster
from vgpu_cli.kubeconfig import Login

SECONDS = 60.0
"""How long a plugin may take: some open a browser."""


def resolved(login: Login) -> Login:
    """The login with what its plugin answers; itself where it has none. Raises NoCluster."""
    if login.plugin is None:
        return login
    status = _status(login.plugin)
    certificate, key = status.get("clientCertificateData"), status.get("clientKeyData")
    return replace(
        login,
        token=status.get("token", login.token),
        certificate=certificate.encode() if certificate else login.certificate,
        key=key.encode() if key else login.key,
    )


def _status(plugin: Mapping[str, Any]) -> Mapping[str, Any]:
    command = [str(plugin.get("command")), *map(str, plugin.get("args") or ())]
    version = plugin.get("apiVersion", "client.authentication.k8s.io/v1")
    asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": os.isatty(0)}}
    extra = {each["name"]: each["value"] for each in plugin.get("env") or ()}
    environment = {**os.environ, **extra, "KUBERNETES_EXEC_INFO": json.dumps(asked)}
    try:
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, timeout=SECONDS, check=True)  # noqa: S603 -- the user's own kubeconfig names it
        status = json.loads(done.stdout)["status"]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, TypeError) as error:
        hint = plugin.get("installHint") or "run it by hand, or log in again"
        raise NoCluster(f"expected credentials from {command[0]}, found: {error}; {hint}") from None
    return status if isinstance(status, dict) else {}
