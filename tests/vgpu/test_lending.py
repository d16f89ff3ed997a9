import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from vgpu import lending

PERIOD = 50_000_000


def tenant(
    id_: str, allocated: int, *, used: int = 0, throttled: float = 0, queued: float = 0, ceiling: int = 100
) -> lending.Tenant:
    return lending.Tenant(
        id=id_,
        allocated_percent=allocated,
        ceiling_percent=ceiling,
        used_ns=PERIOD * used // 100,
        throttled_ns=int(PERIOD * throttled),
        queued_ns=int(PERIOD * queued),
    )


def settled(*tenants: lending.Tenant, periods: int = lending.REMEMBERED_PERIODS) -> dict[str, lending.Share]:
    shares: dict[str, lending.Share] = {}
    for _ in range(periods):
        shares = lending.share(tenants, shares, period_ns=PERIOD)
    return shares


def test_an_idle_share_is_lent_to_the_slice_that_is_held_back() -> None:
    shares = settled(tenant("idle", 60), tenant("busy", 40, used=40, throttled=0.5))

    assert shares["busy"].lent_percent == 60
    assert shares["idle"].reserved_percent == 0


def test_nothing_is_lent_before_an_owner_has_been_quiet_for_a_while() -> None:
    shares = settled(tenant("idle", 60), tenant("busy", 40, used=40, throttled=0.5), periods=4)

    assert shares["busy"].lent_percent == 0


def test_nothing_is_lent_to_a_slice_that_has_enough() -> None:
    shares = settled(tenant("idle", 60), tenant("content", 40, used=20))

    assert shares["content"].lent_percent == 0


def test_a_loan_ends_at_the_ceiling() -> None:
    shares = settled(tenant("idle", 60), tenant("busy", 40, used=40, throttled=0.5, ceiling=70))

    assert shares["busy"].lent_percent == 30


def test_borrowers_divide_in_proportion_to_their_allocations() -> None:
    busy = [tenant(name, own, used=own, throttled=0.5) for name, own in (("small", 10), ("large", 30))]

    shares = settled(tenant("idle", 60), *busy)

    assert (shares["small"].lent_percent, shares["large"].lent_percent) == (15, 45)


def test_what_one_borrower_cannot_use_goes_to_the_other() -> None:
    small = tenant("small", 20, used=20, throttled=0.5, ceiling=25)
    large = tenant("large", 20, used=20, throttled=0.5)

    shares = settled(tenant("idle", 60), small, large)

    assert (shares["small"].lent_percent, shares["large"].lent_percent) == (5, 55)


def test_an_owner_that_wakes_has_its_whole_share_back_after_one_period() -> None:
    busy = tenant("busy", 40, used=40, throttled=0.5)
    shares = settled(tenant("owner", 60), busy)

    shares = lending.share([tenant("owner", 60, used=12), busy], shares, period_ns=PERIOD)

    assert shares["owner"].reserved_percent == 60
    assert shares["busy"].lent_percent == 0


def test_an_owner_whose_work_queues_behind_others_has_its_whole_share_back() -> None:
    busy = tenant("busy", 40, used=40, throttled=0.5)
    shares = settled(tenant("owner", 60, used=10), busy)

    shares = lending.share([tenant("owner", 60, used=10, queued=0.3), busy], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 0


def test_an_owner_that_has_launched_much_has_its_whole_share_back_before_any_of_it_is_done() -> None:
    busy = tenant("busy", 40, used=40, throttled=0.5)
    shares = settled(tenant("owner", 60), busy)

    waking = dataclasses.replace(tenant("owner", 60), indebted=True)
    shares = lending.share([waking, busy], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 0


def test_an_owner_whose_work_runs_keeps_its_share_though_nothing_is_measured_yet() -> None:
    busy = tenant("busy", 40, used=40, throttled=0.5)
    shares = settled(tenant("owner", 60), busy)

    launching = dataclasses.replace(tenant("owner", 60), launches=1)
    for owner in (launching, *[tenant("owner", 60)] * 20):
        shares = lending.share([owner, busy], shares, period_ns=PERIOD)
        assert shares["busy"].lent_percent == 0


def test_work_of_which_nothing_is_ever_measured_holds_a_share_back_for_a_while_only() -> None:
    busy = tenant("busy", 40, used=40, throttled=0.5)
    shares = settled(dataclasses.replace(tenant("owner", 60), launches=1), busy)

    for _ in range(lending.LONGEST_PERIODS):
        shares = lending.share([tenant("owner", 60), busy], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 60


def test_a_steady_owner_keeps_its_peak_and_a_margin() -> None:
    shares = settled(tenant("owner", 60, used=20), tenant("busy", 40, used=40, throttled=0.5))

    assert shares["owner"].reserved_percent == 25
    assert shares["busy"].lent_percent == 35


def test_a_borrower_that_needs_less_than_its_loan_keeps_what_it_uses_and_a_margin() -> None:
    idle = tenant("idle", 60)
    shares = settled(idle, tenant("busy", 40, used=40, throttled=0.5))

    shares = lending.share([idle, tenant("busy", 40, used=55)], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 20


def test_a_borrower_that_pauses_for_a_moment_keeps_its_loan() -> None:
    idle = tenant("idle", 60)
    shares = settled(idle, tenant("busy", 40, used=90, throttled=0.5))

    shares = lending.share([idle, tenant("busy", 40)], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 55


def test_a_borrower_that_stops_gives_its_loan_back() -> None:
    idle, busy = tenant("idle", 60), tenant("busy", 40, used=90, throttled=0.5)
    shares = settled(idle, busy)

    for _ in range(lending.REMEMBERED_PERIODS):
        shares = lending.share([idle, tenant("busy", 40)], shares, period_ns=PERIOD)

    assert shares["busy"].lent_percent == 0


def test_nothing_is_lent_where_allocations_alone_exceed_the_device() -> None:
    busy = [tenant(name, 70, used=50, throttled=0.5) for name in ("one", "two")]

    shares = settled(*busy)

    assert [each.lent_percent for each in shares.values()] == [0, 0]


@st.composite
def crowds(draw: st.DrawFn) -> list[lending.Tenant]:
    free, crowd = 100, []
    for index in range(draw(st.integers(1, 12))):
        own = draw(st.integers(0, free))
        free -= own
        crowd.append(
            tenant(
                str(index),
                own,
                used=draw(st.integers(0, 100)),
                throttled=draw(st.sampled_from([0.0, 0.01, 0.5, 1.0])),
                queued=draw(st.sampled_from([0.0, 0.5])),
                ceiling=draw(st.integers(own, 100)),
            )
        )
    return crowd


@given(st.lists(crowds(), min_size=1, max_size=8))
def test_reserves_and_loans_are_never_more_than_the_device(history: list[list[lending.Tenant]]) -> None:
    shares: dict[str, lending.Share] = {}
    for crowd in history:
        shares = lending.share(crowd, shares, period_ns=PERIOD)

        lent = sum(each.lent_percent for each in shares.values())
        kept = sum(each.reserved_percent for each in shares.values())
        assert lent + kept <= 100
        for each in crowd:
            assert 0 <= shares[each.id].lent_percent <= each.ceiling_percent - each.allocated_percent
            assert 0 <= shares[each.id].reserved_percent <= each.allocated_percent
