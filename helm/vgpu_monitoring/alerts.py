"""The rules for Prometheus. Each says since when it waits, what is wrong, and what to look at first."""

from dataclasses import dataclass
from typing import Any

RUNBOOK = "docs/howto/troubleshoot.md"

PAGE, TICKET, NOTE = "critical", "warning", "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One rule. ``lasts`` in Prometheus' words; ``look`` is the first thing to do."""

    name: str
    expression: str
    lasts: str
    severity: str
    summary: str
    look: str


ALERTS = (
    Alert(
        name="VGPUGuaranteeBroken",
        expression="vgpu_claim_memory_allocated_bytes < vgpu_claim_memory_requested_bytes"
        " or vgpu_claim_compute_allocated_ratio < vgpu_claim_compute_requested_ratio",
        lasts="30s",
        severity=PAGE,
        summary="Slice of {{ $labels.namespace }}/{{ $labels.claim }} on {{ $labels.node }} is below its floor",
        look="A floor is promised and never taken back: stop the operator, keep its log, and compare"
        " spec.slices of the VGPUNode with the claim.",
    ),
    Alert(
        name="VGPUAgentDown",
        expression='up{job="vgpu-agent"} == 0',
        lasts="5m",
        severity=TICKET,
        summary="The agent on {{ $labels.instance }} does not answer",
        look="Running pods keep their limits; new pods on the node wait. Look at the agent's pod and its log.",
    ),
    Alert(
        name="VGPUInventoryStale",
        expression='vgpu_pool_nodes{state="silent"} > 0',
        lasts="5m",
        severity=TICKET,
        summary="{{ $value }} nodes of pool {{ $labels.pool }} have not reported for minutes",
        look="kubectl describe vgpupool names them; no new pod is placed there until their agents report.",
    ),
    Alert(
        name="VGPUAdmissionFailing",
        expression='sum by (webhook) (rate(vgpu_admission_reviews_total{result=~"malformed|failed"}[5m])) > 0',
        lasts="5m",
        severity=PAGE,
        summary="Admission webhook {{ $labels.webhook }} fails: labelled pods cannot be created",
        look="Look at the log of vgpu-admission and at what its /readyz says.",
    ),
    Alert(
        name="VGPUExtenderSlow",
        expression="histogram_quantile(0.99, sum by (le) "
        '(rate(vgpu_placement_duration_seconds_bucket{verb="filter"}[5m]))) > 0.5',
        lasts="10m",
        severity=TICKET,
        summary="Placing takes {{ $value | humanizeDuration }} (p99)",
        look="kube-scheduler gives up after 5 s. Look at the CPU of vgpu-extender and of the API server.",
    ),
    Alert(
        name="VGPUExtenderAbsent",
        expression="absent(vgpu_extender_active == 1)",
        lasts="2m",
        severity=PAGE,
        summary="No vgpu-extender is active: nothing is placed, bound or grown",
        look="Look at the pods of vgpu-scheduler and at the Lease vgpu-extender.",
    ),
    Alert(
        name="VGPUClaimPending",
        expression='vgpu_pool_claims{state="pending"} > 0',
        lasts="15m",
        severity=TICKET,
        summary="{{ $value }} claims of pool {{ $labels.pool }} wait for a place",
        look="kubectl vgpu explain claim NAME says what would let it in.",
    ),
    Alert(
        name="VGPUPoolExhausted",
        expression='vgpu_pool_memory_bytes{state="allocated"} / ignoring (state)'
        ' vgpu_pool_memory_bytes{state="capacity"} > 0.95',
        lasts="30m",
        severity=TICKET,
        summary="Pool {{ $labels.pool }} has given away {{ $value | humanizePercentage }} of its memory",
        look="kubectl vgpu tree shows who holds it, kubectl vgpu top what of it is used.",
    ),
    Alert(
        name="VGPUMemoryDenied",
        expression="rate(vgpu_claim_memory_denials_total[5m]) > 0",
        lasts="5m",
        severity=TICKET,
        summary="{{ $labels.namespace }}/{{ $labels.claim }} is refused GPU memory at its limit",
        look="Raise resources.limits.memory of the claim, or let elasticity grow it (ScalingLimited says why not).",
    ),
    Alert(
        name="VGPUResizeThrashing",
        expression="changes(vgpu_claim_compute_allocated_ratio[30m]) > 20",
        lasts="15m",
        severity=TICKET,
        summary="{{ $labels.namespace }}/{{ $labels.claim }} was resized {{ $value }} times in half an hour",
        look="Compare the claim's workload query and objectives with its load; contradicting ones chase each other.",
    ),
    Alert(
        name="VGPULoopBlind",
        expression="rate(vgpu_loop_unanswered_total[5m]) > 0.05",
        lasts="10m",
        severity=TICKET,
        summary="The elastic loop gets no usable answers from Prometheus",
        look="Everything is held as it is meanwhile. Claims with MetricsUnavailable name the query and what came back.",
    ),
    Alert(
        name="VGPUShimMissing",
        expression="increase(vgpu_agent_escapes_total[15m]) > 0",
        lasts="0s",
        severity=TICKET,
        summary="A process on {{ $labels.device }} holds GPU memory that no slice accounts for",
        look="The Event GPUMemoryUnaccounted names the pod: a static binary, or a shim that was removed from it.",
    ),
    Alert(
        name="VGPUShareIdle",
        expression="max_over_time(vgpu_claim_compute_used_ratio[6h])"
        " < 0.05 * vgpu_claim_compute_requested_ratio",
        lasts="6h",
        severity=NOTE,
        summary="{{ $labels.namespace }}/{{ $labels.claim }} has used almost nothing of its floor for hours",
        look="A smaller floor, or minReplicas: 0 with an idle time, leaves it to others.",
    ),
    Alert(
        name="VGPUCertificateExpiring",
        expression="vgpu_admission_certificate_expiry_timestamp_seconds - time() < 14 * 86400",
        lasts="1h",
        severity=TICKET,
        summary="The webhook's certificate ends in {{ $value | humanizeDuration }}",
        look="helm upgrade renews one made by the hook; with cert-manager look at its Certificate.",
    ),
)  # fmt: skip


def rules() -> dict[str, Any]:
    """The rule file, as Prometheus and PrometheusRule have it."""
    return {"groups": [{"name": "vgpu", "rules": [_rule(each) for each in ALERTS]}]}


def _rule(alert: Alert) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expression,
        "for": alert.lasts,
        "labels": {"severity": alert.severity},
        "annotations": {
            "summary": alert.summary,
            "description": alert.look,
            "runbook_url": f"{RUNBOOK}#{alert.name.lower()}",
        },
    }
