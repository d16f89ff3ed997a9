"""How much memory a slice should have: by its peak in use, and more after a refused allocation.

A smaller size is a wish: the node frees memory in its own time, which is not waited for here.
"""

from vgpu.elasticity import facts, settings


def wished_bytes(slice_: facts.SliceFacts, rule: settings.Settings) -> int:
    """Memory for the slice, between its floor and what ceiling and devices permit.

    Unknown use changes nothing; a shrink never goes below the peak in use with its margin.
    """
    present, peak = slice_.allocated.memory_bytes, slice_.memory_peak_bytes
    most = min(slice_.limits.memory_bytes, present + max(0, slice_.room.memory_bytes))
    if slice_.memory_denied:
        needed = (peak or 0) + slice_.memory_denied_bytes
        wished = max(int(present * rule.memory_step), int(needed * rule.memory_margin))
    elif peak is None:
        return present
    else:
        wished = int(peak * rule.memory_margin)
    wished = max(slice_.requests.memory_bytes, min(wished, max(most, present)))
    close = abs(wished - present) <= rule.deadband * present
    return present if close and not slice_.memory_denied else wished
