"""The command line run against a cluster in memory."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import CliRunner, Result

from town import Town, add_claim, add_node, add_pool, amounts, give
from vgpu_cli import app, options
from vgpu_cli.cluster import Session


@pytest.fixture
def town() -> Town:
    """A cluster with nothing in it."""
    return Town()


@pytest.fixture
def run(town: Town) -> Callable[..., Result]:
    """Runs the command line against the town; the current namespace is team-a."""

    @contextmanager
    def connect(_: str | None, __: str | None) -> Iterator[Session]:
        yield Session(town, "team-a")

    def run_(*arguments: str) -> Result:
        return CliRunner().invoke(app.app, arguments, obj=options.Access(connect=connect))

    return run_


@pytest.fixture
def settled(town: Town) -> Town:
    """One pool over two nodes with two GPUs each; team-a's llm runs and has grown, team-b's embed waits."""
    add_pool(town)
    for name in ("gpu-0", "gpu-1"):
        add_node(town, name)
    add_claim(town, "llm", "team-a", pods=1, allocated=amounts("40Gi", 60))
    add_claim(town, "embed", "team-b", reason="WaitingForQuota", message="40 GiB/40 % asked")
    give(town, "gpu-0", "llm", "team-a", device=0)
    return town
