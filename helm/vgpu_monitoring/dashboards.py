"""Three pages: the fleet for who owns it, a claim for who runs a service, the control plane for who is on call."""

from vgpu_monitoring.panels import Page, Panel, Query, Variable

POOL = 'pool=~"$pool"'
CLAIM = 'namespace=~"$namespace", claim=~"$claim"'
BY_CLAIM = "{{namespace}}/{{claim}}"
BY_SLICE = "{{pod}} {{device}}"


def _sum(metric: str, by: str, labels: str = POOL) -> str:
    return f"sum by ({by}) ({metric}{{{labels}}})"


def _rate(metric: str, by: str, labels: str = CLAIM) -> str:
    return f"sum by ({by}) (rate({metric}{{{labels}}}[1m]))"


def _quantile(part: float, metric: str, by: str = "") -> str:
    kept = f"le, {by}" if by else "le"
    return f"histogram_quantile({part}, sum by ({kept}) (rate({metric}_bucket[5m])))"


FLEET = Page(
    uid="vgpu-fleet",
    title="Elastic vGPU / Fleet",
    variables=(Variable(name="pool", metric="vgpu_pool_memory_bytes"),),
    rows=(
        ("Pools", (
            Panel(title="Memory given away", unit="percentunit", help="Of what the pool may promise.", queries=(
                Query(expression=f'sum by (pool) (vgpu_pool_memory_bytes{{state="allocated", {POOL}}})'
                      f' / sum by (pool) (vgpu_pool_memory_bytes{{state="capacity", {POOL}}})',
                      legend="{{pool}}"),)),
            Panel(title="Claims", help="Bound, and waiting for a place.", queries=(
                Query(expression=_sum("vgpu_pool_claims", "pool, state"), legend="{{pool}} {{state}}"),)),
            Panel(title="Nodes", help="Silent: their agents have not reported for minutes.", queries=(
                Query(expression=_sum("vgpu_pool_nodes", "pool, state"), legend="{{pool}} {{state}}"),)),
        )),
        ("Given, and used", (
            Panel(title="Memory", unit="bytes", queries=(
                Query(expression=_sum("vgpu_claim_memory_requested_bytes", "pool"), legend="{{pool}} promised"),
                Query(expression=_sum("vgpu_claim_memory_allocated_bytes", "pool"), legend="{{pool}} allocated"),
                Query(expression=_sum("vgpu_claim_memory_used_bytes", "pool"), legend="{{pool}} used"))),
            Panel(title="Compute", help="In GPUs.", queries=(
                Query(expression=_sum("vgpu_claim_compute_requested_ratio", "pool"), legend="{{pool}} promised"),
                Query(expression=_sum("vgpu_claim_compute_allocated_ratio", "pool"), legend="{{pool}} allocated"),
                Query(expression=_sum("vgpu_claim_compute_used_ratio", "pool"), legend="{{pool}} used"))),
            Panel(title="Idle compute at work", help="In GPUs: lent to slices that were throttled.", queries=(
                Query(expression=_sum("vgpu_claim_compute_borrowed_ratio", "pool"), legend="{{pool}} borrowed"),
                Query(expression=_sum("vgpu_claim_compute_lent_ratio", "pool"), legend="{{pool}} free"))),
        )),
        ("Tenants", (
            Panel(title="Quota in use", unit="percentunit", help="Above 100 % is borrowed.", queries=(
                Query(expression=f"vgpu_quota_used_bytes{{{POOL}}} / vgpu_quota_nominal_bytes{{{POOL}}}",
                      legend="{{pool}} {{namespace}}"),)),
            Panel(title="Largest claims, memory used", unit="bytes", queries=(
                Query(expression=f"topk(10, {_sum('vgpu_claim_memory_used_bytes', 'namespace, claim')})",
                      legend=BY_CLAIM),)),
            Panel(title="GPUs that take no new slices", queries=(
                Query(expression="vgpu_device_healthy == 0", legend="{{node}} {{device}}"),)),
        )),
    ),
)  # fmt: skip

SERVICE = Page(
    uid="vgpu-claim",
    title="Elastic vGPU / Claim",
    variables=(
        Variable(name="namespace", metric="vgpu_claim_memory_allocated_bytes"),
        Variable(name="claim", metric="vgpu_claim_memory_allocated_bytes"),
    ),
    rows=(
        ("Slices", (
            Panel(title="Compute per slice", unit="percentunit", help="Of one GPU.", queries=(
                Query(expression=f"vgpu_claim_compute_allocated_ratio{{{CLAIM}}}", legend=f"{BY_SLICE} allocated"),
                Query(expression=f"vgpu_claim_compute_used_ratio{{{CLAIM}}}", legend=f"{BY_SLICE} used"),
                Query(expression=f"vgpu_claim_compute_limit_ratio{{{CLAIM}}}", legend=f"{BY_SLICE} ceiling"))),
            Panel(title="Memory per slice", unit="bytes", queries=(
                Query(expression=f"vgpu_claim_memory_allocated_bytes{{{CLAIM}}}", legend=f"{BY_SLICE} allocated"),
                Query(expression=f"vgpu_claim_memory_used_bytes{{{CLAIM}}}", legend=f"{BY_SLICE} used"),
                Query(expression=f"vgpu_claim_memory_limit_bytes{{{CLAIM}}}", legend=f"{BY_SLICE} ceiling"))),
        )),
        ("Pressure", (
            Panel(title="Held back by the compute limit", unit="percentunit", help="Part of the time.", queries=(
                Query(expression=_rate("vgpu_claim_throttled_seconds_total", "pod, device"), legend=BY_SLICE),)),
            Panel(title="Held back by work in flight", unit="percentunit", help="Part of the time.", queries=(
                Query(expression=_rate("vgpu_claim_queued_seconds_total", "pod, device"), legend=BY_SLICE),)),
            Panel(title="Memory refused", unit="ops", help="Allocations above the limit.", queries=(
                Query(expression=_rate("vgpu_claim_memory_denials_total", "pod, device"), legend=BY_SLICE),)),
        )),
        ("Load, and what it takes", (
            Panel(title="Work sized for", help="In the claim's own units a second.", queries=(
                Query(expression=f"vgpu_claim_work_rate{{{CLAIM}}}", legend=BY_CLAIM),)),
            Panel(title="Replicas needed", help="Bounds and places aside.", queries=(
                Query(expression=f"vgpu_claim_replicas_needed{{{CLAIM}}}", legend=BY_CLAIM),)),
            Panel(title="Compute of a unit of work", help="As learned, in GPUs.", queries=(
                Query(expression=f"vgpu_claim_work_cost_ratio{{{CLAIM}}}", legend=BY_CLAIM),)),
        )),
        ("GPU time", (
            Panel(title="GPU time used", help="In GPUs.", queries=(
                Query(expression=_rate("vgpu_claim_gpu_seconds_total", "namespace, claim"), legend=BY_CLAIM),)),
            Panel(title="Borrowed from idle neighbours", unit="percentunit", queries=(
                Query(expression=f"vgpu_claim_compute_borrowed_ratio{{{CLAIM}}}", legend=BY_SLICE),)),
        )),
    ),
)  # fmt: skip

CONTROL_PLANE = Page(
    uid="vgpu-control-plane",
    title="Elastic vGPU / Control plane",
    rows=(
        ("Placing", (
            Panel(title="Time to answer kube-scheduler (p99)", unit="s", queries=(
                Query(expression=_quantile(0.99, "vgpu_placement_duration_seconds", "verb"), legend="{{verb}}"),)),
            Panel(title="Placed and bound", unit="ops", queries=(
                Query(expression="sum by (verb) (rate(vgpu_placements_total[1m]))", legend="{{verb}}"),)),
            Panel(title="Refused", unit="ops", queries=(
                Query(expression="sum by (reason) (rate(vgpu_placement_rejections_total[1m]))",
                      legend="{{reason}}"),)),
        )),
        ("Admission", (
            Panel(title="Time of a review (p99)", unit="s", queries=(
                Query(expression=_quantile(0.99, "vgpu_admission_duration_seconds", "webhook"),
                      legend="{{webhook}}"),)),
            Panel(title="Reviews", unit="ops", queries=(
                Query(expression="sum by (webhook, result) (rate(vgpu_admission_reviews_total[1m]))",
                      legend="{{webhook}} {{result}}"),)),
            Panel(title="Certificate ends in", unit="s", kind="stat", queries=(
                Query(expression="vgpu_admission_certificate_expiry_timestamp_seconds - time()",
                      legend="{{instance}}"),)),
        )),
        ("The elastic loop", (
            Panel(title="Decisions", unit="ops", queries=(
                Query(expression="sum by (action, reason) (rate(vgpu_decisions_total[5m]))",
                      legend="{{action}} {{reason}}"),)),
            Panel(title="Replicas asked for", unit="ops", queries=(
                Query(expression="sum by (direction, result) (rate(vgpu_scalings_total[5m]))",
                      legend="{{direction}} {{result}}"),)),
            Panel(title="Time of a look (p99)", unit="s", queries=(
                Query(expression=_quantile(0.99, "vgpu_loop_duration_seconds"), legend="all claims"),)),
            Panel(title="Unanswered queries", unit="ops", queries=(
                Query(expression="rate(vgpu_loop_unanswered_total[5m])", legend="{{instance}}"),)),
        )),
        ("Making room", (
            Panel(title="Claims that wait", queries=(
                Query(expression="sum by (pool, reason) (vgpu_claims_waiting)", legend="{{pool}} {{reason}}"),)),
            Panel(title="Growth taken back", unit="ops", queries=(
                Query(expression="sum by (pool, result) (rate(vgpu_reclaims_total[5m]))",
                      legend="{{pool}} {{result}}"),)),
            Panel(title="Moves", unit="ops", queries=(
                Query(expression="sum by (pool, result) (rate(vgpu_moves_total[5m]))",
                      legend="{{pool}} {{result}}"),)),
        )),
        ("Operator and agents", (
            Panel(title="Time of a reconciliation (p99)", unit="s", queries=(
                Query(expression=_quantile(0.99, "vgpu_reconcile_duration_seconds", "kind"),
                      legend="{{kind}}"),)),
            Panel(title="Resizes", unit="ops", queries=(
                Query(expression="sum by (direction, result) (rate(vgpu_resizes_total[5m]))",
                      legend="{{direction}} {{result}}"),)),
            Panel(title="Ledger to limits page (p99)", unit="s", queries=(
                Query(expression=_quantile(0.99, "vgpu_agent_apply_duration_seconds"), legend="all nodes"),)),
            Panel(title="Escaped the shim", queries=(
                Query(expression="sum by (device) (increase(vgpu_agent_escapes_total[1h]))",
                      legend="{{device}}"),)),
        )),
    ),
)  # fmt: skip

PAGES = (FLEET, SERVICE, CONTROL_PLANE)
