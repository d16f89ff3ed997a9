"""What a waiting claim is told: reasons by group of nodes, suggestions and progress, as status and in words.

A tenant reads the status of its claims, so pods of other namespaces are counted there and never named.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from vgpu import values
from vgpu.api import quantity
from vgpu.placement import choice
from vgpu.room import changes
from vgpu_operator.room.wishes import Finding, Wish

GROUPS = 16
SUGGESTIONS = 8
NAMED_PODS = 16
"""What the schema of status.waiting admits."""


def to_json(wish: Wish, finding: Finding) -> dict[str, Any]:
    """What stands in status.waiting."""
    shown: dict[str, Any] = {"podName": wish.request.pod.name, "reason": reason(wish)}
    if groups := list(_groups(wish)):
        shown["nodes"] = groups
    if finding.suggestions:
        shown["suggestions"] = [_suggestion(each, wish) for each in finding.suggestions[:SUGGESTIONS]]
    if finding.progress:
        shown["progress"] = finding.progress
    return shown


def reason(wish: Wish) -> str:
    """What is in the way, in one word."""
    if isinstance(wish.refused, choice.NoFit):
        return values.Reason.NO_FIT.value
    return wish.refused.reason.value


def hint(finding: Finding) -> str:
    """What a condition's message adds to the reasons; empty where nothing is known to help."""
    if finding.progress:
        return f"; {finding.progress}"
    return f"; what would help: {finding.suggestions[0]}" if finding.suggestions else ""


def note(finding: Finding) -> str:
    """All suggestions in a sentence each, for an Event."""
    return "it would fit after any one of these: " + "; ".join(str(each) for each in finding.suggestions)


def kinds(finding: Finding) -> frozenset[tuple[type[changes.Change], ...]]:
    """What is suggested, without the numbers that change with every release."""
    return frozenset(tuple(type(change) for change in each.changes) for each in finding.suggestions)


def _groups(wish: Wish) -> Iterator[dict[str, Any]]:
    if isinstance(wish.refused, choice.NoFit):
        for message, count in Counter(wish.refused.reasons.values()).most_common(GROUPS):
            yield {"count": count, "message": message[:256]}


def _suggestion(suggestion: changes.Suggestion, wish: Wish) -> dict[str, Any]:
    shown = [_change(change, wish) for change in suggestion.changes]
    return {"message": str(suggestion)[:1024], "changes": shown[:16]}


def _change(change: changes.Change, wish: Wish) -> dict[str, Any]:
    return {"type": type(change).__name__, **_details(change, wish)}


def _details(change: changes.Change, wish: Wish) -> dict[str, Any]:
    match change:
        case changes.MoreQuota(namespace=namespace, amount=amount):
            return {"namespace": namespace, **_amount(amount)}
        case changes.Uncordon(node=node, device_uuids=uuids):
            return {"nodeName": node, "deviceUUIDs": list(uuids)}
        case changes.ReturnShares(node=node, returns=returns, amount=amount):
            return {"nodeName": node, "sliceCount": len(returns), **_amount(amount)}
        case changes.MovePods(node=node, moves=moves, memory_bytes=memory_bytes):
            own = sorted(each.pod.name for each in moves if each.claim.namespace == wish.claim[0])
            shown = {"nodeName": node, "podCount": len(moves), "memory": quantity.format_bytes(memory_bytes)}
            return {**shown, "podNames": own[:NAMED_PODS]} if own else shown
        case _:
            return _ask(change)


def _ask(change: changes.LessMemory | changes.LessCompute | changes.FewerDevices) -> dict[str, Any]:
    match change:
        case changes.LessMemory(memory_bytes=memory_bytes):
            return {"memory": quantity.format_bytes(memory_bytes)}
        case changes.LessCompute(compute_percent=percent):
            return {"computePercent": percent}
        case changes.FewerDevices(device_count=count):
            return {"deviceCount": count}


def _amount(amount: values.Amounts) -> dict[str, Any]:
    return {
        "memory": quantity.format_bytes(amount.memory_bytes),
        "computePercent": amount.compute_percent,
    }
