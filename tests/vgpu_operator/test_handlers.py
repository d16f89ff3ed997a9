"""What kopf is told to do, and how it is kept a guest."""

import itertools
import logging
from pathlib import Path
from typing import Any, cast

import kopf
import pytest

from vgpu_operator import handlers
from vgpu_operator.claims import Claims
from vgpu_operator.pools import Pools


class Uses:
    """Pools and claims that are in use for the reason given."""

    reason: str | None = None
    asked: tuple[object, ...] = ()

    def in_use(self, *asked: object) -> str | None:
        self.asked = asked
        return self.reason


@pytest.fixture
def uses() -> Uses:
    return Uses()


async def wind_up() -> None:
    """Nothing to stop here."""


@pytest.fixture
def registry(uses: Uses) -> kopf.OperatorRegistry:
    pools, claims = cast(Pools, uses), cast(Claims, uses)
    return handlers.registry(pools, claims, kubeconfig=None, on_cleanup=wind_up)


def handler(registry: kopf.OperatorRegistry, id_: str) -> Any:
    (found,) = [each for each in registry._changing.get_all_handlers() if each.id == id_]
    return found


async def test_a_claim_in_use_is_tried_again_with_its_reason(
    registry: kopf.OperatorRegistry, uses: Uses
) -> None:
    uses.reason = "pod a is there"

    with pytest.raises(kopf.TemporaryError, match="pod a is there"):
        await handler(registry, "claim-in-use").fn(namespace="team-a", name="llm", uid="u", retry=0)

    assert uses.asked == (("team-a", "llm"), "u")


async def test_what_is_not_in_use_may_go(registry: kopf.OperatorRegistry, uses: Uses) -> None:
    await handler(registry, "claim-in-use").fn(namespace="team-a", name="llm", uid="u", retry=0)
    await handler(registry, "pool-in-use").fn(name="a100", retry=0)

    assert uses.asked == ("a100",)


@pytest.mark.parametrize(("retry", "delay"), [(0, 1.0), (2, 4.0), (4, 15.0), (5000, 15.0)])
async def test_looks_at_what_waits_to_go_become_rarer(
    registry: kopf.OperatorRegistry, uses: Uses, retry: int, delay: float
) -> None:
    uses.reason = "in use"

    with pytest.raises(kopf.TemporaryError) as raised:
        await handler(registry, "pool-in-use").fn(name="a100", retry=retry)

    assert raised.value.delay == delay


def test_deletions_are_held_back_by_our_finalizer_and_noted_in_annotations_of_ours() -> None:
    settings = handlers.settings()
    patch, body = kopf.Patch(), kopf.Body({"metadata": {"name": "llm"}})

    record: Any = {"retries": 1, "purpose": "delete"}
    settings.persistence.progress_storage.store(key=cast(Any, "held"), record=record, body=body, patch=patch)

    assert settings.persistence.finalizer == "vgpu.dev/in-use"
    assert set(patch) == {"metadata"}
    assert {key.split("/")[0] for key in patch["metadata"]["annotations"]} == {"operator.vgpu.dev"}


def test_an_edit_is_nothing_that_kopf_would_note() -> None:
    notes, patch = handlers.settings().persistence.diffbase_storage, kopf.Patch()
    edited = kopf.Body({"metadata": {"name": "llm"}, "spec": {"priority": 1}})

    notes.store(body=edited, patch=patch, essence=notes.build(body=edited))

    assert notes.fetch(body=edited) == notes.build(body=edited)
    assert not patch


def test_kopf_posts_no_events_scans_nothing_and_knows_no_peers() -> None:
    settings = handlers.settings()

    assert not settings.posting.enabled
    assert settings.scanning.disabled
    assert settings.peering.standalone


def test_an_api_server_that_is_away_is_tried_for_ever() -> None:
    delays = handlers.settings().networking.error_backoffs

    assert isinstance(delays, handlers.Forever)
    assert list(itertools.islice(delays, 6)) == [1, 1, 2, 3, 5, 5]
    assert next(itertools.islice(delays, 10_000, None)) == 5


def test_being_held_back_is_logged_as_no_error() -> None:
    held, broken = (
        logging.LogRecord("kopf.objects", logging.ERROR, "", 0, f"Handler 'x' failed {how}", (), None)
        for how in ("temporarily: y", "with an exception")
    )

    assert handlers.calm(held)
    assert handlers.calm(broken)
    assert (held.levelname, broken.levelname) == ("INFO", "ERROR")


async def test_kopf_logs_in_with_the_kubeconfig_of_the_command_line(
    uses: Uses, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBECONFIG", raising=False)
    path = tmp_path / "kubeconfig"
    path.write_text(
        "{current-context: c, contexts: [{name: c, context: {cluster: k, user: u}}],"
        " clusters: [{name: k, cluster: {server: 'https://example.invalid'}}],"
        " users: [{name: u, user: {token: t}}]}"
    )
    pools, claims = cast(Pools, uses), cast(Claims, uses)
    registry = handlers.registry(pools, claims, kubeconfig=str(path), on_cleanup=wind_up)
    (login,) = [each for each in registry._activities.get_all_handlers() if each.id == "login"]

    info = cast(Any, await cast(Any, login.fn)(settings=handlers.settings()))

    assert (info.server, info.token) == ("https://example.invalid", "t")
