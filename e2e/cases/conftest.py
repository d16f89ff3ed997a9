"""One bed per module, one team per test."""

import itertools
from collections.abc import AsyncIterator, Generator

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


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed case shows how the logs of the bed's processes end."""
    report = yield
    bed = getattr(item, "funcargs", {}).get("bed")
    if report.failed and call.when == "call" and isinstance(bed, platform.Bed):
        report.sections += [
            (f"end of {service.process.log.name}", service.process.log_tail()) for service in bed.services
        ]
    return report
