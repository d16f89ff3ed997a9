"""The steps in the order in which one thing needs another, and how one that fails itself is judged."""

from collections.abc import AsyncIterator

from vgpu.api import InvalidObject
from vgpu_cli import faults
from vgpu_cli.checks import (
    admission,
    agents,
    certificate,
    definitions,
    permissions,
    pools,
    prometheus,
    scheduler,
    shim,
)
from vgpu_cli.checks.finding import Finding, Probe, Step, fault, skipped
from vgpu_kube import errors

STEPS: tuple[tuple[str, Step], ...] = (
    ("definitions", definitions.look),
    ("permissions", permissions.look),
    ("admission", admission.look),
    ("certificates", certificate.look),
    ("scheduler", scheduler.look),
    ("agents", agents.look),
    ("heartbeats", agents.heartbeats),
    ("shim", shim.look),
    ("pools", pools.look),
    ("quotas", pools.quotas),
    ("prometheus", prometheus.look),
)


async def run(probe: Probe) -> AsyncIterator[tuple[str, list[Finding]]]:
    """Each step's name and findings, as they come. Raises Unavailable where nothing answers at all."""
    for name, look in STEPS:
        try:
            yield name, await look(probe)
        except errors.KubeError as error:
            yield name, [_judged(error)]
        except InvalidObject as error:
            yield name, [fault(str(error), remedy="see which version of the definitions is installed")]


def _judged(error: errors.KubeError) -> Finding:
    if isinstance(error, errors.Unavailable) and error.status == errors.UNREACHABLE:
        raise error
    if faults.kind_is_missing(error):
        return skipped("needs a kind that is not served")
    if isinstance(error, errors.Forbidden):
        return skipped(error.message)
    return fault(str(error), remedy="ask the API server again; if it stays so, its log says more")
