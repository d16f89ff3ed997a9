from dataclasses import replace

from builders import amounts
from vgpu.elasticity import facts, sleeping, vertical, work

CURVE = work.curve([(10, 50.0), (20, 150.0), (30, 300.0), (50, 420.0), (100, 500.0)], floor_percent=5)


def slice_(
    id_: str, *, percent: int, room: int, device: str = "", neighbours: int = 0, asleep: bool = False
) -> facts.SliceFacts:
    return facts.SliceFacts(
        id=id_,
        requests=amounts(4, 1),
        allocated=amounts(4, percent),
        limits=amounts(4, 100),
        room=amounts(0, room),
        device_uuids=(device or f"GPU-{id_}",),
        neighbours_percent=neighbours,
        asleep=asleep,
    )


def claim(*slices: facts.SliceFacts) -> facts.ClaimFacts:
    return facts.ClaimFacts(
        slices=slices,
        curve=CURVE,
        pool=facts.PoolFacts(free=0.5, placeable=0),
        replicas=len(slices),
        can_sleep=True,
    )


def test_a_slice_without_room_for_a_useful_size_sleeps() -> None:
    naps = sleeping.naps(claim(slice_("a", percent=30, room=0), slice_("b", percent=1, room=10)), 300.0)

    assert naps.sleep == {"b"}


def test_the_last_slice_stays_awake_however_small() -> None:
    assert not sleeping.naps(claim(slice_("a", percent=1, room=0)), 300.0).sleep


def test_sleepers_wake_on_fuller_devices_first_where_there_is_room() -> None:
    full = slice_("full", percent=1, room=2, neighbours=97, asleep=True)
    used = slice_("used", percent=1, room=40, neighbours=59, asleep=True)
    empty = replace(used, id="empty", neighbours_percent=0, device_uuids=("GPU-empty",))

    naps = sleeping.naps(claim(slice_("a", percent=30, room=0), full, used, empty), 500.0)

    assert naps.wake == {"used"}


def test_nobody_sleeps_whose_part_would_be_woken_for_again() -> None:
    two = claim(slice_("a", percent=30, room=70), slice_("b", percent=30, room=70))

    assert not sleeping.naps(two, 310.0).sleep
    assert len(sleeping.naps(two, 290.0).sleep) == 1
    assert not sleeping.naps(two, 290.0, slack=0.05).sleep


def test_claims_whose_replicas_cannot_sleep_have_no_naps() -> None:
    one = replace(claim(slice_("a", percent=1, room=0), slice_("b", percent=1, room=0)), can_sleep=False)

    assert sleeping.naps(one, 300.0) == sleeping.Naps()


def test_slices_on_one_device_share_its_room() -> None:
    both = [
        slice_("a", percent=20, room=20, device="GPU-0"),
        slice_("b", percent=20, room=20, device="GPU-0"),
    ]

    sized = vertical.sizes(both, rate=800.0, curve=CURVE)

    assert sum(sized.percent.values()) == 60
    assert sized.unserved_rate > 0


def test_nothing_grows_beyond_what_more_share_is_worth() -> None:
    flat = work.curve([(10, 100.0), (100, 110.0)])

    sized = vertical.sizes([slice_("a", percent=10, room=90)], rate=500.0, curve=flat)

    assert sized.percent["a"] == flat.worthwhile_percent == 10
    assert sized.unserved_rate == 400.0


def test_in_a_short_pool_small_slices_serve_too() -> None:
    small = claim(slice_("a", percent=30, room=0), slice_("b", percent=1, room=10))
    sleeper = claim(slice_("a", percent=30, room=0), slice_("b", percent=1, room=10, asleep=True))

    assert not sleeping.naps(small, 350.0, short=True).sleep
    assert sleeping.naps(sleeper, 350.0, short=True).wake == {"b"}
    assert not sleeping.naps(sleeper, 350.0).wake
