"""Sees to it that the Secret holds a certificate that lasts, and that the API server trusts it.

Trust comes first: the API server knows the new authority before anyone shows what it signed, and the old
one until it runs out, so that no request fails while replicas read the Secret again.
"""

import base64
import logging
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

from vgpu_kube import errors, logs, patches
from vgpu_kube.objects import Object
from vgpu_kube.protocol import Kube, Ops
from vgpu_kube.resources import DEPLOYMENTS, Resource
from vgpu_webhooks.certificates import authority

logger = logging.getLogger(__name__)

SERVICE = "vgpu-admission"
"""Name of the Service, of the Deployment behind it, and of both registrations."""

SECRET = "vgpu-admission-tls"  # noqa: S105 -- the name of a Secret

SECRETS = Resource("", "v1", "secrets", "Secret", namespaced=True)
REGISTRATIONS = tuple(
    Resource("admissionregistration.k8s.io", "v1", f"{kind.lower()}s", kind, namespaced=False)
    for kind in ("MutatingWebhookConfiguration", "ValidatingWebhookConfiguration")
)

ATTEMPTS = 120
"""How often it is tried, a second apart: what else is installed with us may come later."""


async def keep(kube: Kube, namespace: str, *, now: datetime) -> bool:
    """Renews what has to be renewed and restores trust; True where there is a new certificate.

    Raises NotFound while the Deployment or a registration is missing.
    """
    host = f"{SERVICE}.{namespace}.svc"
    found = await _secret(kube, namespace)
    held = _issued(found)
    if held is not None and authority.serves(held, host, now=now):
        await _trust(kube, held.authorities)
        return False
    fresh = authority.issue(host, now=now)
    earlier = authority.still_valid(held.authorities, now=now) if held else b""
    bundle = fresh.authorities + earlier
    await _trust(kube, bundle)
    await _write(kube, namespace, found, _data(fresh, bundle))
    return True


async def keep_trying(
    kube: Kube,
    namespace: str,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
    attempts: int = ATTEMPTS,
) -> bool:
    """The same, tried again while something is missing or the API server is away; raises the last failure."""
    for left in range(attempts - 1, -1, -1):
        try:
            return await keep(kube, namespace, now=now())
        except (errors.NotFound, errors.Unavailable, errors.Conflict, errors.AlreadyExists) as error:
            if not left:
                raise
            logs.event(logger, logging.INFO, "certificate waits", reason=error)
            await sleep(1.0)
    raise ValueError(f"expected at least one attempt, found attempts={attempts}")


async def _secret(kube: Kube, namespace: str) -> Object | None:
    try:
        return await kube.get(SECRETS, SECRET, namespace)
    except errors.NotFound:
        return None


def _issued(secret: Object | None) -> authority.Issued | None:
    data: Mapping[str, str] = (secret or {}).get("data") or {}
    try:
        parts = [base64.b64decode(data[name]) for name in ("tls.crt", "tls.key", "ca.crt")]
    except (KeyError, ValueError):
        return None
    return authority.Issued(certificate=parts[0], key=parts[1], authorities=parts[2])


def _data(issued: authority.Issued, bundle: bytes) -> dict[str, str]:
    files = {"tls.crt": issued.certificate, "tls.key": issued.key, "ca.crt": bundle}
    return {name: base64.b64encode(text).decode() for name, text in files.items()}


async def _write(kube: Kube, namespace: str, found: Object | None, data: dict[str, str]) -> None:
    if found is None:
        about = {"name": SECRET, "ownerReferences": [await _owner(kube, namespace)]}
        body: Object = {"metadata": about, "type": "kubernetes.io/tls", "data": data}
        await kube.create(SECRETS, body, namespace)
    else:
        ops = [patches.unchanged(found), patches.add("/data", data)]
        await kube.patch_json(SECRETS, SECRET, ops, namespace)


async def _owner(kube: Kube, namespace: str) -> dict[str, Any]:
    """The Deployment, so that the Secret goes when the platform is uninstalled."""
    found = await kube.get(DEPLOYMENTS, SERVICE, namespace)
    return {"apiVersion": "apps/v1", "kind": "Deployment", "name": SERVICE, "uid": found["metadata"]["uid"]}


async def _trust(kube: Kube, bundle: bytes) -> None:
    encoded = base64.b64encode(bundle).decode()
    for resource in REGISTRATIONS:
        await patches.rewrite(kube, resource, SERVICE, lambda raw: _trusting(raw, encoded))


def _trusting(registration: Object, encoded: str) -> Ops | None:
    ops = [
        patches.add(patches.pointer("webhooks", index, "clientConfig", "caBundle"), encoded)
        for index, webhook in enumerate(registration["webhooks"])
        if webhook["clientConfig"].get("caBundle") != encoded
    ]
    return [patches.unchanged(registration), *ops] if ops else None
