"""Where the API server is and who asks: kubeconfig files as kubectl reads them, or a pod's service account.

Only what is needed for one request is read, without a Kubernetes library: importing one takes longer than the
answer (``docs/decisions/0010-the-commands-own-door.md``).
"""

import base64
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from vgpu_cli.faults import NoCluster

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")

_Entry = Mapping[str, Any]
_loader: type = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """One identity at one API server; certificates and keys are PEM."""

    server: str
    namespace: str = "default"
    authority: bytes | None = None
    verify: bool = True
    server_name: str | None = None
    proxy: str | None = None
    token: str | None = None
    certificate: bytes | None = None
    key: bytes | None = None
    plugin: _Entry | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


def load(path: str | None, *, context: str | None, environ: Mapping[str, str]) -> Login:
    """The login of a context (else of the current one). Raises NoCluster for what cannot be used."""
    written = path or environ.get("KUBECONFIG") or os.path.expanduser("~/.kube/config")
    files = [Path(each) for each in written.split(os.pathsep) if each]
    present = [each for each in files if each.is_file()]
    if not present and path is None and context is None and "KUBERNETES_SERVICE_HOST" in environ:
        return _of_service_account(environ)
    if not present:
        raise NoCluster(
            f"expected a kubeconfig at {written}, found none; pass --kubeconfig or set KUBECONFIG"
        )
    return _login(_merged([(each, _read(each)) for each in present]), context=context, where=written)


def _read(path: Path) -> _Entry:
    try:
        found = yaml.load(path.read_bytes(), Loader=_loader)  # noqa: S506 -- a safe loader, in C
    except (OSError, yaml.YAMLError) as error:
        raise NoCluster(f"expected a kubeconfig at {path}, found: {error}; correct the file") from None
    if not isinstance(found, dict):
        raise NoCluster(f"expected a kubeconfig at {path}, found no mapping; correct the file")
    return found


def _merged(read: list[tuple[Path, _Entry]]) -> dict[str, Any]:
    """All files as one: of equal names the first counts, as in kubectl; relative paths become absolute."""
    merged: dict[str, Any] = {"clusters": {}, "users": {}, "contexts": {}, "current": None}
    for path, found in read:
        merged["current"] = merged["current"] or found.get("current-context")
        for plural, single in (("clusters", "cluster"), ("users", "user"), ("contexts", "context")):
            for each in found.get(plural) or ():
                entry = {**(each.get(single) or {}), "_directory": path.parent}
                merged[plural].setdefault(each.get("name"), entry)
    return merged


def _login(merged: _Entry, *, context: str | None, where: str) -> Login:
    wanted = context or merged["current"]
    known = ", ".join(sorted(map(str, merged["contexts"]))) or "none"
    chosen = merged["contexts"].get(wanted)
    if chosen is None:
        raise NoCluster(
            f"expected a context {wanted or '(current)'} in {where}, found: {known}; pass --context"
        )
    cluster = merged["clusters"].get(chosen.get("cluster"))
    if cluster is None or not cluster.get("server"):
        raise NoCluster(f"expected a cluster {chosen.get('cluster')} with a server in {where}, found none")
    user = merged["users"].get(chosen.get("user")) or {}
    if "auth-provider" in user:
        raise NoCluster(
            "expected a kubeconfig with an exec plugin, found the retired auth-provider; renew it"
        )
    return Login(
        server=cluster["server"].rstrip("/"),
        namespace=chosen.get("namespace") or "default",
        authority=_data(cluster, "certificate-authority"),
        verify=not cluster.get("insecure-skip-tls-verify"),
        server_name=cluster.get("tls-server-name"),
        proxy=cluster.get("proxy-url"),
        token=_token(user),
        certificate=_data(user, "client-certificate"),
        key=_data(user, "client-key"),
        plugin=user.get("exec"),
        headers=_basic(user),
    )


def _data(entry: _Entry, name: str) -> bytes | None:
    """What stands in ``name-data`` in base64, or in the file that ``name`` says."""
    if encoded := entry.get(f"{name}-data"):
        return base64.b64decode(encoded)
    if path := entry.get(name):
        return _file(entry["_directory"] / path)
    return None


def _file(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise NoCluster(f"expected a readable file named in the kubeconfig, found: {error}") from None


def _token(user: _Entry) -> str | None:
    if path := user.get("tokenFile"):
        return _file(user["_directory"] / path).decode().strip()
    return user.get("token")


def _basic(user: _Entry) -> Mapping[str, str]:
    if "username" not in user:
        return {}
    pair = f"{user['username']}:{user.get('password', '')}".encode()
    return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}


def _of_service_account(environ: Mapping[str, str]) -> Login:
    host, port = environ["KUBERNETES_SERVICE_HOST"], environ.get("KUBERNETES_SERVICE_PORT", "443")
    bracketed = f"[{host}]" if ":" in host else host
    return Login(
        server=f"https://{bracketed}:{port}",
        namespace=_file(SERVICE_ACCOUNT / "namespace").decode().strip(),
        authority=_file(SERVICE_ACCOUNT / "ca.crt"),
        token=_file(SERVICE_ACCOUNT / "token").decode().strip(),
    )
