"""What an application gets from vgpu_client, on real pages with a real process under the shim."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

import vgpu_client
from vgpu_client import kvcached, page, watching
from vgpu_shim import library

if TYPE_CHECKING:
    import pathlib

    from tests.shim.conftest import Slice

MIB, GIB = 1 << 20, 1 << 30

NewSlice = Callable[..., "Slice"]


class Application:
    """Remembers what it was asked and answers what it was told to."""

    def __init__(self, *answers: vgpu_client.Answer) -> None:
        self.asked: list[vgpu_client.Change] = []
        self._answers = list(answers)

    def __call__(self, change: vgpu_client.Change) -> vgpu_client.Answer:
        self.asked.append(change)
        return self._answers.pop(0) if self._answers else vgpu_client.applied()


def answer_of(slice_: "Slice") -> Any:
    return json.loads((slice_.directory / "usage" / "answer").read_text())


def test_the_layout_is_the_headers() -> None:
    ffi = library.load().ffi

    assert ffi.offsetof("struct vgpu_limits", "devices") == page.LINES
    assert ffi.sizeof("struct vgpu_limits_device") == page.LINE_BYTES
    assert ffi.offsetof("struct vgpu_limits_device", "memory_target") == page.LINE.size - 8
    assert ffi.offsetof("struct vgpu_limits_device", "revision") == page.REVISION
    assert ffi.offsetof("struct vgpu_limits", "device_count") == page.HEADER.size - 4
    assert ffi.offsetof("struct vgpu_usage", "devices") == page.ACCOUNTS
    assert ffi.sizeof("struct vgpu_usage_device") == page.ACCOUNT_BYTES


def test_an_application_is_asked_when_its_target_falls_and_told_what_it_uses(new_slice: NewSlice) -> None:
    slice_, application = new_slice(memory=GIB), Application()
    with slice_.tenant() as tenant:
        tenant.call("allocate", 512 * MIB)
        watch = vgpu_client.Watch(application, slice_.directory)
        watch.look(0.0)
        assert application.asked == []

        slice_.set(memory_limit=256 * MIB, memory_target=256 * MIB, revision=7)
        watch.look(0.1)

    [change] = application.asked
    assert (change.device, change.target_bytes, change.revision) == (0, 256 * MIB, 7)
    assert (change.used_bytes, change.excess_bytes) == (512 * MIB, 256 * MIB)
    assert answer_of(slice_) == {"revision": 7, "done": True, "message": ""}


def test_a_deferred_change_is_asked_for_again_and_then_no_more(new_slice: NewSlice) -> None:
    slice_ = new_slice(memory=GIB)
    application = Application(vgpu_client.deferred("3 requests in flight"))
    watch = vgpu_client.Watch(application, slice_.directory)
    watch.look(0.0)
    slice_.set(memory_target=MIB)
    watch.look(1.0)
    assert answer_of(slice_)["message"] == "3 requests in flight"

    watch.look(1.0 + watching.AGAIN_SECONDS / 2)
    assert len(application.asked) == 1
    watch.look(1.0 + watching.AGAIN_SECONDS)
    watch.look(1.0 + 3 * watching.AGAIN_SECONDS)

    assert len(application.asked) == 2
    assert answer_of(slice_)["done"]


def test_growth_is_told_as_well(new_slice: NewSlice) -> None:
    slice_, application = new_slice(memory=GIB), Application()
    watch = vgpu_client.Watch(application, slice_.directory)
    watch.look(0.0)

    slice_.set(memory_limit=2 * GIB)
    watch.look(1.0)

    assert [change.target_bytes for change in application.asked] == [2 * GIB]


def test_what_only_concerns_compute_is_not_told(new_slice: NewSlice) -> None:
    slice_, application = new_slice(memory=GIB), Application()
    watch = vgpu_client.Watch(application, slice_.directory)
    watch.look(0.0)

    slice_.set(lent_percent=0, weight=9)
    watch.look(1.0)

    assert application.asked == []


def test_a_restarted_application_above_its_target_is_asked_at_once(new_slice: NewSlice) -> None:
    slice_, application = new_slice(memory=GIB), Application()
    with slice_.tenant() as tenant:
        tenant.call("allocate", 512 * MIB)
        slice_.set(memory_target=MIB)

        vgpu_client.Watch(application, slice_.directory).look(0.0)

    assert len(application.asked) == 1


def test_a_callback_that_fails_is_a_deferred_change(new_slice: NewSlice) -> None:
    def broken(_: vgpu_client.Change) -> vgpu_client.Answer:
        raise RuntimeError("no cache")

    slice_ = new_slice(memory=GIB)
    watch = vgpu_client.Watch(broken, slice_.directory)
    watch.look(0.0)
    slice_.set(memory_target=MIB)

    watch.look(1.0)

    assert answer_of(slice_)["message"] == "the callback failed: RuntimeError: no cache"


def test_outside_of_a_slice_nothing_is_watched(tmp_path: "pathlib.Path") -> None:
    assert vgpu_client.watch(Application(), place=tmp_path) is None


def test_a_page_of_another_version_is_refused_in_words(new_slice: NewSlice) -> None:
    slice_ = new_slice()
    with slice_.limits_path.open("r+b") as file:
        file.seek(8)
        file.write((99).to_bytes(4, "little"))

    with pytest.raises(vgpu_client.NoSliceError, match=r"expected version 1 .* found 99"):
        vgpu_client.Watch(Application(), slice_.directory)


class Engine:
    """kvcached's control as far as it is documented: one limit for all pools, revisions that only rise."""

    def __init__(self, *, mapped: int, in_use: int) -> None:
        self.mapped, self._in_use = mapped, in_use
        self.limits: dict[int, int] = {}

    def set_limit(self, limit_bytes: int, *, revision: int) -> dict[str, Any]:
        if self.limits.get(revision, limit_bytes) != limit_bytes:
            return {"status": "conflict", "reason": "revision_reused_with_different_limit", "mapped_bytes": 0}
        self.limits[revision] = limit_bytes
        self.mapped = max(self._in_use, min(self.mapped, limit_bytes))
        over = max(0, self.mapped - limit_bytes)
        return {
            "status": "deferred" if over else "applied",
            "reason": "inuse_capacity_above_limit" if over else "",
            "mapped_bytes": self.mapped,
            "overage_bytes": over,
        }


def change(*, target: int, used: int, revision: int = 3) -> vgpu_client.Change:
    return vgpu_client.Change(
        device=0, uuid="GPU-0", target_bytes=target, limit_bytes=target, used_bytes=used, revision=revision
    )


def test_kvcached_gets_what_the_weights_leave() -> None:
    engine = Engine(mapped=6 * GIB, in_use=0)

    answer = kvcached.Adapter(engine.set_limit).resize(change(target=8 * GIB, used=10 * GIB))

    assert answer.done
    assert engine.mapped == 4 * GIB  # 4 GiB of weights and 4 GiB of cache


def test_a_cache_in_use_is_deferred_with_kvcacheds_reason() -> None:
    engine = Engine(mapped=6 * GIB, in_use=5 * GIB)

    answer = kvcached.Adapter(engine.set_limit).resize(change(target=8 * GIB, used=10 * GIB))

    assert not answer.done
    assert answer.message == f"kvcached: deferred: inuse_capacity_above_limit, {GIB} bytes over"


def test_an_engine_without_pools_yet_is_asked_again() -> None:
    def unavailable(_: int, *, revision: int) -> dict[str, Any]:
        return {"status": "unavailable", "reason": f"no pool at {revision}", "mapped_bytes": 0}

    answer = kvcached.Adapter(unavailable).resize(change(target=GIB, used=0))

    assert not answer.done


def test_without_kvcached_nothing_is_watched() -> None:
    assert kvcached.watch() is None
