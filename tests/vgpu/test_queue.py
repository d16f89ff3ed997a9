"""Who goes first: priority, then the smallest share of quota, then age."""

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import queue, values


def ticket(
    id_: str,
    *,
    namespace: str = "team-a",
    priority: tuple[int, int] = (0, 0),
    since: str = "1",
    pool: str = "p",
    arrived: int = 0,
) -> queue.Ticket:
    return queue.Ticket(
        id=id_, pool_name=pool, namespace=namespace, priority=priority, since=since, arrived=arrived
    )


def order(tickets: list[queue.Ticket], shares: dict[str, float] | None = None) -> list[str]:
    held = shares or {}
    return [each.id for each in queue.in_order(tickets, lambda _, namespace: held.get(namespace, 0.0))]


def test_the_higher_priority_goes_first_whatever_its_age() -> None:
    found = order([ticket("old", since="1"), ticket("urgent", priority=(5, 0), since="2")])

    assert found == ["urgent", "old"]


def test_among_equal_pods_the_claims_priority_decides() -> None:
    assert order([ticket("low", priority=(0, 1)), ticket("high", priority=(0, 2))]) == ["high", "low"]


def test_of_one_namespace_the_older_goes_first() -> None:
    assert order([ticket("young", since="2"), ticket("old", since="1")]) == ["old", "young"]


def test_of_one_second_the_one_that_was_seen_first_goes_first() -> None:
    assert order([ticket("a", arrived=2), ticket("z", arrived=1), ticket("b", arrived=3)]) == ["z", "a", "b"]


def test_the_namespace_with_the_smaller_share_goes_first() -> None:
    tickets = [ticket("a", namespace="rich", since="1"), ticket("b", namespace="poor", since="2")]

    assert order(tickets, {"rich": 0.9, "poor": 0.1}) == ["b", "a"]


def test_what_is_given_meanwhile_counts() -> None:
    tickets = [ticket(f"{name}-{n}", namespace=name, since=str(n)) for name in ("a", "b") for n in range(3)]
    held = {"a": 0.0, "b": 0.0}
    served = []

    for each in queue.in_order(tickets, lambda _, namespace: held[namespace]):
        served.append(each.namespace)
        held[each.namespace] += 0.1

    assert served == ["a", "b", "a", "b", "a", "b"]


def test_a_share_is_the_larger_part_of_memory_and_compute() -> None:
    quotas = {"team-a": values.Quota(nominal=make.amounts(100, 100))}
    pool = make.pool(quotas=quotas)

    assert queue.share(pool, {"team-a": make.amounts(50, 10)}, "team-a") == 0.5
    assert queue.share(pool, {"team-a": make.amounts(5, 80)}, "team-a") == 0.8
    assert queue.share(pool, {}, "team-a") == 0.0


def test_without_quotas_nobody_has_a_share() -> None:
    assert queue.share(make.pool(), {"team-a": make.amounts(50, 10)}, "team-a") == 0.0


def test_whoever_holds_of_a_quota_of_nothing_comes_last() -> None:
    pool = make.pool(quotas={"team-a": values.Quota(nominal=values.NOTHING)})

    assert queue.share(pool, {"team-a": make.amounts(1, 1)}, "team-a") == float("inf")


@given(
    st.lists(
        st.builds(
            ticket,
            st.uuids().map(str),
            namespace=st.sampled_from("abc"),
            priority=st.tuples(st.integers(0, 2), st.integers(0, 2)),
            since=st.sampled_from("12345"),
            pool=st.sampled_from("pq"),
        ),
        unique_by=lambda each: each.id,
        max_size=30,
    )
)
def test_everybody_has_one_turn_and_priorities_never_rise(tickets: list[queue.Ticket]) -> None:
    found = list(queue.in_order(tickets, lambda _, namespace: ord(namespace)))

    assert sorted(each.id for each in found) == sorted(each.id for each in tickets)
    assert [each.priority for each in found] == sorted((each.priority for each in tickets), reverse=True)
