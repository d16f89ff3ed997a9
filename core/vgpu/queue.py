"""In which order those that wait get their turn: priority, then the smallest share of its quota, then age.

Only the order; whether there is a place is ``reservations``'s to say. Nobody is held up by one before it that
finds none: it keeps its turn for the next time.
"""

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby

from vgpu import values

Group = tuple[str, str]
"""A pool and a namespace that draws from it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """One that waits: a pod, or a gang as its oldest pod.

    ``priority`` is the pod's, then its claim's; ``since`` its creation in RFC 3339, which sorts by age, and
    ``arrived`` a number that sorts those of one second.
    """

    id: str
    pool_name: str
    namespace: str
    priority: tuple[int, int]
    since: str
    arrived: int = 0


def in_order(tickets: Iterable[Ticket], share: Callable[[str, str], float]) -> Iterator[Ticket]:
    """Every ticket once; ``share`` of a pool and namespace is asked again after each of its tickets.

    So among equal priorities, while all find a place, no namespace is served that holds more of its quota
    than another one that waits.
    """
    ranked = sorted(tickets, key=lambda ticket: ticket.priority, reverse=True)
    for _, equals in groupby(ranked, key=lambda ticket: ticket.priority):
        yield from _fairly(equals, share)


def _fairly(tickets: Iterable[Ticket], share: Callable[[str, str], float]) -> Iterator[Ticket]:
    lines: dict[Group, deque[Ticket]] = {}
    for ticket in sorted(tickets, key=_age):
        lines.setdefault((ticket.pool_name, ticket.namespace), deque()).append(ticket)
    heads = [(share(*group), _age(line[0]), group) for group, line in lines.items()]
    heapq.heapify(heads)
    while heads:
        group = heads[0][2]
        line = lines[group]
        yield line.popleft()
        if line:
            heapq.heapreplace(heads, (share(*group), _age(line[0]), group))
        else:
            heapq.heappop(heads)


def share(pool: values.Pool, used: Mapping[str, values.Amounts], namespace: str) -> float:
    """The larger part of its nominal memory or compute that a namespace holds; 0 in a pool without quotas.

    Without a quota there is nothing to have a share of: there age decides alone.
    """
    quota = (pool.quotas or {}).get(namespace)
    if quota is None:
        return 0.0
    held = used.get(namespace, values.NOTHING)
    return max(
        _part(held.memory_bytes, quota.nominal.memory_bytes),
        _part(held.compute_percent, quota.nominal.compute_percent),
    )


def _part(held: int, nominal: int) -> float:
    if nominal:
        return held / nominal
    return float("inf") if held else 0.0


def _age(ticket: Ticket) -> tuple[str, int, str]:
    return ticket.since, ticket.arrived, ticket.id
