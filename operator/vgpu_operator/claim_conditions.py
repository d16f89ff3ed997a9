"""What a claim says about itself: the conditions, each by its one signer, and their summary.

Pure: from the facts to the sentences. What the facts are is kept in ``view``; numbers stand in
``claim_status``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import quota, values
from vgpu.api import names
from vgpu.api.conditions import ClaimCondition, Condition, Reason, Status
from vgpu.placement import choice
from vgpu_operator import known, verdicts, wording
from vgpu_operator.holdings import Holding


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a claim's conditions are made of.

    ``waiting`` are the pods without a slice and ``verdict`` what placement says of the first of them;
    ``largest_bytes`` is the most memory that one device of the pool may promise, ``refused_edit`` why an
    edit of the bounds stays out of the ledger.
    """

    claim: values.Claim
    pool_name: str | None
    pool: values.Pool | None
    largest_bytes: int
    used: Mapping[str, values.Amounts]
    holdings: tuple[Holding, ...]
    pods: tuple[known.Pod, ...]
    waiting: tuple[known.Pod, ...]
    verdict: verdicts.Verdict | None
    refused_edit: values.Refusal | None
    deleting: bool


def of(facts: Facts) -> list[Condition]:
    """All six conditions, in the order in which a claim meets them."""
    needed = [_accepted(facts), _bound(facts), _enforced(facts)]
    resizing = _resizing(facts)
    return [*needed, resizing, _scaling_limited(), _ready(facts, needed, resizing)]


def _accepted(facts: Facts) -> Condition:
    kind = ClaimCondition.ACCEPTED
    if facts.pool_name is None:
        return _false(kind, Reason.NO_DEFAULT_POOL, _NO_DEFAULT_POOL)
    if facts.pool is None:
        message = f"there is no VGPUPool {facts.pool_name}; create it, or a claim for another pool"
        return _false(kind, Reason.POOL_NOT_FOUND, message)
    refusal = _quota_refusal(facts, facts.pool)
    if refusal is not None:
        return _false(kind, Reason(refusal.reason.value), refusal.message)
    if 0 < facts.largest_bytes < facts.claim.requests.memory_bytes:
        return _false(kind, Reason.EXCEEDS_DEVICE, _exceeds_device(facts, facts.pool))
    return _within(facts, facts.pool)


def _quota_refusal(facts: Facts, pool: values.Pool) -> values.Refusal | None:
    """The quota's no: to the pod that waits, or to a first pod that could never come."""
    if isinstance(facts.verdict, values.Refusal):
        return facts.verdict
    if facts.holdings or facts.waiting:
        return None
    claim = facts.claim
    first = claim.requests.times(claim.device_count)
    verdict = quota.check(pool, facts.used, namespace=claim.ref.namespace, extra=first)
    never = isinstance(verdict, values.Refusal) and verdict.reason is values.Reason.EXCEEDS_QUOTA
    return verdict if never and isinstance(verdict, values.Refusal) else None


def _exceeds_device(facts: Facts, pool: values.Pool) -> str:
    largest = f"{facts.largest_bytes / values.GIB:g} GiB"
    asked = f"{facts.claim.requests.memory_bytes / values.GIB:g} GiB"
    return (
        f"{asked} per GPU asked; the largest GPU of pool {pool.name} can promise {largest};"
        " ask for less, or for more GPUs with less on each"
    )


def _within(facts: Facts, pool: values.Pool) -> Condition:
    kind, namespace = ClaimCondition.ACCEPTED, facts.claim.ref.namespace
    used = facts.used.get(namespace, values.NOTHING)
    mine = (pool.quotas or {}).get(namespace)
    if mine is None:
        return _true(kind, Reason.WITHIN_QUOTA, f"pool {pool.name} sets no quota for namespace {namespace}")
    borrowed = quota.borrowed(mine, used)
    if borrowed == values.NOTHING:
        message = f"namespace {namespace} holds {used} of its {mine.nominal} in pool {pool.name}"
        return _true(kind, Reason.WITHIN_QUOTA, message)
    message = f"namespace {namespace} holds {used} of pool {pool.name}, {borrowed} of it borrowed from others"
    return _true(kind, Reason.BORROWING, message)


def _bound(facts: Facts) -> Condition:
    kind = ClaimCondition.BOUND
    if facts.waiting:
        return _waiting(facts)
    if not facts.holdings:
        label = f"{names.CLAIM_LABEL}: {facts.claim.ref.name}"
        message = f"no pod has joined the claim; give the pods of your workload the label {label}"
        return _unknown(kind, Reason.WAITING_FOR_PODS, message)
    nodes = {holding.node for holding in facts.holdings}
    held = f"{_pods(facts)} on {wording.named(tuple(nodes), 'node')}"
    return _true(kind, Reason.BOUND, f"{held} in {wording.counted(len(facts.holdings), 'slice')}")


def _waiting(facts: Facts) -> Condition:
    kind, who = ClaimCondition.BOUND, _who_waits(facts.waiting)
    match facts.verdict:
        case choice.NoFit() as no_fit:
            return _false(kind, Reason.NO_FIT, f"{who}: {no_fit.message}")
        case values.Refusal(reason=values.Reason.POOL_NOT_FOUND) | None:
            return _unknown(kind, Reason.PENDING_EVALUATION, f"{who} until the claim is accepted")
        case values.Refusal() as refusal:
            return _false(kind, Reason.WAITING_FOR_QUOTA, f"{who}: {refusal.message}")
        case choice.Placement(node=node):
            saying = facts.waiting[0].saying
            scheduler = f"; kube-scheduler said last: {saying}" if saying else ""
            message = f"{who} for kube-scheduler; {node} has room{scheduler}"
            return _unknown(kind, Reason.PENDING_EVALUATION, message)


def _who_waits(waiting: tuple[known.Pod, ...]) -> str:
    others = wording.counted(len(waiting) - 1, "other pod")
    first = f"pod {waiting[0].ref.name}"
    return f"{first} waits" if len(waiting) == 1 else f"{first} and {others} wait"


def _enforced(facts: Facts) -> Condition:
    kind = ClaimCondition.ENFORCED
    if not facts.holdings:
        return _unknown(kind, Reason.WAITING_FOR_PODS, "no pod holds a slice whose limits could be in force")
    refused = [holding for holding in facts.holdings if _state(holding) is values.EnforcementState.REFUSED]
    if refused:
        said = refused[0].enforced.message if refused[0].enforced else ""
        message = f"{_where(refused)} cannot apply the limits: {said or 'no reason given'}"
        return _false(kind, Reason.LIMITS_REFUSED, message)
    open_ = [holding for holding in facts.holdings if not holding.confirmed]
    if open_:
        message = (
            f"{_where(open_)} has not confirmed the limits yet; if it stays so, look at vgpu-agent there"
        )
        return _unknown(kind, Reason.WAITING_FOR_AGENT, message)
    return _true(kind, Reason.LIMITS_APPLIED, f"the limits of {_pods(facts)} are in force")


def _resizing(facts: Facts) -> Condition:
    kind = ClaimCondition.RESIZING
    if facts.refused_edit is not None:
        return _unknown(kind, Reason.DEFERRED, _refused_edit(facts, facts.refused_edit))
    held = [each for each in facts.holdings if _state(each) is values.EnforcementState.SHRINKING]
    if held:
        return _unknown(kind, Reason.DEFERRED, _still_held(held))
    shrinking = [each for each in facts.holdings if not each.confirmed and _frees(each)]
    if shrinking:
        return _true(kind, Reason.SHRINKING, f"{_where(shrinking)} lowers limits to {_targets(shrinking)}")
    growing = [each for each in facts.holdings if each.slice.wanted is not None or _grows(each)]
    if growing:
        return _true(kind, Reason.GROWING, f"slices on {_where(growing)} grow to {_targets(growing)}")
    return _false(kind, Reason.AT_TARGET, "every slice has the size it shall have")


def _refused_edit(facts: Facts, refusal: values.Refusal) -> str:
    kept = {f"{each.slice.requests} to {each.slice.limits}" for each in facts.holdings}
    return f"the edit waits and slices keep {wording.listed(kept)}: {refusal.message}"


def _still_held(held: list[Holding]) -> str:
    bytes_held = max(each.enforced.memory_bytes for each in held if each.enforced is not None)
    return (
        f"the application on {_where(held)} still holds {bytes_held / values.GIB:g} GiB;"
        f" the slice shrinks to {_targets(held)} as it frees memory"
    )


def _scaling_limited() -> Condition:
    message = "replicas are the workload's own; the claim names no scaling target that is acted on"
    return _false(ClaimCondition.SCALING_LIMITED, Reason.NOT_SCALED, message)


def _ready(facts: Facts, needed: Iterable[Condition], resizing: Condition) -> Condition:
    summary = _summary(facts, needed, resizing)
    if not facts.deleting:
        return summary
    message = f"{leaving(facts.pods)}; {summary.message}"
    return _false(ClaimCondition.READY, Reason.DELETING, message)


def _summary(facts: Facts, needed: Iterable[Condition], resizing: Condition) -> Condition:
    """The first condition that is in the way, else what the pods have."""
    kind = ClaimCondition.READY
    in_the_way = next((each for each in needed if each.status is not Status.TRUE), None)
    if in_the_way is not None:
        return _says(kind, in_the_way.status, in_the_way.reason, in_the_way.message)
    if resizing.reason is Reason.DEFERRED:
        return _true(kind, Reason.SLICES_READY, f"{_pods(facts)} served; {resizing.message}")
    bounds = f"between {facts.claim.requests} and {facts.claim.limits} per GPU"
    return _true(kind, Reason.SLICES_READY, f"{_pods(facts)} {bounds}")


def leaving(pods: tuple[known.Pod, ...]) -> str:
    """What a claim that is being deleted waits for."""
    if not pods:
        return "being deleted, waits for its slices to be released"
    return f"being deleted, waits for {wording.named([pod.ref.name for pod in pods], 'pod')} to end"


def _state(holding: Holding) -> values.EnforcementState | None:
    """What the node says of the slice as it is now, None where it has not spoken of that yet."""
    return holding.enforced.state if holding.enforced is not None and holding.confirmed else None


def _frees(holding: Holding) -> bool:
    return holding.slice.held_memory_bytes > holding.slice.allocated.memory_bytes


def _grows(holding: Holding) -> bool:
    enforced = holding.enforced
    if enforced is None or holding.confirmed:
        return False
    in_force = values.Amounts(memory_bytes=enforced.memory_bytes, compute_percent=enforced.compute_percent)
    return not in_force.covers(holding.slice.allocated)


def _targets(holdings: list[Holding]) -> str:
    return wording.listed({str(each.slice.wanted or each.slice.allocated) for each in holdings})


def _where(holdings: list[Holding]) -> str:
    return wording.named(tuple({each.node for each in holdings}), "node")


def _pods(facts: Facts) -> str:
    return wording.counted(sum(len(each.slice.pods) for each in facts.holdings), "pod")


def _true(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    return _says(kind, Status.TRUE, reason, message)


def _false(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    return _says(kind, Status.FALSE, reason, message)


def _unknown(kind: ClaimCondition, reason: Reason, message: str) -> Condition:
    return _says(kind, Status.UNKNOWN, reason, message)


def _says(kind: ClaimCondition, status: Status, reason: Reason, message: str) -> Condition:
    return Condition(type=kind, status=status, reason=reason, message=message)


_NO_DEFAULT_POOL = (
    "the claim names no pool and no pool is the default;"
    f" create the claim with spec.poolName, or annotate a pool with {names.DEFAULT_POOL_ANNOTATION}=true"
)
