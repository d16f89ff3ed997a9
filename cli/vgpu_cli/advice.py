"""What helps when a condition says no: one sentence for each reason that somebody can do something about.

Reasons and their meaning are those of ``vgpu.api.conditions``; a test holds this table to it.
"""

from collections.abc import Mapping

ADVICE: Mapping[str, str] = {
    "PendingEvaluation": "wait a moment; if it stays so, the operator does not run: kubectl vgpu check",
    "PoolNotFound": "create the pool, or a claim that names one of: kubectl get vgpupools",
    "NoDefaultPool": "name a pool in spec.poolName, or annotate one with vgpu.dev/is-default-pool=true",
    "WaitingForQuota": "end pods of the namespace, lower a floor (kubectl vgpu resize), or ask for quota",
    "ExceedsQuota": "ask for less, or ask the owner of the pool for a larger quota; no release can help",
    "ExceedsDevice": "ask for less on each GPU, or for more GPUs with less on each",
    "NoFit": "wait for a release, ask for less, or add nodes; `kubectl vgpu tree` shows where room is left",
    "Reclaimed": "its place went to a pod of higher priority; it starts again as soon as there is room",
    "WaitingForPods": "give the pods of the workload the label vgpu.dev/claim with the claim's name",
    "ShimMissing": "look at vgpu-agent on that node, and at its image: kubectl vgpu check",
    "LimitsRefused": "look at vgpu-agent on that node; the message says what it could not apply",
    "WaitingForAgent": "look at vgpu-agent on that node: it runs and its CSI driver is registered?",
    "Deferred": "the message says what the resize waits for: room, quota, or memory still in use",
    "AtMaxReplicas": "raise spec.scaling.maxReplicas, or the ceiling of each slice",
    "MetricsUnavailable": "check Prometheus and the queries of the claim: kubectl vgpu check",
    "Deleting": "end the pods that the message names",
    "AgentsSilent": "look at vgpu-agent on these nodes: kubectl -n vgpu-system get pods -o wide",
    "NoNodes": "check the pool's nodeSelector against: kubectl get nodes --show-labels",
    "NoDevices": "check the pool's deviceSelector against: kubectl vgpu capabilities",
    "PoolsOverlap": "let each device belong to one pool: make the selectors disjoint",
}


def for_reason(reason: str) -> str | None:
    """What helps; None where nothing is wrong or nobody can do anything."""
    return ADVICE.get(reason)
