"""Prometheus answers where the operator looks for it, and the queries of claims bring something."""

from urllib.parse import urlsplit

from vgpu_cli import reading, words
from vgpu_cli.checks.finding import SYSTEM, Finding, Probe, fault, skipped, sound
from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import DEPLOYMENTS

REMEDY = (
    "start Prometheus, or correct operator.prometheusUrl in the chart's values; "
    "until then slices and replicas stay as they are"
)


async def look(probe: Probe) -> list[Finding]:
    """Whether the elastic loop gets its numbers."""
    url = probe.prometheus_url or await configured(probe)
    found = [await _answers(probe, url)] if url else [skipped("the operator is given no --prometheus-url")]
    return [*found, *await _blind(probe)]


async def configured(probe: Probe) -> str | None:
    """What the operator's Deployment is given; None where it is not there or gives nothing."""
    try:
        deployment = await probe.session.cluster.get(DEPLOYMENTS, "vgpu-operator", SYSTEM)
    except (errors.NotFound, errors.Forbidden):
        return None
    for container in deployment["spec"]["template"]["spec"]["containers"]:
        words_ = [*(container.get("command") or ()), *(container.get("args") or ())]
        for word, following in zip(words_, [*words_[1:], ""], strict=True):
            if word.startswith("--prometheus-url"):
                given: str = word.partition("=")[2] or following
                return given or None
    return None


async def _answers(probe: Probe, url: str) -> Finding:
    """Asks it through the API server where its name is one of the cluster's, else from here."""
    try:
        if proxied := through_api_server(url):
            await probe.session.cluster.text(proxied)
        else:
            await probe.fetch(f"{url.rstrip('/')}/-/ready")
    except errors.Forbidden:
        return skipped(f"{url} may not be asked through the API server")
    except (errors.KubeError, OSError) as error:
        return fault(f"Prometheus at {url} does not answer: {error}", remedy=REMEDY)
    return sound(f"Prometheus at {url} is ready")


def through_api_server(url: str) -> str | None:
    """The API server's path to a service such as ``http://prometheus.monitoring:9090``; None for others."""
    parts = urlsplit(url)
    labels = (parts.hostname or "").split(".")
    is_service = len(labels) == 2 or (len(labels) > 2 and labels[2] == "svc")
    if not is_service or labels[-1].isdigit():
        return None
    port = parts.port or (443 if parts.scheme == "https" else 80)
    scheme = "https:" if parts.scheme == "https" else ""
    path = parts.path.rstrip("/")
    return f"/api/v1/namespaces/{labels[1]}/services/{scheme}{labels[0]}:{port}/proxy{path}/-/ready"


async def _blind(probe: Probe) -> list[Finding]:
    """Claims whose numbers are missing."""
    try:
        claims = await reading.claims(probe.session.cluster, None)
    except errors.Forbidden as error:
        return [skipped(error.message)]
    blind = [each for each in claims if _has_no_numbers(each)]
    if not blind:
        return []
    said = reading.said(blind[0], "ScalingLimited").message
    paths = words.listed(reading.path(each) for each in blind)
    remedy = "correct the queries of these claims, or let Prometheus scrape what they ask for"
    return [fault(f"no numbers for {words.counted(len(blind), 'claim')} ({paths}): {said}", remedy=remedy)]


def _has_no_numbers(claim: Object) -> bool:
    kinds = ("ScalingLimited", "Resizing")
    return any(reading.said(claim, kind).reason == "MetricsUnavailable" for kind in kinds)
