"""The loop and its parts put together as one value, for the process and for tests."""

from collections.abc import Awaitable, Callable

from vgpu_kube import resources
from vgpu_kube.events import EventType, Recorder
from vgpu_kube.objects import Key
from vgpu_kube.protocol import Kube
from vgpu_operator.elasticity import http_sleep, prometheus
from vgpu_operator.elasticity.acting import Hands
from vgpu_operator.elasticity.asking import Questions
from vgpu_operator.elasticity.counts import Counts
from vgpu_operator.elasticity.loop import Loop
from vgpu_operator.elasticity.outcomes import Outcome
from vgpu_operator.elasticity.rivals import Rivals
from vgpu_operator.elasticity.signals import Ears
from vgpu_operator.elasticity.sleepers import Door, Sleepers
from vgpu_operator.elasticity.targets import Targets
from vgpu_operator.metrics import Metrics
from vgpu_operator.view import View

INTERVAL_SECONDS = 5.0


def loop(
    kube: Kube,
    view: View,
    source: prometheus.Source,
    recorder: Recorder,
    metrics: Metrics,
    *,
    woken: Callable[[Key], None],
    contended: Callable[[str], bool],
    scrape_seconds: int,
    now: Callable[[], float],
    clock: Callable[[], float],
    sleep: Callable[[float], Awaitable[None]],
    interval_seconds: float = INTERVAL_SECONDS,
    door: Door | None = None,
) -> Loop:
    """A loop over the view's claims; ``woken`` is told of claims whose status has something new to say.

    ``contended`` tells the pools in which nothing may grow.
    """

    async def changed(key: Key, before: Outcome | None, outcome: Outcome) -> None:
        woken(key)
        claim = view.claims.items.get(key)
        if claim is not None and outcome.last is not None and (before is None or before.last != outcome.last):
            regarding = {
                "apiVersion": resources.VGPU_CLAIMS.api_version,
                "kind": resources.VGPU_CLAIMS.kind,
                "namespace": claim.meta.namespace,
                "name": claim.meta.name,
                "uid": claim.meta.uid,
            }
            last = outcome.last
            await recorder.record(regarding, EventType.NORMAL, last.reason, last.message, last.action)

    counts = Counts(metrics.registry, metrics.resizes)
    targets = Targets(kube, clock=clock)
    sleepers = Sleepers(door or http_sleep.Door())
    ears = Ears(source, Questions(source, clock=clock), scrape_seconds=scrape_seconds)
    return Loop(
        view,
        ears,
        Hands(kube, view, targets, sleepers, counts),
        targets,
        sleepers,
        Rivals(kube, clock=clock),
        counts,
        changed=changed,
        contended=contended,
        interval_seconds=interval_seconds,
        now=now,
        clock=clock,
        sleep=sleep,
    )
