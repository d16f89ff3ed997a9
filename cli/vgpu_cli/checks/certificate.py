"""The certificates of the webhooks last: the authority that is trusted, and what is shown to it."""

import base64
import binascii
from collections.abc import Iterable
from datetime import UTC, datetime

from vgpu_cli import words
from vgpu_cli.checks.admission import RENEW, registered
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.checks.kinds import MUTATING_WEBHOOKS, SECRETS, VALIDATING_WEBHOOKS
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors

SOON = 14 * 86_400.0
"""Less than this long is a fault already: people sleep."""


async def look(probe: Probe) -> list[Finding]:
    """How long each certificate is still good."""
    return [*await _authorities(probe), *await _shown(probe)]


async def _authorities(probe: Probe) -> list[Finding]:
    """The bundles in the registrations, each once."""
    webhooks = [
        *await registered(probe, MUTATING_WEBHOOKS),
        *await registered(probe, VALIDATING_WEBHOOKS),
    ]
    bundles = {each["clientConfig"].get("caBundle") for each in webhooks if each["name"].endswith("vgpu.dev")}
    found = [
        _judged("the authority of the webhooks", each, probe.now) for each in sorted(filter(None, bundles))
    ]
    return found or [skipped("no registration names an authority")]


async def _shown(probe: Probe) -> list[Finding]:
    """The certificates in the platform's own Secrets."""
    try:
        secrets = (await probe.session.cluster.list(SECRETS, SYSTEM, fields="type=kubernetes.io/tls")).items
    except errors.Forbidden:
        return [
            skipped(f"the Secrets of {SYSTEM} may not be read; the trial claim has tested the certificate")
        ]
    return [
        _judged(f"the certificate in Secret {each['metadata']['name']}", each["data"]["tls.crt"], probe.now)
        for each in secrets
        if (each.get("data") or {}).get("tls.crt")
    ]


def _judged(what: str, encoded: str, now: float) -> Finding:
    try:
        ends = min(_ends(base64.b64decode(encoded)))
    except (ValueError, binascii.Error) as error:
        return fault(f"{what} is none: {error}", remedy=RENEW)
    day = datetime.fromtimestamp(ends, UTC).strftime("%Y-%m-%d")
    if ends <= now:
        return fault(f"{what} expired on {day}", remedy=RENEW)
    if ends <= now + SOON:
        return fault(f"{what} expires in {words.age(ends - now)}, on {day}", remedy=RENEW)
    return sound(f"{what} is good until {day}")


def _ends(pem: bytes) -> Iterable[float]:
    from cryptography import x509

    return [each.not_valid_after_utc.timestamp() for each in x509.load_pem_x509_certificates(pem)]
