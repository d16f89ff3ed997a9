"""Every change of a node's ledger, as a function: the node and a wish give a change or a refusal.

A ``Change`` names the revision it was decided on; written as a JSON patch it begins with a test of that
revision, so a decision on old facts fails and is made again. Writing is not done here, and quotas are
checked by those who decide over more than one node.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace

from vgpu import inventory, values
from vgpu.placement import eligibility


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What to write into one node's ledger, provided that its revision is still ``revision``."""

    node: str
    revision: int
    put: Mapping[str, values.Slice] = field(default_factory=dict)
    drop: frozenset[str] = frozenset()
    cordoned_devices: frozenset[str] | None = None

    @property
    def empty(self) -> bool:
        """True when the ledger already says all of this."""
        return not self.put and not self.drop and self.cordoned_devices is None


def applied(node: values.Node, change: Change) -> values.Node:
    """The node after ``change``; raises ValueError when the change was decided on another revision."""
    if change.empty:
        return node
    if change.revision != node.revision:
        raise ValueError(
            f"expected revision {change.revision} of {node.name}, found {node.revision}: decide again"
        )
    return replace(staged(node, change), revision=node.revision + 1)


def staged(node: values.Node, change: Change) -> values.Node:
    """The node as ``change`` will leave it, under the revision it has: to decide more for the same write."""
    kept = {id_: slice_ for id_, slice_ in node.slices.items() if id_ not in change.drop}
    cordoned = node.cordoned_devices if change.cordoned_devices is None else change.cordoned_devices
    return replace(node, slices={**kept, **change.put}, cordoned_devices=cordoned)


def merged(first: Change, second: Change) -> Change:
    """Both changes in one write; ``second`` was decided on what ``first`` had staged."""
    put = {id_: slice_ for id_, slice_ in first.put.items() if id_ not in second.drop}
    cordoned = first.cordoned_devices if second.cordoned_devices is None else second.cordoned_devices
    return Change(
        node=first.node,
        revision=first.revision,
        put={**put, **second.put},
        drop=(first.drop | second.drop) - second.put.keys(),
        cordoned_devices=cordoned,
    )


def hold(
    pool: values.Pool, node: values.Node, request: values.Request, device_uuids: tuple[str, ...]
) -> Change | values.Refusal:
    """Give the request a slice on these devices, or let its pod join the slice that is there.

    Idempotent: a pod that is already in its slice changes nothing. An exclusive request gets all there is of
    the devices. Refused with NO_FIT when a device has no room for the floor, is cordoned, unhealthy or not of
    the pool, or when the request's constraints keep it off.
    """
    present = node.slices.get(request.slice_id)
    if present is not None:
        return _join(node, present, request.pod)
    there = {device.uuid: device for device in inventory.room(pool, node).devices}
    asked = (there[uuid] for uuid in device_uuids if uuid in there)
    fits = {device.uuid for device in eligibility.fitting(asked, request)}
    for uuid in device_uuids:
        if uuid not in fits:
            found = _found(there.get(uuid), request)
            return _no_fit(f"{request.requests} asked of GPU {uuid} on {node.name}; {found}")
    return _put(node, _new_slice(pool, node, request, device_uuids))


def release(node: values.Node, pod_uids: Collection[str]) -> Change:
    """Take these pods out of their slices; a slice without pods goes."""
    left = {slice_.id: _without(slice_, pod_uids) for slice_ in node.slices.values()}
    changed = {id_: slice_ for id_, slice_ in left.items() if slice_ != node.slices[id_]}
    return Change(
        node=node.name,
        revision=node.revision,
        put={id_: slice_ for id_, slice_ in changed.items() if slice_.pods},
        drop=frozenset(id_ for id_, slice_ in changed.items() if not slice_.pods),
    )


def shrink(node: values.Node, slice_id: str, allocated: values.Amounts) -> Change | values.Refusal:
    """Lower what a slice may use; the node frees it in its own time.

    Refused with OUT_OF_BOUNDS below the slice's requests or above what it has in either dimension.
    """
    slice_ = node.slices.get(slice_id)
    if slice_ is None:
        return _not_held(node, slice_id)
    if not (allocated.covers(slice_.requests) and slice_.allocated.covers(allocated)):
        return _out_of_bounds(
            f"a shrink of slice {slice_id} goes from {slice_.allocated} down to {slice_.requests} at most;"
            f" {allocated} asked"
        )
    return _resized(node, slice_, replace(slice_, allocated=allocated, wanted=None))


def wish(node: values.Node, slice_id: str, wanted: values.Amounts | None) -> Change | values.Refusal:
    """Record a growth that the active extender shall grant, or withdraw it with None.

    Growth counts against quotas, which one process decides; so the wish is written, never the growth itself.
    """
    slice_ = node.slices.get(slice_id)
    if slice_ is None:
        return _not_held(node, slice_id)
    if wanted is not None and not (wanted.covers(slice_.allocated) and slice_.limits.covers(wanted)):
        return _out_of_bounds(
            f"a growth of slice {slice_id} goes from {slice_.allocated} up to {slice_.limits} at most;"
            f" {wanted} asked"
        )
    wanted = None if wanted == slice_.allocated else wanted
    return _replace(node, slice_, replace(slice_, wanted=wanted))


def grant(
    pool: values.Pool, node: values.Node, slice_id: str, promises: Iterable[inventory.Promise] = ()
) -> Change | values.Refusal:
    """Turn a slice's wish into its allocation.

    Refused with NO_FIT while a device lacks the difference; what is promised to others counts as given.
    """
    slice_ = node.slices.get(slice_id)
    if slice_ is None or slice_.wanted is None:
        return _not_held(node, slice_id)
    grown = replace(slice_, allocated=slice_.wanted, wanted=None)
    refusal = _growth_fits(pool, node, slice_, grown, promises)
    return refusal or _resized(node, slice_, grown)


def retarget(
    node: values.Node, slice_id: str, *, requests: values.Amounts, limits: values.Amounts, priority: int
) -> Change | values.Refusal:
    """Carry a claim's edited bounds into a slice, as far as its allocation permits.

    A lowered ceiling shrinks the allocation with it. A floor above the allocation becomes a wish first
    and is written once the growth has been granted; until then the old floor stays. An exclusive slice holds
    all of its devices whatever the bounds; it takes over the priority alone.
    """
    slice_ = node.slices.get(slice_id)
    if slice_ is None:
        return _not_held(node, slice_id)
    if slice_.exclusive:
        return _replace(node, slice_, replace(slice_, priority=priority))
    if not limits.covers(requests):
        return _out_of_bounds(f"limits {limits} of slice {slice_id} lie below its requests {requests}")
    allocated = slice_.allocated.at_most(limits)
    floor = requests if allocated.covers(requests) else slice_.requests.at_most(limits)
    wanted = None if allocated.covers(requests) else allocated.at_least(requests)
    kept_wish = _kept_wish(slice_, allocated, limits)
    changed = replace(
        slice_,
        requests=floor,
        limits=limits,
        priority=priority,
        allocated=allocated,
        wanted=wanted if kept_wish is None or wanted is not None else kept_wish,
    )
    return _resized(node, slice_, changed)


def cordon(node: values.Node, device_uuids: Collection[str]) -> Change:
    """Let exactly these devices take no new slices; those they have stay."""
    wished = frozenset(device_uuids)
    return Change(
        node=node.name,
        revision=node.revision,
        cordoned_devices=None if wished == node.cordoned_devices else wished,
    )


def _join(node: values.Node, slice_: values.Slice, pod: values.PodRef) -> Change:
    if pod in slice_.pods:
        return Change(node=node.name, revision=node.revision)
    return _put(node, replace(slice_, pods=(*slice_.pods, pod)))


def _new_slice(
    pool: values.Pool, node: values.Node, request: values.Request, device_uuids: tuple[str, ...]
) -> values.Slice:
    taken = inventory.taken(pool, node, request, device_uuids)
    exclusive = request.constraints.exclusive
    return values.Slice(
        id=request.slice_id,
        pool_name=request.pool_name,
        claim=request.claim,
        pods=(request.pod,),
        device_uuids=device_uuids,
        requests=taken,
        allocated=taken,
        limits=taken if exclusive else request.limits,
        priority=request.priority,
        held_memory_bytes=taken.memory_bytes,
        revision=node.revision + 1,
        exclusive=exclusive,
        exclusion_group=request.constraints.exclusion_group,
    )


def _resized(node: values.Node, old: values.Slice, new: values.Slice) -> Change:
    """Write ``new``; a changed allocation opens a new revision that the node has to confirm."""
    if new.allocated == old.allocated:
        return _replace(node, old, new)
    in_force = inventory.charged(old, node.enforced.get(old.id)).memory_bytes
    held = max(in_force, new.allocated.memory_bytes)
    return _put(node, replace(new, held_memory_bytes=held, revision=node.revision + 1))


def _growth_fits(
    pool: values.Pool,
    node: values.Node,
    old: values.Slice,
    new: values.Slice,
    promises: Iterable[inventory.Promise],
) -> values.Refusal | None:
    enforced = node.enforced.get(old.id)
    needed = new.allocated.memory_bytes - inventory.charged(old, enforced).memory_bytes
    extra = values.Amounts(
        memory_bytes=max(0, needed),
        compute_percent=new.allocated.compute_percent - old.allocated.compute_percent,
    )
    given = inventory.charges(node, promises)
    devices = {device.uuid: device for device in node.devices}
    for uuid in old.device_uuids:
        if uuid not in devices:
            return _no_fit(f"GPU {uuid} is not on {node.name} any more: nothing grows there")
        free = inventory.capacity(pool, devices[uuid]) - given[uuid]
        if not free.at_least(values.NOTHING).covers(extra):
            return _no_fit(f"{extra} more asked of GPU {uuid} on {node.name}; it has {free} free")
    return None


def _kept_wish(
    slice_: values.Slice, allocated: values.Amounts, limits: values.Amounts
) -> values.Amounts | None:
    if slice_.wanted is None:
        return None
    wanted = slice_.wanted.at_most(limits).at_least(allocated)
    return None if wanted == allocated else wanted


def _without(slice_: values.Slice, pod_uids: Collection[str]) -> values.Slice:
    pods = tuple(pod for pod in slice_.pods if pod.uid not in pod_uids)
    return slice_ if len(pods) == len(slice_.pods) else replace(slice_, pods=pods)


def _put(node: values.Node, slice_: values.Slice) -> Change:
    return Change(node=node.name, revision=node.revision, put={slice_.id: slice_})


def _replace(node: values.Node, old: values.Slice, new: values.Slice) -> Change:
    return Change(node=node.name, revision=node.revision) if new == old else _put(node, new)


def _found(device: inventory.DeviceRoom | None, request: values.Request) -> str:
    if device is None:
        return "it is no usable GPU of the pool"
    if device.free.covers(request.requests):
        return "the claim's constraints keep it off"
    return f"it has {device.free} free"


def _no_fit(message: str) -> values.Refusal:
    return values.Refusal(reason=values.Reason.NO_FIT, message=message)


def _out_of_bounds(message: str) -> values.Refusal:
    return values.Refusal(reason=values.Reason.OUT_OF_BOUNDS, message=message)


def _not_held(node: values.Node, slice_id: str) -> values.Refusal:
    return values.Refusal(
        reason=values.Reason.NOT_HELD,
        message=f"slice {slice_id} (with a wish, if one was to be granted) is not on {node.name}",
    )
