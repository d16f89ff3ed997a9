"""The memory of a sleeper: its slice keeps what it still holds, and has room for all of it before it wakes.

An application that finds no memory when it is woken may not survive that, so it is not woken before its node
has confirmed the growth, and not at all where a neighbour has taken the room. Pure.
"""

from collections.abc import Mapping
from dataclasses import replace

from vgpu.elasticity import decision, facts, memory, settings
from vgpu_operator.elasticity.assembly import Subject
from vgpu_operator.elasticity.signals import Signals


def held(subject: Subject, signals: Signals, before: Mapping[str, int]) -> dict[str, int]:
    """What each slice holds when awake, in bytes: its peak lately, for a sleeper what was so before."""
    found = {}
    for each in subject.holdings:
        peak = signals.memories[slot].peak_bytes if (slot := subject.slot(each)) in signals.memories else None
        known = before.get(each.slice.id)
        size = peak if known is None or each.slice.id not in subject.asleep else known
        if size is not None:
            found[each.slice.id] = size
    return found


def wakeable(
    slice_: facts.SliceFacts, awake_bytes: int | None, *, quota_bytes: int | None
) -> facts.SliceFacts:
    """The slice; a sleeper's whose memory has gone to others is not ready to serve and cannot grow.

    ``quota_bytes`` is how much more memory the quota admits (None: any).
    """
    more = slice_.room.memory_bytes if quota_bytes is None else min(slice_.room.memory_bytes, quota_bytes)
    most = min(slice_.limits.memory_bytes, slice_.allocated.memory_bytes + more)
    if not slice_.asleep or awake_bytes is None or awake_bytes <= most:
        return slice_
    floor = replace(slice_.limits, compute_percent=slice_.requests.compute_percent)
    return replace(slice_, ready=False, limits=floor)


def with_memory(
    decided: decision.Decision,
    claim: facts.ClaimFacts,
    awake_bytes: Mapping[str, int],
    rule: settings.Settings,
) -> decision.Decision:
    """The decision with slices of those that wake as large as their applications need them."""
    sizes = dict(decided.allocations)
    for each in claim.slices:
        if each.id in decided.wake and each.id in awake_bytes:
            awake = replace(each, memory_peak_bytes=awake_bytes[each.id])
            size = sizes.get(each.id, each.allocated)
            sizes[each.id] = replace(size, memory_bytes=memory.wished_bytes(awake, rule))
    held_now = {each.id: each.allocated for each in claim.slices}
    return replace(decided, allocations={id_: it for id_, it in sizes.items() if it != held_now[id_]})


def waits(subject: Subject, decided: decision.Decision) -> frozenset[str]:
    """Slices of those that shall wake and may not yet: their memory is not there, or not confirmed."""
    late = set()
    for each in subject.holdings:
        size = decided.allocations.get(each.slice.id, each.slice.allocated)
        grown = size.memory_bytes <= each.slice.allocated.memory_bytes
        if each.slice.id in decided.wake and not (grown and each.confirmed):
            late.add(each.slice.id)
    return frozenset(late)
