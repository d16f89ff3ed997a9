"""What a namespace may hold of a pool."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import quota, values

TEAMS = {
    "team-a": values.Quota(nominal=make.amounts(100, 200), borrowing_limit=make.amounts(40, 100)),
    "team-b": values.Quota(nominal=make.amounts(100, 200), borrowing_limit=make.amounts(0, 0)),
}


def test_a_pool_without_quotas_bounds_nobody() -> None:
    verdict = quota.check(make.pool(), {}, namespace="anyone", extra=make.amounts(10_000, 10_000))

    assert verdict == quota.Admitted(standing=quota.Standing.UNBOUND)


def test_a_namespace_absent_from_the_quotas_gets_nothing_and_is_told_so() -> None:
    verdict = quota.check(make.pool(quotas=TEAMS), {}, namespace="stranger", extra=make.amounts(1, 1))

    assert isinstance(verdict, values.Refusal)
    assert verdict.reason is values.Reason.EXCEEDS_QUOTA
    assert "stranger" in verdict.message


def test_within_its_nominal_a_namespace_is_admitted_even_while_others_borrow() -> None:
    used = {"team-a": make.amounts(120, 250), "team-b": make.amounts(0, 0)}

    verdict = quota.check(make.pool(quotas=TEAMS), used, namespace="team-b", extra=make.amounts(100, 200))

    assert verdict == quota.Admitted(standing=quota.Standing.WITHIN)


def test_above_its_nominal_a_namespace_borrows_what_others_leave_unused() -> None:
    used = {"team-a": make.amounts(90, 100), "team-b": make.amounts(60, 0)}

    verdict = quota.check(make.pool(quotas=TEAMS), used, namespace="team-a", extra=make.amounts(40, 10))

    assert verdict == quota.Admitted(standing=quota.Standing.BORROWING)


def test_nothing_is_borrowed_that_its_owner_uses() -> None:
    used = {"team-a": make.amounts(90, 100), "team-b": make.amounts(80, 0)}

    verdict = quota.check(make.pool(quotas=TEAMS), used, namespace="team-a", extra=make.amounts(40, 10))

    assert isinstance(verdict, values.Refusal)
    assert verdict.reason is values.Reason.WAITING_FOR_QUOTA


def test_an_amount_above_nominal_and_borrowing_together_can_never_be_admitted() -> None:
    verdict = quota.check(make.pool(quotas=TEAMS), {}, namespace="team-a", extra=make.amounts(141, 1))

    assert isinstance(verdict, values.Refusal)
    assert verdict.reason is values.Reason.EXCEEDS_QUOTA


def test_without_a_borrowing_limit_all_unused_nominals_may_be_borrowed() -> None:
    quotas = {**TEAMS, "team-a": values.Quota(nominal=make.amounts(100, 200))}

    verdict = quota.check(make.pool(quotas=quotas), {}, namespace="team-a", extra=make.amounts(200, 400))

    assert verdict == quota.Admitted(standing=quota.Standing.BORROWING)


@pytest.mark.parametrize("percent", [0, 100])
def test_borrowed_counts_only_what_lies_above_the_nominal(percent: int) -> None:
    assert quota.borrowed(TEAMS["team-a"], make.amounts(120, percent)) == make.amounts(20, 0)


_amounts = st.builds(make.amounts, st.integers(0, 80), st.integers(0, 200))


@given(st.lists(st.tuples(st.sampled_from(["team-a", "team-b"]), _amounts), max_size=30))
def test_no_sequence_of_admissions_takes_a_namespace_above_nominal_plus_borrowing(
    asks: list[tuple[str, values.Amounts]],
) -> None:
    pool = make.pool(quotas=TEAMS)
    used: dict[str, values.Amounts] = {}

    for namespace, extra in asks:
        if isinstance(quota.check(pool, used, namespace=namespace, extra=extra), quota.Admitted):
            used[namespace] = used.get(namespace, values.NOTHING) + extra

    for namespace, held in used.items():
        limit = TEAMS[namespace].borrowing_limit or values.NOTHING
        assert (TEAMS[namespace].nominal + limit).covers(held)


totals = st.builds(make.amounts, st.integers(0, 300), st.integers(0, 500))
limits = st.one_of(st.none(), totals)
quotas = st.builds(
    lambda nominal, limit: values.Quota(nominal=nominal, borrowing_limit=limit), totals, limits
)


@given(
    mine=st.one_of(st.none(), quotas),
    theirs=quotas,
    used=st.fixed_dictionaries({"team-a": totals, "team-b": totals}),
    extra=st.builds(make.amounts, st.integers(1, 300), st.integers(1, 500)),
)
def test_headroom_is_all_that_a_check_admits_and_no_more(
    mine: values.Quota | None, theirs: values.Quota, used: dict[str, values.Amounts], extra: values.Amounts
) -> None:
    pool = make.pool(quotas={"team-b": theirs, **({} if mine is None else {"team-a": mine})})

    room = quota.headroom(pool, used, namespace="team-a")
    verdict = quota.check(pool, used, namespace="team-a", extra=extra)

    assert room is not None
    assert isinstance(verdict, quota.Admitted) == room.covers(extra)


def test_without_quotas_headroom_has_no_bound() -> None:
    assert quota.headroom(make.pool(), {}, namespace="anyone") is None
