"""How much memory a slice should have: by its peak in use, and more after a refused allocation.

A smaller size is a wish: the node frees memory in its own time, which is not waited for here.
"""

from vgpu.elasticity import facts, settings


def wished_bytes(slice_: facts.SliceFacts, rule: settings.Settings) -> int:
    """Memory for the slice, between its floor and what ceiling and devices permit.

    Unknown use changes nothing; a shrink never goes below the peak in use with its margin. Sizes are whole
    multiples of the rule's grain, but where floor or ceiling is the size.
    """
    present, peak = slice_.allocated.memory_bytes, slice_.memory_peak_bytes
    reachable = whole(present, max(0, slice_.room.memory_bytes), rule)
    if slice_.memory_denied:
        needed = (peak or 0) + slice_.memory_denied_bytes
        wished = max(int(present * rule.memory_step), int(needed * rule.memory_margin))
    elif peak is None:
        return present
    else:
        wished = int(peak * rule.memory_margin)
    wished += -wished % rule.memory_grain_bytes
    most = max(present, min(slice_.limits.memory_bytes, reachable))
    wished = max(slice_.requests.memory_bytes, min(wished, most))
    close = abs(wished - present) <= rule.deadband * present
    return present if close and not slice_.memory_denied else wished


def whole(present_bytes: int, more_bytes: int, rule: settings.Settings) -> int:
    """The largest multiple of the grain that so much more permits; the present size where there is none."""
    reachable = present_bytes + more_bytes
    return max(present_bytes, reachable - reachable % rule.memory_grain_bytes)
