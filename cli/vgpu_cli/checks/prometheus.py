"""Prometheus answers where the operator looks for it, and the queries of claims bring something."""

from vgpu_cli import metrics, reading, words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_kube import errors
from vgpu_kube.objects import Object

REMEDY = (
    "start Prometheus, or correct operator.prometheusUrl in the chart's values; "
    "until then slices and replicas stay as they are"
)


async def look(probe: Probe) -> list[Finding]:
    """Whether the elastic loop gets its numbers."""
    url = probe.prometheus_url or await metrics.configured(probe.session)
    found = [await _answers(probe, url)] if url else [skipped("the operator is given no --prometheus-url")]
    return [*found, *await _blind(probe)]


async def _answers(probe: Probe, url: str) -> Finding:
    """Asks it through the API server where its name is one of the cluster's, else from here."""
    try:
        await metrics.ask(probe.session, probe.fetch, url, "/-/ready")
    except errors.Forbidden:
        return skipped(f"{url} may not be asked through the API server")
    except (errors.KubeError, OSError) as error:
        return fault(f"Prometheus at {url} does not answer: {error}", remedy=REMEDY)
    return sound(f"Prometheus at {url} is ready")


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
