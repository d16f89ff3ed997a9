"""What a failed case shows besides its own words: how the logs of the bed's processes end."""

from collections.abc import Generator

import pytest

from vgpu_e2e import platform


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Attach them while the bed still stands."""
    report = yield
    bed = getattr(item, "funcargs", {}).get("bed")
    if report.failed and call.when == "call" and isinstance(bed, platform.Bed):
        report.sections += [
            (f"end of {service.process.log.name}", service.process.log_tail()) for service in bed.services
        ]
    return report
