"""Room beside open wishes, and places for more replicas as placement and quota would take them."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import pytest

import builders as make
from vgpu import reservations, values
from vgpu_operator.elasticity.rooms import MOST_AT_ONCE, Rooms
from vgpu_operator.holdings import Holding
from vgpu_operator.membership import Membership
from vgpu_operator.view import View

POOL = make.pool()


@dataclass(slots=True)
class Seen:
    """As much of a view as rooms are read from."""

    book: reservations.Book = field(default_factory=reservations.Book)
    membership: Membership = field(default_factory=Membership)


def rooms(*nodes: values.Node, pool: values.Pool = POOL, contended: bool = False) -> Rooms:
    seen = Seen()
    seen.book.see_pool(pool)
    seen.membership.see_pool(pool)
    for node in nodes:
        seen.book.see_node(node)
        seen.membership.see_node(node)
    return Rooms(cast(View, seen), pool, contended=contended)


def node(*slices: values.Slice, **changes: Any) -> values.Node:
    return replace(make.node(), slices={each.id: each for each in slices}, **changes)


def holding(slice_: values.Slice) -> Holding:
    return Holding(node=make.node().name, slice=slice_, enforced=None)


def test_the_wishes_of_others_are_no_room() -> None:
    mine, other = make.slice_("mine"), make.slice_("other")
    wishing = replace(other, wanted=other.allocated + make.amounts(10, 15))

    quiet, _ = rooms(node(mine, other)).beside(holding(mine))
    asked, neighbours = rooms(node(mine, wishing)).beside(holding(mine))

    assert quiet - asked == make.amounts(10, 15)
    assert neighbours == other.allocated.compute_percent


def test_a_slice_on_a_cordoned_device_has_no_room() -> None:
    mine = make.slice_()
    cordoned = node(mine, cordoned_devices=frozenset(mine.device_uuids))

    assert rooms(cordoned).beside(holding(mine)) == (values.NOTHING, 0)


def test_where_pods_wait_nothing_has_room() -> None:
    mine = make.slice_()
    contended = rooms(node(mine), contended=True)

    assert contended.beside(holding(mine))[0] == values.NOTHING
    assert contended.free_part() == 0.0
    assert contended.places(make.request(), at_most=3).count == 0


def test_places_are_counted_until_there_are_enough() -> None:
    assert rooms(node()).places(make.request(requests=make.amounts(1, 1)), at_most=3).count == 3
    assert rooms(node()).places(make.request(requests=make.amounts(1, 1)), at_most=99).count == MOST_AT_ONCE


def test_too_few_places_say_what_is_short() -> None:
    found = rooms(node()).places(make.request(requests=make.amounts(60, 60)), at_most=9)

    assert found.short_of is values.Reason.NO_FIT
    assert 0 < found.count < 9
    assert found.message == "no GPU has 60 GiB/60 % free for another replica"


@pytest.mark.parametrize(("nominal", "count"), [(0, 0), (40, 2), (1000, 3)])
def test_quota_ends_the_count(nominal: int, count: int) -> None:
    quotas: Mapping[str, values.Quota] = {
        make.request().claim.namespace: values.Quota(nominal=make.amounts(nominal, nominal))
    }
    limited = make.pool(quotas=quotas)

    found = rooms(node(), pool=limited).places(make.request(requests=make.amounts(20, 20)), at_most=3)

    assert found.count == count
    assert (found.short_of is values.Reason.WAITING_FOR_QUOTA) == (count < 3)


def test_an_exclusive_replica_takes_a_whole_device() -> None:
    asked = make.request(requests=make.amounts(20, 100))
    alone = replace(asked, constraints=replace(asked.constraints, exclusive=True))

    assert rooms(node()).places(alone, at_most=9).count == len(make.node().devices)


def test_a_silent_node_has_no_places() -> None:
    seen = rooms(node())
    seen._view.book.see_silent({make.node().name})

    assert seen.places(make.request(), at_most=1).count == 0


def test_what_others_lack_counts_by_its_part_of_the_pool() -> None:
    seen = Seen()
    seen.membership.see_pool(POOL)
    seen.membership.see_node(node())
    capacity = seen.membership.totals(POOL.name).capacity.compute_percent

    lacking = Rooms(cast(View, seen), POOL, lacking_percent=capacity / 4).lacking_part()

    assert lacking == pytest.approx(0.25)
    assert Rooms(cast(View, Seen()), POOL, lacking_percent=50.0).lacking_part() == 0.0
