"""Nominal, borrowing, waiting, admitted after a release: never above, whoever asks at once."""

import asyncio

import pytest

from vgpu import values
from vgpu_e2e import audit, objects, platform, process
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 4}
QUARTER = objects.amounts("20Gi", 25)


async def _quotas(bed: platform.Bed, team: Team, *, nominal: str, borrowing: str, other: str) -> None:
    """Give the team a quota of its own, beside somebody who may lend."""
    lines = [
        objects.quota(team.namespace, objects.amounts(nominal, 1600), objects.amounts(borrowing, 800)),
        objects.quota("lender", objects.amounts(other, 1600)),
    ]
    await bed.apply([objects.pool(quotas=lines)])


async def test_within_its_nominal_a_team_runs_and_above_it_borrows(bed: platform.Bed, team: Team) -> None:
    await _quotas(bed, team, nominal="60Gi", borrowing="20Gi", other="100Gi")
    await team.claim("llm", requests=QUARTER)

    await team.run("llm", 3)
    await team.bound(3)
    await team.condition("llm", "Accepted", reason="WithinQuota")

    await team.run("llm", 1, prefix="fourth")
    await team.bound(4)
    await team.condition("llm", "Accepted", reason="Borrowing")


async def test_above_its_quota_a_pod_waits_with_a_sentence_and_starts_after_a_release(
    bed: platform.Bed, team: Team
) -> None:
    await _quotas(bed, team, nominal="40Gi", borrowing="0", other="100Gi")
    await team.claim("llm", requests=QUARTER)
    await team.run("llm", 3)
    await team.bound(2)

    waiting = await team.condition("llm", "Accepted", reason="WaitingForQuota")
    assert "40 GiB" in waiting["message"]
    running = [pod["metadata"]["name"] for pod in await team.bound(2)]

    await team.delete(running[:1])

    await process.until(
        lambda: _runs(team, 2, without=running[0]), timeout_seconds=10, awaited="the third pod"
    )


async def test_what_can_never_fit_the_quota_says_so(bed: platform.Bed, team: Team) -> None:
    await _quotas(bed, team, nominal="40Gi", borrowing="10Gi", other="100Gi")
    await team.claim("llm", requests=objects.amounts("60Gi", 25))
    await team.run("llm")

    exceeds = await team.condition("llm", "Accepted", reason="ExceedsQuota")

    assert "50 GiB" in exceeds["message"]


async def test_a_namespace_without_a_line_gets_nothing(bed: platform.Bed, team: Team) -> None:
    await bed.apply([objects.pool(quotas=[objects.quota("lender", objects.amounts("100Gi", 100))])])
    await team.claim("llm")
    await team.run("llm")

    refused = await team.condition("llm", "Accepted", reason="ExceedsQuota")

    assert team.namespace in refused["message"]
    assert (await team.bound(0)) == []


async def test_many_pods_at_once_never_exceed_the_quota(bed: platform.Bed, team: Team) -> None:
    await _quotas(bed, team, nominal="100Gi", borrowing="0", other="100Gi")
    await team.claim("llm", requests=objects.amounts("10Gi", 10))
    watched = asyncio.create_task(_never_above(bed, team.namespace, 100 * values.GIB))

    await team.run("llm", 30)
    await team.bound(10)
    await team.delete([pod["metadata"]["name"] for pod in await team.bound(10)])
    await team.bound(10)

    watched.cancel()
    with pytest.raises(asyncio.CancelledError):
        await watched


async def test_growth_counts_against_the_quota(bed: platform.Bed, team: Team) -> None:
    await _quotas(bed, team, nominal="50Gi", borrowing="0", other="100Gi")
    await team.claim("llm", requests=QUARTER, limits=objects.amounts("60Gi", 100))
    await team.run("llm", 2)
    await team.bound(2)

    await team.claim("llm", requests=objects.amounts("40Gi", 25), limits=objects.amounts("60Gi", 100))

    await team.condition("llm", "Resizing", reason="Deferred")
    held = audit.used(await audit.look(bed.api), "a100")[team.namespace]
    assert held.memory_bytes <= 50 * values.GIB


async def _never_above(bed: platform.Bed, namespace: str, limit: int) -> None:
    while True:
        held = audit.used(await audit.look(bed.api), "a100").get(namespace, values.NOTHING)
        assert held.memory_bytes <= limit
        await asyncio.sleep(0.02)


async def _runs(team: Team, count: int, *, without: str) -> bool:
    bound = [pod for pod in await team.pods() if pod["spec"].get("nodeName")]
    names = {pod["metadata"]["name"] for pod in bound}
    return len(names) == count and without not in names
