"""What a pool expects is learned from what it is asked for, and its board follows."""

from dataclasses import replace

import pytest

import builders as make
from vgpu import inventory, values
from vgpu.placement import choice, demand, mix, outlook

WEEK = 7 * 86_400.0
WHOLE = make.amounts(80, 100)
HALF, LARGER, SMALL = make.amounts(40, 50), make.amounts(48, 60), make.amounts(8, 10)


def room(node: str, free: values.Amounts, model: str = "A100") -> inventory.NodeRoom:
    device = inventory.DeviceRoom(uuid=f"GPU-{node}", capacity=WHOLE, free=free, model=model)
    return inventory.NodeRoom(node=node, devices=(device,))


def asked_for(size: values.Amounts, count: int = 400) -> demand.Demand:
    found = demand.Demand()
    for number in range(count):
        found.ask(make.request(f"{size}-{number}", requests=size))
    return found


def place_of_a_small_one(found: outlook.Outlook, *, now: float = 0) -> str:
    place = found.board(now=now).place(make.request(requests=SMALL))
    assert isinstance(place, choice.Placement)
    return place.node


@pytest.mark.parametrize(("usual", "node"), [(HALF, "larger"), (LARGER, "half")])
def test_room_is_kept_for_what_is_asked_for_most(usual: values.Amounts, node: str) -> None:
    found = outlook.Outlook(values.Strategy.LEAST_FRAGMENTATION, asked_for(usual))
    for where in (room("half", HALF), room("larger", LARGER)):
        found.see(where)

    assert place_of_a_small_one(found) == node


def test_the_board_follows_when_other_sizes_are_asked_for() -> None:
    taught = asked_for(HALF)
    found = outlook.Outlook(values.Strategy.LEAST_FRAGMENTATION, taught)
    for where in (room("half", HALF), room("larger", LARGER)):
        found.see(where)
    before = place_of_a_small_one(found)

    for number in range(4000):
        taught.ask(make.request(f"new-{number}", requests=LARGER))

    assert (before, place_of_a_small_one(found)) == ("larger", "half")


def test_the_board_stays_the_same_while_what_is_expected_does() -> None:
    found = outlook.Outlook(values.Strategy.LEAST_FRAGMENTATION, asked_for(HALF))
    found.see(room("half", HALF))

    assert found.board(now=0) is found.board(now=3600)


def test_a_model_that_only_some_can_do_with_grows_dear() -> None:
    taught = demand.Demand()
    found = outlook.Outlook(values.Strategy.LEAST_FRAGMENTATION, taught)
    for where in (room("a", WHOLE, "H100"), room("b", WHOLE, "T4")):
        found.see(where)
    before = place_of_a_small_one(found)

    for number in range(400):
        asked = make.request(f"bound-{number}", requests=WHOLE)
        taught.ask(replace(asked, models=frozenset({"H100"})))

    assert (before, place_of_a_small_one(found)) == ("a", "b")


def test_other_strategies_expect_nothing() -> None:
    found = outlook.Outlook(values.Strategy.BIN_PACK, asked_for(HALF))
    for where in (room("half", HALF), room("larger", LARGER)):
        found.see(where)

    assert place_of_a_small_one(found) == "half"


def test_a_request_counts_once_however_often_it_is_asked_for_and_then_held() -> None:
    found = demand.Demand()
    for _ in range(50):
        found.ask(make.request("pod", requests=HALF))
    found.hold(make.slice_("pod", requests=HALF))

    assert found.fresh == 1


def test_a_slice_that_nobody_asked_this_process_for_counts() -> None:
    found = demand.Demand()
    for number in range(400):
        found.hold(make.slice_(f"pod-{number}", requests=HALF))

    assert mix.Shape(requests=HALF) in found.mix(now=0).popularity


def test_requests_that_wait_are_not_remembered_without_end() -> None:
    found = asked_for(HALF, demand.MOST_WAITING + 1)

    found.ask(make.request(f"{HALF}-0", requests=HALF))

    assert found.fresh == demand.MOST_WAITING + 2


def test_what_was_asked_for_long_ago_is_expected_no_more() -> None:
    found = asked_for(HALF)
    popular = found.mix(now=0).popularity[mix.Shape(requests=HALF)]

    faded = found.mix(now=20 * WEEK).popularity.get(mix.Shape(requests=HALF), 0.0)

    assert popular > 0.9
    assert faded < 0.3
