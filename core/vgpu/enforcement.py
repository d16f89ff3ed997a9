"""From a slice to the limits of its page, and from what is in use to what may be reported as enforced.

Pure: pages are written and accounts are read elsewhere. A node never enforces half a slice: either every
device of it can be limited as the ledger says, or the slice is refused with the reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from vgpu import values

REPORT_STEP_BYTES = 64 * values.MIB
"""Memory held above the limit is reported in steps, upwards, so that a shrink is not a hundred writes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a limit on a device is held against: its memory in bytes, and what it can isolate.

    ``context_bytes`` is what the driver takes for each context, 0 while nobody knows. ``promised_bytes`` is
    how much of its memory all slices together may hold, None where no pool says so: all there is.
    """

    memory_bytes: int
    isolation: values.Isolation = values.FULL_ISOLATION
    context_bytes: int = 0
    promised_bytes: int | None = None

    @property
    def bound_bytes(self) -> int:
        """How much of its memory all slices together may hold."""
        return self.memory_bytes if self.promised_bytes is None else self.promised_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLimits:
    """What a slice may use of one device; ceilings are what it may reach without asking the ledger again."""

    device_uuid: str
    memory_bytes: int
    memory_ceiling_bytes: int
    compute_percent: int
    compute_ceiling_percent: int
    weight: int
    priority: int
    revision: int
    context_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """Why the node cannot enforce a slice: what was expected, what was found, what to do."""

    message: str


def limits(slice_: values.Slice, devices: Mapping[str, Facts]) -> tuple[DeviceLimits, ...] | Refused:
    """The limits of a slice on each of its devices, in the ledger's order, or why there are none."""
    for uuid in slice_.device_uuids:
        if refusal := _refusal(uuid, devices.get(uuid), slice_.allocated):
            return refusal
    return tuple(_device_limits(uuid, slice_, devices[uuid].context_bytes) for uuid in slice_.device_uuids)


def verdicts(
    slices: Iterable[values.Slice], devices: Mapping[str, Facts], in_force: Mapping[str, int]
) -> dict[str, tuple[DeviceLimits, ...] | Refused]:
    """The limits of every slice of a node, or why there are none, by the slice's id.

    Each is held against its devices and against the others: where they are allocated more memory than may be
    promised of a device, which no decision of ours does, the newest is refused that would have to grow.
    ``in_force`` is the memory in bytes that a slice's page permits now, per GPU; that much nobody loses here.
    """
    node = tuple(slices)
    given: dict[str, int] = {}
    for each in node:
        _give(given, each, in_force.get(each.id, 0))
    found: dict[str, tuple[DeviceLimits, ...] | Refused] = {}
    for each in sorted(node, key=lambda slice_: _seniority(slice_, in_force.get(slice_.id, 0))):
        verdict = limits(each, devices)
        growth = each.allocated.memory_bytes - in_force.get(each.id, 0)
        if not isinstance(verdict, Refused) and growth > 0:
            verdict = _oversold(each, growth, devices, given) or verdict
        if not isinstance(verdict, Refused):
            _give(given, each, growth)
        found[each.id] = verdict
    return found


def fixed(slice_: values.Slice, devices: Mapping[str, Facts]) -> Refused | None:
    """Why the limits of a slice whose pods run cannot change, None where they can."""
    for uuid in slice_.device_uuids:
        resize = devices[uuid].isolation.resize if uuid in devices else values.ResizeMode.LIVE
        if resize is not values.ResizeMode.LIVE:
            return Refused(
                message=f"{uuid} cannot change limits of running pods (isolation.resize: {resize.value});"
                " what was in force stays: set the claim back, or delete the pod to have it made anew"
            )
    return None


def report(
    slice_: values.Slice, used_bytes: Sequence[int], *, note: str = "", says: str = ""
) -> values.Enforced:
    """What the node confirms once the slice's limits are in force and so much is used on its devices.

    Memory in use above the limit is not free: it is reported until the application has let go of it. ``says``
    is the application's own reason for not having done so yet.
    """
    allocated = slice_.allocated
    held = max(used_bytes, default=0)
    shrinking = held > allocated.memory_bytes
    return values.Enforced(
        memory_bytes=_step_up(held) if shrinking else allocated.memory_bytes,
        compute_percent=allocated.compute_percent,
        revision=slice_.revision,
        state=values.EnforcementState.SHRINKING if shrinking else values.EnforcementState.APPLIED,
        message=_still_held(held, allocated, says) if shrinking else note,
    )


def refused(slice_: values.Slice, refusal: Refused, in_force: values.Enforced | None) -> values.Enforced:
    """What the node confirms of a slice that it cannot enforce: what was in force stays, and counts."""
    return values.Enforced(
        memory_bytes=in_force.memory_bytes if in_force else 0,
        compute_percent=in_force.compute_percent if in_force else 0,
        revision=in_force.revision if in_force else 0,
        state=values.EnforcementState.REFUSED,
        message=refusal.message,
    )


def crowded(slices: Iterable[values.Slice], devices: Mapping[str, Facts]) -> dict[str, str]:
    """A note for every device whose slices may together use more memory than it has, by UUID.

    A pool may overcommit on purpose; then an allocation below a slice's limit can fail all the same.
    """
    given: dict[str, int] = {}
    for slice_ in slices:
        for uuid in slice_.device_uuids:
            given[uuid] = given.get(uuid, 0) + slice_.allocated.memory_bytes
    return {
        uuid: f"{_gib(given[uuid])} are allocated on {uuid}, which has {_gib(devices[uuid].memory_bytes)}:"
        " memory below the limit may be refused"
        for uuid in given.keys() & devices.keys()
        if given[uuid] > devices[uuid].memory_bytes
    }


def _refusal(uuid: str, facts: Facts | None, allocated: values.Amounts) -> Refused | None:
    if facts is None:
        return Refused(message=f"{uuid} is not among this node's devices; delete the pod or repair the GPU")
    if facts.isolation.memory is values.MemoryIsolation.NONE:
        return Refused(message=f"{uuid} cannot limit memory (isolation.memory: None); use other devices")
    if facts.isolation.compute is values.ComputeIsolation.NONE and allocated.compute_percent < 100:
        return Refused(message=f"{uuid} cannot limit compute (isolation.compute: None); ask for 100 percent")
    if allocated.memory_bytes > facts.memory_bytes:
        return Refused(
            message=f"{_gib(allocated.memory_bytes)} are allocated on {uuid}, which has"
            f" {_gib(facts.memory_bytes)}; lower the claim's memory"
        )
    return None


def _seniority(slice_: values.Slice, granted_bytes: int) -> tuple[bool, int, str]:
    """Who comes first to a device's memory: who has it already, then who was changed first."""
    return slice_.allocated.memory_bytes > granted_bytes, slice_.revision, slice_.id


def _give(given: dict[str, int], slice_: values.Slice, memory_bytes: int) -> None:
    for uuid in slice_.device_uuids:
        given[uuid] = given.get(uuid, 0) + memory_bytes


def _oversold(
    slice_: values.Slice, growth_bytes: int, devices: Mapping[str, Facts], given: Mapping[str, int]
) -> Refused | None:
    wanted = slice_.allocated.memory_bytes
    for uuid in slice_.device_uuids:
        others, bound = given[uuid] + growth_bytes - wanted, devices[uuid].bound_bytes
        if others + wanted > bound:
            return Refused(
                message=f"{_gib(wanted)} are allocated on {uuid} beside {_gib(others)} of other slices, and"
                f" {_gib(bound)} of it may be promised in all; lower the claim's memory, or delete the pod to"
                " have it placed anew"
            )
    return None


def _device_limits(uuid: str, slice_: values.Slice, context_bytes: int) -> DeviceLimits:
    compute = max(1, slice_.allocated.compute_percent)  # nothing at all would stop the application
    return DeviceLimits(
        device_uuid=uuid,
        memory_bytes=slice_.allocated.memory_bytes,
        memory_ceiling_bytes=slice_.limits.memory_bytes,
        compute_percent=compute,
        compute_ceiling_percent=max(compute, slice_.limits.compute_percent),
        weight=compute,
        priority=slice_.priority,
        revision=slice_.revision,
        context_bytes=context_bytes,
    )


def _step_up(memory_bytes: int) -> int:
    return -(-memory_bytes // REPORT_STEP_BYTES) * REPORT_STEP_BYTES


def _still_held(held: int, allocated: values.Amounts, says: str) -> str:
    message = (
        f"the application holds {_gib(_step_up(held))} of GPU memory and {_gib(allocated.memory_bytes)}"
        " are allocated: it gets no more until it has freed the difference"
    )
    return f"{message}; it says: {says}" if says else message


def _gib(memory_bytes: int) -> str:
    return f"{memory_bytes / values.GIB:.4g} GiB"
