"""The cheapest changes that would let a waiting request in, each proven by quota and placement.

First what the platform can do itself (returns, moves), then what a person can. Each suggestion suffices
alone; what none of them helps needs more devices, and gets no suggestion.
"""

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from vgpu import inventory, values
from vgpu.placement import choice
from vgpu.room import changes, moving, returning, scene, survey

LOOKS = 16
"""So many nodes are looked at closely for each kind of change, the most promising first."""

Bounds = Iterator[tuple[survey.Sight, int]]


def suggestions(
    at: scene.Scene,
    request: values.Request,
    *,
    returns: returning.Plan | None,
    moves: moving.Plan | None,
) -> tuple[changes.Suggestion, ...]:
    """What would let the request in; ``returns`` and ``moves`` are the plans already made for it."""
    quota = _more_quota(at, request)
    roomy = at.fits(request)
    if roomy and not quota:
        return ()
    found: list[tuple[changes.Change, ...]] = [returns] if returns else []
    if roomy:
        found.append(quota)
    else:
        found += [(*moves.changes, *quota)] if moves is not None else []
        uncordoned = _uncordon(at, request)
        found += [(uncordoned, *quota)] if uncordoned is not None else []
    found += _smaller(at, request)
    return tuple(changes.Suggestion(changes=each) for each in found)


def _smaller(at: scene.Scene, request: values.Request) -> Iterator[tuple[changes.Change, ...]]:
    """Less memory, less compute, both where neither suffices, fewer devices; nothing for whole GPUs."""
    if request.constraints.exclusive:
        return
    memory, compute = _less_memory(at, request), _less_compute(at, request)
    yield from ((ask,) for ask in (memory, compute) if ask is not None)
    if memory is None and compute is None:
        yield from _less_of_both(at, request)
    devices = _fewer_devices(at, request)
    if devices is not None:
        yield (devices,)


def _more_quota(at: scene.Scene, request: values.Request) -> tuple[changes.MoreQuota, ...]:
    """The raise that admits the request, nothing where it is admitted."""
    headroom = at.headroom(request)
    if headroom is None or at.refusal(request) is None:
        return ()
    amount = (scene.total(request) - headroom).at_least(values.NOTHING)
    namespace = request.claim.namespace
    return (changes.MoreQuota(pool=at.pool.name, namespace=namespace, amount=amount),)


def _less_memory(at: scene.Scene, request: values.Request) -> changes.LessMemory | None:
    def ask(memory_bytes: int) -> values.Request:
        return _asking(request, replace(request.requests, memory_bytes=memory_bytes))

    def most(room: inventory.NodeRoom) -> int:
        return _nth(request, (device.free.memory_bytes for device in choice.fitting(room, ask(values.MIB))))

    limit = min(request.requests.memory_bytes - 1, _share(at, request, _memory))
    best = _most(at, at.survey.by_memory(ask(values.MIB)), most, ask, limit=limit, step=values.MIB)
    if best is None:
        return None
    return changes.LessMemory(memory_bytes=best, instead_of=request.requests.memory_bytes)


def _less_compute(at: scene.Scene, request: values.Request) -> changes.LessCompute | None:
    def ask(compute_percent: int) -> values.Request:
        return _asking(request, replace(request.requests, compute_percent=compute_percent))

    def most(room: inventory.NodeRoom) -> int:
        return _nth(request, (device.free.compute_percent for device in choice.fitting(room, ask(1))))

    limit = min(request.requests.compute_percent - 1, _share(at, request, _compute))
    best = _most(at, at.survey.by_compute(ask(1)), most, ask, limit=limit, step=1)
    if best is None:
        return None
    return changes.LessCompute(compute_percent=best, instead_of=request.requests.compute_percent)


def _less_of_both(at: scene.Scene, request: values.Request) -> Iterator[tuple[changes.Change, ...]]:
    """The most of both that the node has which lacks least, within the quota."""
    asked, count = request.requests, request.device_count
    for sight in itertools.islice(at.short(request), LOOKS):
        fitting = choice.fitting(sight.now, _asking(request, _LEAST))
        nearest = sorted(
            (device.free.at_most(asked) for device in fitting), key=lambda free: _part(free, asked)
        )
        if len(nearest) < count:
            continue
        memory = min(*(free.memory_bytes for free in nearest[-count:]), _share(at, request, _memory))
        compute = min(*(free.compute_percent for free in nearest[-count:]), _share(at, request, _compute))
        less = values.Amounts(memory_bytes=memory // values.MIB * values.MIB, compute_percent=compute)
        smaller = _asking(request, less)
        if less.covers(_LEAST) and survey.fits(sight.now, smaller) and at.refusal(smaller) is None:
            yield tuple(_reductions(asked, less))
            return


def _reductions(asked: values.Amounts, less: values.Amounts) -> Iterator[changes.Change]:
    if less.memory_bytes < asked.memory_bytes:
        yield changes.LessMemory(memory_bytes=less.memory_bytes, instead_of=asked.memory_bytes)
    if less.compute_percent < asked.compute_percent:
        yield changes.LessCompute(compute_percent=less.compute_percent, instead_of=asked.compute_percent)


def _fewer_devices(at: scene.Scene, request: values.Request) -> changes.FewerDevices | None:
    def ask(count: int) -> values.Request:
        return replace(request, device_count=count)

    def most(room: inventory.NodeRoom) -> int:
        return len(choice.fitting(room, request))

    limit = request.device_count - 1
    best = _most(at, at.survey.by_devices(request), most, ask, limit=limit, step=1)
    return None if best is None else changes.FewerDevices(device_count=best, instead_of=request.device_count)


def _most(
    at: scene.Scene,
    bounds: Bounds,
    most: Callable[[inventory.NodeRoom], int],
    ask: Callable[[int], values.Request],
    *,
    limit: int,
    step: int,
) -> int | None:
    """The largest amount, at most ``limit`` and in whole steps, that fits a node and the quota."""
    best: int | None = None
    for sight, bound in itertools.islice(at.bounded(bounds), LOOKS):
        if best is not None and min(bound, limit) <= best:
            break
        found = min(most(sight.now), limit) // step * step
        if found < step or (best is not None and found <= best):
            continue
        if survey.fits(sight.now, ask(found)) and at.refusal(ask(found)) is None:
            best = found
    return best


def _uncordon(at: scene.Scene, request: values.Request) -> changes.Uncordon | None:
    """The first node where the request fits with one device uncordoned, or with all of them."""
    for sight in itertools.islice(at.cordoned(), LOOKS):
        for uuids in _sets(sight.node.cordoned_devices):
            node = replace(sight.node, cordoned_devices=sight.node.cordoned_devices.difference(uuids))
            if survey.fits(at.survey.read(node), request):
                return changes.Uncordon(node=node.name, device_uuids=uuids)
    return None


def _sets(uuids: frozenset[str]) -> Iterator[tuple[str, ...]]:
    ordered = tuple(sorted(uuids))
    yield from ((uuid,) for uuid in ordered)
    if len(ordered) > 1:
        yield ordered


def _asking(request: values.Request, requests: values.Amounts) -> values.Request:
    return replace(request, requests=requests, limits=request.limits.at_least(requests))


def _nth(request: values.Request, amounts: Iterable[int]) -> int:
    """What each of as many devices as asked has at least; 0 where there are not so many."""
    found = sorted(amounts, reverse=True)
    return found[request.device_count - 1] if len(found) >= request.device_count else 0


def _memory(amount: values.Amounts) -> int:
    return amount.memory_bytes


def _compute(amount: values.Amounts) -> int:
    return amount.compute_percent


def _part(free: values.Amounts, asked: values.Amounts) -> float:
    return free.memory_bytes / asked.memory_bytes + free.compute_percent / asked.compute_percent


_LEAST = values.Amounts(memory_bytes=values.MIB, compute_percent=1)


def _share(at: scene.Scene, request: values.Request, part: Callable[[values.Amounts], int]) -> int:
    """The most per GPU that the quota admits, in one dimension."""
    headroom = at.headroom(request)
    return part(request.requests) if headroom is None else part(headroom) // request.device_count
