"""Who is promised what while the ledger does not have it yet."""

from dataclasses import replace

import pytest

import builders as make
from vgpu import ledger, reservations, values
from vgpu.placement import choice, explain, mix

SHARED = "uid-team-a-llm"


def book(*nodes: values.Node, pool: values.Pool | None = None) -> reservations.Book:
    found = reservations.Book(promise_seconds=30)
    found.see_pool(pool or make.pool())
    for node in nodes or (make.node("a"), make.node("b")):
        found.see_node(node)
    return found


def placed(answer: object) -> choice.Placement:
    assert isinstance(answer, choice.Placement), answer
    return answer


def test_asked_again_the_answer_stays() -> None:
    desk = book()

    answers = {placed(desk.place(make.request(), ["a", "b"], now=float(at))).node for at in range(5)}

    assert len(answers) == 1
    assert len(desk.promises) == 1


def test_a_promise_is_not_given_twice() -> None:
    desk = book(make.node("a"))
    half = make.amounts(40, 50)

    answers = [desk.place(make.request(f"pod-{n}", requests=half), ["a"], now=0) for n in range(3)]

    assert [isinstance(answer, choice.Placement) for answer in answers] == [True, True, False]


def test_a_slice_that_will_grow_gets_a_device_with_room_for_that() -> None:
    busy = make.node("a", slices=[make.slice_("s", uuids=("GPU-a",), requests=make.amounts(8, 60))])
    desk = book(busy, make.node("b"), pool=make.pool(strategy=values.Strategy.BIN_PACK))
    small = make.request(requests=make.amounts(8, 20), limits=make.amounts(8, 100))

    fixed = placed(desk.place(small, ["a", "b"], now=0))
    elastic = replace(small, slice_id="pod-1", grown=make.amounts(8, 80))

    assert fixed.node == "a"
    assert placed(desk.place(elastic, ["a", "b"], now=0)).node == "b"


def test_where_no_device_has_room_to_grow_a_slice_gets_its_floor() -> None:
    busy = make.node("a", slices=[make.slice_("s", uuids=("GPU-a",), requests=make.amounts(8, 60))])
    desk = book(busy)
    elastic = replace(make.request(requests=make.amounts(8, 20)), grown=make.amounts(8, 80))

    assert placed(desk.place(elastic, ["a"], now=0)).node == "a"


def test_an_unclaimed_promise_expires() -> None:
    desk = book(make.node("a"))
    whole = make.amounts(80, 100)
    desk.place(make.request("pod-0", requests=whole), ["a"], now=0)

    answer = desk.place(make.request("pod-1", requests=whole), ["a"], now=30)

    assert placed(answer).node == "a"
    assert set(desk.promises) == {"pod-1"}


def test_the_promise_follows_when_the_scheduler_refuses_its_node() -> None:
    desk = book()
    first = placed(desk.place(make.request(), ["a", "b"], now=0)).node
    other = {"a": "b", "b": "a"}[first]

    answer = desk.place(make.request(), [other], now=1)

    assert placed(answer).node == other
    assert desk.promises["pod-0"].node == other


def test_an_edited_claim_is_placed_anew() -> None:
    desk = book(make.node("a"), make.node("b", devices=[make.device("GPU-b", gib=160)]))
    desk.place(make.request(), ["a"], now=0)

    answer = desk.place(make.request(requests=make.amounts(100, 25)), ["a", "b"], now=1)

    assert placed(answer).node == "b"


def test_a_promise_on_a_device_that_fell_ill_is_moved() -> None:
    desk = book(make.node("a"))
    desk.place(make.request(), ["a"], now=0)
    desk.see_node(make.node("a", devices=[make.device("GPU-a", healthy=False)], revision=1))
    desk.see_node(make.node("b"))

    assert placed(desk.place(make.request(), ["a", "b"], now=1)).node == "b"


def test_a_slice_in_the_ledger_is_the_only_answer() -> None:
    desk = book(make.node("a"), make.node("b", slices=[make.slice_("pod-0", uuids=("GPU-b",))]))

    assert placed(desk.place(make.request(), ["a", "b"], now=0)).node == "b"


def test_a_slice_on_a_node_that_is_not_offered_is_named_for_release() -> None:
    desk = book(make.node("a"), make.node("b", slices=[make.slice_("pod-0", uuids=("GPU-b",))]))

    assert desk.place(make.request(), ["a"], now=0) == reservations.Elsewhere(node="b")


def test_all_pods_of_a_shared_claim_go_where_the_first_is_promised() -> None:
    desk = book()
    first = placed(desk.place(make.request("pod-0", slice_id=SHARED), ["a", "b"], now=0))

    second = placed(desk.place(make.request("pod-1", slice_id=SHARED), ["a", "b"], now=0))

    assert second == first
    assert desk.used("a100")["team-a"] == make.amounts(16, 25)


def test_a_shared_slice_is_not_torn_apart_by_a_pod_that_cannot_reach_it() -> None:
    desk = book()
    first = placed(desk.place(make.request("pod-0", slice_id=SHARED), ["a", "b"], now=0)).node
    other = {"a": "b", "b": "a"}[first]

    answer = desk.place(make.request("pod-1", slice_id=SHARED), [other], now=0)

    assert isinstance(answer, choice.NoFit)
    assert desk.promises[SHARED].node == first


def test_a_shared_slice_in_the_ledger_keeps_its_other_pods_in_place() -> None:
    held = make.slice_(SHARED, uuids=("GPU-b",), pods=("pod-0",))
    desk = book(make.node("a"), make.node("b", slices=[held]))

    assert isinstance(desk.place(make.request("pod-1", slice_id=SHARED), ["a"], now=0), choice.NoFit)


def test_promises_count_against_the_quota() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(20, 100), borrowing_limit=make.amounts())}
    desk = book(pool=make.pool(quotas=quotas))
    desk.place(make.request("pod-0"), ["a", "b"], now=0)

    refusal = desk.place(make.request("pod-1"), ["a", "b"], now=0)

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.WAITING_FOR_QUOTA


def test_a_growth_under_way_counts_against_the_quota_until_it_is_settled() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(40, 100), borrowing_limit=make.amounts())}
    growing = make.slice_("pod-0", uuids=("GPU-a",), wanted=make.amounts(30, 25))
    desk = book(make.node("a", slices=[growing]), make.node("b"), pool=make.pool(quotas=quotas))

    change = desk.grant("pod-0")

    assert isinstance(change, ledger.Change)
    assert isinstance(desk.place(make.request("pod-1"), ["a", "b"], now=0), values.Refusal)

    desk.settle("pod-0")

    assert placed(desk.place(make.request("pod-1"), ["a", "b"], now=0)).node in {"a", "b"}


def test_a_growth_beyond_the_quota_is_refused() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(20, 100), borrowing_limit=make.amounts())}
    growing = make.slice_("pod-0", uuids=("GPU-a",), wanted=make.amounts(30, 25))
    desk = book(make.node("a", slices=[growing]), pool=make.pool(quotas=quotas))

    refusal = desk.grant("pod-0")

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.WAITING_FOR_QUOTA


def test_growth_does_not_take_what_is_promised_to_a_pod() -> None:
    growing = make.slice_("pod-0", uuids=("GPU-a",), wanted=make.amounts(40, 100))
    desk = book(make.node("a", slices=[growing]))
    desk.place(make.request("pod-1", requests=make.amounts(60, 10)), ["a"], now=0)

    assert isinstance(desk.grant("pod-0"), values.Refusal)


def test_wishes_come_by_priority() -> None:
    low = make.slice_("low", uuids=("GPU-a",), wanted=make.amounts(20, 25))
    high = values.Slice(
        **{name: getattr(low, name) for name in low.__slots__ if name not in {"id", "priority"}},
        id="high",
        priority=5,
    )
    desk = book(make.node("a", slices=[low, high]))

    assert desk.wishes() == ["high", "low"]


def test_an_unknown_pool_is_refused_by_name() -> None:
    refusal = book().place(make.request(pool_name="h100"), ["a"], now=0)

    assert isinstance(refusal, values.Refusal)
    assert refusal.reason is values.Reason.POOL_NOT_FOUND
    assert "h100" in refusal.message


def test_a_node_without_a_report_says_so() -> None:
    answer = book(make.node("a")).place(make.request(requests=make.amounts(90, 1)), ["a", "new"], now=0)

    assert isinstance(answer, choice.NoFit)
    assert set(answer.reasons) == {"a", "new"}


def test_an_older_revision_than_the_one_known_is_ignored() -> None:
    desk = book(make.node("a", slices=[make.slice_("pod-0", uuids=("GPU-a",))], revision=2))

    desk.see_node(make.node("a", revision=1))

    assert desk.slice_of("pod-0") is not None


def test_a_node_that_is_gone_gives_its_quota_back() -> None:
    desk = book(make.node("a", slices=[make.slice_("pod-0", uuids=("GPU-a",))]))
    assert desk.used("a100")["team-a"] == make.amounts(16, 25)

    desk.forget_node("a")

    assert desk.used("a100")["team-a"] == values.NOTHING
    assert desk.slice_of("pod-0") is None


@pytest.mark.parametrize("count", [1, 2])
def test_quota_counts_every_gpu_of_a_slice(count: int) -> None:
    uuids = tuple(f"GPU-{index}" for index in range(count))
    node = make.node("a", devices=[make.device(uuid) for uuid in uuids], slices=[make.slice_(uuids=uuids)])

    assert book(node).used("a100")["team-a"] == make.amounts(16, 25).times(count)


def gang(count: int, requests: values.Amounts) -> list[tuple[values.Request, None]]:
    return [(make.request(f"pod-{n}", requests=requests), None) for n in range(count)]


def test_a_gang_has_a_place_for_each_of_its_pods() -> None:
    desk = book()

    found = desk.place_together(gang(4, make.amounts(40, 50)), now=0)

    assert isinstance(found, dict)
    assert sorted(each.node for each in found.values()) == ["a", "a", "b", "b"]
    assert set(desk.promises) == set(found)


def test_a_gang_that_fits_in_part_is_promised_nothing() -> None:
    desk = book()
    eased = desk.eased

    found = desk.place_together(gang(5, make.amounts(40, 50)), now=0)

    assert isinstance(found, reservations.Partly)
    assert (found.placed, found.asked) == (4, 5)
    assert isinstance(found.why, choice.NoFit)
    assert desk.promises == {}
    assert desk.eased == eased, "a no that changed nothing must not make others ask again"


def test_the_quota_has_to_admit_a_gang_as_a_whole() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(100, 400), borrowing_limit=values.NOTHING)}
    desk = book(pool=make.pool(quotas=quotas))

    found = desk.place_together(gang(3, make.amounts(40, 50)), now=0)

    assert isinstance(found, reservations.Partly)
    assert isinstance(found.why, values.Refusal)
    assert found.why.reason is values.Reason.EXCEEDS_QUOTA
    assert "120 GiB" in found.why.message


def test_what_a_gang_holds_already_is_not_asked_of_the_quota_again() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(80, 400), borrowing_limit=values.NOTHING)}
    held = make.slice_("pod-0", uuids=("GPU-a",), requests=make.amounts(40, 50))
    desk = book(make.node("a", slices=[held], revision=1), pool=make.pool(quotas=quotas))

    found = desk.place_together(gang(2, make.amounts(40, 50)), now=0)

    assert isinstance(found, dict)
    assert set(desk.promises) == {"pod-1"}


def test_a_gang_keeps_no_promises_that_one_of_its_pods_had() -> None:
    desk = book()
    desk.place(make.request("pod-0", requests=make.amounts(40, 50)), ["a"], now=0)

    desk.place_together(gang(5, make.amounts(40, 50)), now=1)

    assert desk.promises == {}


def test_room_eases_when_something_leaves_and_not_when_something_comes() -> None:
    desk = book(make.node("a"))
    slice_ = make.slice_(uuids=("GPU-a",))

    before = desk.eased
    desk.see_node(make.node("a", slices=[slice_], revision=1))
    assert desk.eased == before

    desk.see_node(make.node("a", revision=2))
    assert desk.eased > before


def test_a_promise_that_is_taken_back_eases_and_one_that_is_kept_does_not() -> None:
    desk = book(make.node("a"))
    before = desk.eased
    desk.place(make.request(), None, now=0)
    desk.place(make.request(), ["a"], now=1)
    assert desk.eased == before

    desk.cancel("pod-0")

    assert desk.eased > before


def test_a_process_started_anew_expects_what_the_ledger_holds() -> None:
    pool, usual = make.pool(strategy=values.Strategy.LEAST_FRAGMENTATION), make.amounts(1, 1)
    held = [make.slice_(f"pod-{n}", uuids=("GPU-a",), requests=usual, limits=usual) for n in range(80)]
    before, after = book(make.node("a"), pool=pool), book(make.node("a", slices=held), pool=pool)
    for slice_ in held:
        before.place(make.request(slice_.id, requests=usual), ["a"], now=5)

    learned, restored = before.expected("a100", now=9), after.expected("a100", now=9)

    assert mix.distance(learned, restored) <= mix.Memory().tolerance
    assert restored.popularity[mix.Shape(requests=usual)] > 0.75


def test_a_pool_that_changes_only_its_quotas_keeps_what_it_knows_of_its_nodes() -> None:
    desk = book(make.node("a"), make.node("b"))
    desk.place(make.request("pod-0"), ["a", "b"], now=0)

    desk.see_pool(make.pool(quotas={}))

    assert isinstance(desk.place(make.request("pod-1"), ["a", "b"], now=0), values.Refusal)


def exclusive(pod: str) -> values.Request:
    asked = make.request(pod, requests=make.amounts(1, 100))
    return replace(asked, constraints=values.Constraints(exclusive=True))


def test_an_exclusive_request_counts_all_of_its_device_against_the_quota() -> None:
    quota = values.Quota(nominal=make.amounts(100, 200), borrowing_limit=values.NOTHING)
    desk = book(pool=make.pool(quotas={"team-a": quota}))

    first = desk.place(exclusive("pod-0"), None, now=0)
    second = desk.place(exclusive("pod-1"), None, now=0)

    assert isinstance(first, choice.Placement)
    assert desk.used("a100") == {"team-a": make.amounts(80, 100)}
    assert isinstance(second, values.Refusal)
    assert second.reason is values.Reason.WAITING_FOR_QUOTA


def test_nobody_is_placed_beside_an_exclusive_promise_and_it_is_kept_when_asked_again() -> None:
    desk = book(make.node("a"))

    answers = [desk.place(exclusive("pod-0"), ["a"], now=float(at)) for at in range(2)]

    assert [placed(answer).device_uuids for answer in answers] == [("GPU-a",), ("GPU-a",)]
    assert isinstance(desk.place(make.request("pod-1"), ["a"], now=2), choice.NoFit)


def test_a_silent_node_takes_nothing_new_keeps_what_it_holds_and_comes_back() -> None:
    desk = book(make.node("a", slices=[make.slice_("held", uuids=("GPU-a",))]))

    desk.see_silent(["a"])
    refused, before = desk.place(make.request("pod-1"), ["a"], now=0), desk.eased
    desk.see_silent([])

    assert isinstance(refused, choice.NoFit)
    assert refused.reasons == {"a": explain.SILENT}
    assert desk.slice_of("held") is not None
    assert desk.eased > before
    assert placed(desk.place(make.request("pod-1"), ["a"], now=0)).node == "a"


def test_a_promise_on_a_node_that_has_vanished_is_given_anew_or_refused_in_words() -> None:
    desk = book()
    first = placed(desk.place(make.request(), None, now=0)).node
    desk.forget_node(first)

    second = placed(desk.place(make.request(), None, now=1)).node
    desk.forget_node(second)
    answer = desk.place(make.request(), [first, second], now=2)

    assert {first, second} == {"a", "b"}
    assert isinstance(answer, choice.NoFit)
    assert answer.message == "2 nodes: its agent has reported no GPUs"
    assert desk.promises == {}


def leaving_desk() -> reservations.Book:
    """One GPU, 40 of 80 GiB of it free, the rest held by a pod that is leaving."""
    held = make.slice_("going", uuids=("GPU-a",), requests=make.amounts(40, 50))
    return book(make.node("a", slices=[held]))


def test_room_that_a_leaving_pod_holds_is_kept_for_the_first_that_waits() -> None:
    desk = leaving_desk()
    late, new = make.request("late", requests=make.amounts(60, 50)), make.request("new")
    assert isinstance(desk.place(late, None, now=0), choice.NoFit)

    assert placed(desk.promise_ahead(late, None, {"going"}, now=0)).node == "a"

    assert isinstance(desk.place(new, None, now=0), choice.NoFit), "it would take what late waits for"
    assert isinstance(desk.place(late, None, now=1), choice.NoFit), "it is not there yet"
    desk.promise_ahead(late, None, {"going"}, now=1)
    desk.see_node(make.node("a", revision=2))
    assert placed(desk.place(late, None, now=2)).node == "a"


def test_too_little_that_comes_free_is_kept_for_nobody() -> None:
    desk = leaving_desk()
    large = make.request("large", requests=make.amounts(60, 80))

    assert desk.promise_ahead(large, None, {"another-uid"}, now=0) is None
    assert desk.promise_ahead(large, ["b"], {"going"}, now=0) is None
    assert not desk.promises


def test_what_comes_free_is_promised_anew_without_a_no_becoming_a_perhaps() -> None:
    desk = leaving_desk()
    late = make.request("late", requests=make.amounts(60, 50))
    desk.promise_ahead(late, None, {"going"}, now=0)
    before = desk.eased

    assert desk.withdraw_ahead() == {late.slice_id}
    desk.promise_ahead(late, None, {"going"}, now=1)
    desk.place(late, None, now=1)

    assert desk.eased == before
