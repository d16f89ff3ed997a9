"""The three kinds are served. Discovery is open to everybody, so this works without any role."""

import orjson

from vgpu.api import names
from vgpu_cli.checks.finding import Finding, Probe, fault, sound
from vgpu_kube import errors

WANTED = (names.POOL_PLURAL, names.CLAIM_PLURAL, names.NODE_PLURAL)
REMEDY = "install the definitions: kubectl apply -f crds/, or helm install vgpu helm/vgpu"


async def look(probe: Probe) -> list[Finding]:
    """Whether the API server knows pools, claims and nodes in our version."""
    try:
        served = orjson.loads(await probe.session.cluster.text(f"/apis/{names.API_VERSION}"))
        found = {each["name"] for each in served["resources"]}
    except errors.NotFound:
        found = set()
    missing = [each for each in WANTED if each not in found]
    if missing:
        return [fault(f"not served in {names.API_VERSION}: {', '.join(missing)}", remedy=REMEDY)]
    return [sound(f"{', '.join(WANTED)} are served in {names.API_VERSION}")]
