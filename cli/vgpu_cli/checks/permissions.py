"""The accounts of the platform may do what they must: each is put to the API server as a question.

The table holds what the processes cannot do without; a test holds it to the roles of the chart.
"""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

from vgpu_cli import words
from vgpu_cli.checks.finding import Finding, Probe, fault, skipped, sound
from vgpu_cli.checks.kinds import ACCESS_REVIEWS
from vgpu_cli.reading import SYSTEM
from vgpu_kube import errors

OURS = "vgpu.dev"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One verb of one account on one kind, or on a part of it; cluster-wide unless a namespace is named."""

    account: str
    verb: str
    group: str
    resource: str
    part: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        kind = f"{self.resource}/{self.part}" if self.part else self.resource
        return f"{self.verb} {kind}{f'.{self.group}' if self.group else ''}"


_NEEDS = {
    "vgpu-operator": (
        ("get list watch patch", OURS, "vgpupools"),
        ("get list watch patch", OURS, "vgpuclaims"),
        ("get list watch patch", OURS, "vgpunodes"),
        ("patch", OURS, "vgpupools/status"),
        ("patch", OURS, "vgpuclaims/status"),
        ("list watch patch", "", "pods"),
        ("create", "", "pods/eviction"),
        ("get patch", "apps", "deployments/scale"),
        ("list watch", "autoscaling", "horizontalpodautoscalers"),
        ("create patch", "events.k8s.io", "events"),
    ),
    "vgpu-extender": (
        ("get list watch", OURS, "vgpupools"),
        ("get list watch", OURS, "vgpuclaims"),
        ("get list watch patch", OURS, "vgpunodes"),
        ("get list watch patch", "", "pods"),
        ("create", "", "pods/binding"),
        ("patch", "", "pods/status"),
        ("create patch", "events.k8s.io", "events"),
        ("create", "coordination.k8s.io", "leases"),
    ),
    "vgpu-admission": (
        ("get list watch", OURS, "vgpupools"),
        ("get list watch", OURS, "vgpuclaims"),
        ("list watch", OURS, "vgpunodes"),
    ),
    "vgpu-agent": (
        ("get list watch create patch", OURS, "vgpunodes"),
        ("patch", OURS, "vgpunodes/status"),
        ("get list watch", OURS, "vgpupools"),
        ("get list watch", "", "nodes"),
        ("patch", "", "nodes/status"),
        ("create patch", "events.k8s.io", "events"),
    ),
}


def needed() -> Iterator[Right]:
    """Every right that must be there."""
    for account, lines in _NEEDS.items():
        for verbs, group, kind in lines:
            resource, _, part = kind.partition("/")
            namespace = SYSTEM if resource == "leases" else ""
            for verb in verbs.split():
                yield Right(
                    account=account, verb=verb, group=group, resource=resource, part=part, namespace=namespace
                )


async def look(probe: Probe) -> list[Finding]:
    """Whether a right is missing, by account."""
    rights = list(needed())
    try:
        granted = await asyncio.gather(*(_is_granted(probe, each) for each in rights))
    except errors.Forbidden:
        return [skipped("this identity may not ask what others may do (subjectaccessreviews)")]
    missing = [right for right, yes in zip(rights, granted, strict=True) if not yes]
    found = [
        fault(
            f"account {account} may not: {words.listed((str(each) for each in its), most=6)}",
            remedy=f"apply the chart's roles again: kubectl apply -f helm/vgpu/files/rbac-{account[5:]}.yaml",
        )
        for account in _NEEDS
        if (its := [each for each in missing if each.account == account])
    ]
    return found or [sound(f"the {words.counted(len(_NEEDS), 'account')} may do all that they must")]


async def _is_granted(probe: Probe, right: Right) -> bool:
    attributes = {
        "verb": right.verb,
        "group": right.group,
        "resource": right.resource,
        "subresource": right.part,
        "namespace": right.namespace,
    }
    user = f"system:serviceaccount:{SYSTEM}:{right.account}"
    body = {"metadata": {}, "spec": {"user": user, "resourceAttributes": attributes}}
    answer = await probe.session.cluster.create(ACCESS_REVIEWS, body)
    return bool(answer["status"]["allowed"])
