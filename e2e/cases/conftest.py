"""One bed per module, one team per test."""

import itertools
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from vgpu_e2e import audit, platform
from vgpu_e2e.team import Team

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bed(request: pytest.FixtureRequest) -> AsyncIterator[platform.Bed]:
    """The platform with the module's BED settings and POOLS applied."""
    async with platform.Bed(**getattr(request.module, "BED", {})) as running:
        await running.apply(list(getattr(request.module, "POOLS", [])))
        yield running


@pytest_asyncio.fixture(loop_scope="module")
async def team(bed: platform.Bed) -> AsyncIterator[Team]:
    """A team in a fresh namespace; when it leaves, the ledger is sound and holds nothing of it."""
    arrived = Team(bed.api, f"team-{next(_numbers)}")
    await arrived.arrive()
    yield arrived
    picture = await audit.look(bed.api)
    assert audit.violations(picture) == []
    await arrived.leave()
