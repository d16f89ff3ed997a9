"""Why a pod waits, as the operator explains it."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import reservations, values
from vgpu.placement import choice
from vgpu_operator import homes, verdicts
from vgpu_operator.holdings import Holding

CLAIM = values.Claim(
    ref=make.claim_ref(), pool_name="a100", requests=make.amounts(16, 25), limits=make.amounts(40, 100)
)
POD = values.PodRef(name="pod-0", uid="pod-0")


@pytest.fixture
def book() -> reservations.Book:
    made = reservations.Book()
    made.see_pool(make.pool())
    made.see_node(make.node("node-0"))
    return made


def asked(claim: values.Claim = CLAIM) -> values.Request:
    return verdicts.request(claim, "a100", POD)


def test_a_pod_asks_under_its_own_uid_and_a_shared_one_under_its_claims() -> None:
    shared = replace(CLAIM, mode=values.AllocationMode.SHARED)

    assert asked().slice_id == "pod-0"
    assert asked(shared).slice_id == CLAIM.ref.uid


def test_a_pod_with_room_is_told_where(book: reservations.Book) -> None:
    verdict = verdicts.Judge(book, {}).verdict(asked(), homes.ANYWHERE, ())

    assert verdict == choice.Placement(node="node-0", device_uuids=("GPU-node-0",))


def test_a_further_pod_of_a_shared_claim_fits_where_the_slice_lies_however_full(
    book: reservations.Book,
) -> None:
    shared = replace(CLAIM, mode=values.AllocationMode.SHARED)
    full = make.slice_(CLAIM.ref.uid, allocated=make.amounts(80, 100), limits=make.amounts(80, 100))
    book.see_node(make.node("node-0", slices=[full], revision=1))
    holding = Holding(node="node-0", slice=full, enforced=None)

    verdict = verdicts.Judge(book, {}).verdict(asked(shared), homes.ANYWHERE, [holding])

    assert isinstance(verdict, choice.Placement)


def test_that_there_is_no_room_is_remembered_until_room_changes(book: reservations.Book) -> None:
    judge = verdicts.Judge(book, {})
    book.forget_node("node-0")
    none = judge.verdict(asked(), homes.ANYWHERE, ())

    book.see_node(make.node("node-0"))
    remembered = judge.verdict(asked(), homes.ANYWHERE, ())
    judge.room_changed("a100")

    assert none == remembered == choice.NoFit(reasons={})
    assert isinstance(judge.verdict(asked(), homes.ANYWHERE, ()), choice.Placement)


@given(
    free=st.lists(st.integers(0, 80), min_size=1, max_size=4),
    gib=st.integers(1, 80),
    count=st.integers(1, 3),
    nominal=st.integers(0, 300),
)
def test_the_verdict_is_the_one_placement_gives(free: list[int], gib: int, count: int, nominal: int) -> None:
    quota = values.Quota(nominal=make.amounts(nominal, 1000), borrowing_limit=values.NOTHING)
    book = reservations.Book()
    book.see_pool(make.pool(quotas={"team-a": quota}))
    for number, room in enumerate(free):
        uuids = [f"GPU-{number}-{index}" for index in range(2)]
        taken = make.slice_(
            f"taken-{number}",
            uuids=tuple(uuids),
            allocated=make.amounts(80 - room, 1),
            requests=make.amounts(0, 0),
            limits=make.amounts(80, 100),
            claim=make.claim_ref("other", "team-b"),
        )
        devices = [make.device(uuid) for uuid in uuids]
        book.see_node(make.node(f"node-{number}", devices=devices, slices=[taken]))
    wish = asked(replace(CLAIM, requests=make.amounts(gib, 10), device_count=count))

    verdict = verdicts.Judge(book, {}).verdict(wish, homes.ANYWHERE, ())
    placed = book.place(wish, book.nodes, now=0.0)

    assert type(verdict) is type(placed)
    if not isinstance(verdict, choice.Placement):
        assert verdict == placed


def test_what_a_claim_demands_is_judged_and_told(book: reservations.Book) -> None:
    model = values.Expression(key="model", operator=values.Operator.IN, values=("T4",))
    picky = replace(CLAIM, constraints=values.Constraints(devices=(model,)))
    judge = verdicts.Judge(book, {})

    assert isinstance(judge.verdict(asked(), homes.ANYWHERE, ()), choice.Placement)
    assert judge.verdict(asked(picky), homes.ANYWHERE, ()) == choice.NoFit(
        reasons={"node-0": "no GPU that the claim's deviceSelector accepts"}
    )


def test_a_claim_is_judged_by_its_own_company(book: reservations.Book) -> None:
    apart = replace(CLAIM, constraints=values.Constraints(exclusion_group="llm"))
    other = replace(apart, ref=make.claim_ref("other"))
    held = replace(make.slice_("held", claim=CLAIM.ref), exclusion_group="llm")
    book.see_node(make.node("node-0", slices=[held], revision=1))
    judge = verdicts.Judge(book, {})

    assert isinstance(judge.verdict(asked(other), homes.ANYWHERE, ()), choice.NoFit)
    assert isinstance(judge.verdict(asked(apart), homes.ANYWHERE, ()), choice.Placement)


def test_an_exclusive_pod_waits_for_the_quota_of_its_whole_device() -> None:
    quota = values.Quota(nominal=make.amounts(40, 100), borrowing_limit=values.NOTHING)
    book = reservations.Book()
    book.see_pool(make.pool(quotas={"team-a": quota}))
    book.see_node(make.node("node-0"))
    alone = replace(CLAIM, requests=make.amounts(16, 100), constraints=values.Constraints(exclusive=True))

    verdict = verdicts.Judge(book, {}).verdict(asked(alone), homes.ANYWHERE, ())

    assert isinstance(verdict, values.Refusal)
    assert verdict.reason is values.Reason.EXCEEDS_QUOTA


def test_in_an_empty_cluster_there_is_no_node_to_choose_from() -> None:
    empty = reservations.Book()
    empty.see_pool(make.pool())

    verdict = verdicts.Judge(empty, {}).verdict(asked(), homes.ANYWHERE, ())

    assert isinstance(verdict, choice.NoFit)
    assert verdict.message == "there is no node with GPUs to choose from"
