"""The webhooks are registered and answer: a claim that is never stored is shown to them."""

from vgpu.api import names
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.checks.kinds import MUTATING_WEBHOOKS, VALIDATING_WEBHOOKS
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import VGPU_CLAIMS, Resource

REGISTER = "apply the chart again: it registers the webhooks (helm upgrade vgpu helm/vgpu)"
RUN = (
    f"look at the process behind them: kubectl -n {SYSTEM} get pods -l app.kubernetes.io/name=vgpu-admission"
)
RENEW = (
    f"renew the certificate: run the chart's certificate Job again, then restart vgpu-admission in {SYSTEM}"
)

_TRIAL: Object = {
    "metadata": {"name": "kubectl-vgpu-check"},
    "spec": {"resources": {"requests": {"memory": "1Mi", "computePercent": 1}}},
}


async def look(probe: Probe) -> list[Finding]:
    """Whether pods and claims reach the webhooks, and somebody answers there."""
    return [*await _registrations(probe), await _trial(probe)]


async def _registrations(probe: Probe) -> list[Finding]:
    return [
        await _registration(probe, MUTATING_WEBHOOKS, "mutating"),
        await _registration(probe, VALIDATING_WEBHOOKS, "validating"),
    ]


async def _registration(probe: Probe, resource: Resource, doing: str) -> Finding:
    try:
        ours = [each for each in await registered(probe, resource) if each["name"].endswith(names.GROUP)]
    except errors.Forbidden:
        return skipped(f"the registrations of {doing} webhooks may not be read")
    if not any(each["name"].startswith("pods.") for each in ours):
        return fault(f"no {doing} webhook sees labelled pods", remedy=REGISTER)
    if not all(each["clientConfig"].get("caBundle") for each in ours):
        return fault(f"a {doing} webhook trusts no certificate (caBundle is empty)", remedy=RENEW)
    return sound(f"the {doing} webhooks are registered: {', '.join(each['name'] for each in ours)}")


async def registered(probe: Probe, resource: Resource) -> list[Object]:
    """Every webhook that a kind of registration holds."""
    raw = (await probe.session.cluster.list(resource)).items
    return [webhook for each in raw for webhook in each.get("webhooks") or ()]


async def _trial(probe: Probe) -> Finding:
    """What comes of a claim that is shown to the webhooks and not stored."""
    namespace = probe.session.namespace
    try:
        await probe.session.cluster.rehearse(VGPU_CLAIMS, _TRIAL, namespace)
    except errors.KubeError as error:
        return _judged(error, namespace)
    return sound(f"a trial claim in {namespace} passed the webhooks (nothing was stored)")


def _judged(error: errors.KubeError, namespace: str) -> Finding:
    said = error.message
    if "x509" in said or "certificate" in said:
        return fault(f"the API server does not trust the webhooks: {said}", remedy=RENEW)
    if "failed calling webhook" in said or isinstance(error, errors.Unavailable):
        return fault(f"the webhooks do not answer: {said}", remedy=RUN)
    if "denied the request" in said:
        return sound(f"the webhooks answer (they refused a trial claim: {said})")
    return skipped(f"a trial claim in {namespace} did not reach the webhooks: {said}")
