"""What the loop counts of its own work, and what others may scale by; scraped at /metrics.

Facts about slices in use are the node agents' to export.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from vgpu_kube.objects import Key
from vgpu_operator.elasticity.judgement import Judgement
from vgpu_operator.elasticity.series import Trouble
from vgpu_operator.elasticity.signals import Signals

CLAIM_LABELS = ["namespace", "claim"]


class Counts:
    """The loop's metrics; ``resizes`` is shared with those who carry edits of claims."""

    def __init__(self, registry: CollectorRegistry, resizes: Counter) -> None:
        self.resizes = resizes
        self.looks = Histogram(
            "vgpu_loop_duration_seconds",
            "Duration of one look at all claims, or at those under pressure.",
            registry=registry,
            buckets=(0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
        )
        self.decisions = Counter(
            "vgpu_decisions_total",
            "Decisions that changed something, by action and reason.",
            ["action", "reason"],
            registry=registry,
        )
        self.scalings = Counter(
            "vgpu_scalings_total",
            "Replicas asked for, by direction and result.",
            ["direction", "result"],
            registry=registry,
        )
        self._failed = Counter(
            "vgpu_loop_unanswered_total", "Queries that gave nothing to go by.", registry=registry
        )
        self._claims = {
            name: Gauge(f"vgpu_claim_{name}", text, CLAIM_LABELS, registry=registry)
            for name, text in (
                ("replicas_needed", "Replicas that the loop would have, bounds and places aside."),
                ("work_rate", "Work that a claim is sized for, in its own units a second."),
                ("work_cost_ratio", "Compute that one unit of work a second takes, as learned."),
            )
        }

    def show_signals(self, signals: Signals) -> None:
        """What was asked and not answered."""
        failed = sum(isinstance(answer, Trouble) for answer in signals.answers.values())
        self._failed.inc(failed + (signals.trouble is not None))

    def show_claim(self, claim: Key, judged: Judgement) -> None:
        """What a look at a claim found; nothing where nothing was decided."""
        if judged.trouble is not None:
            return
        inputs, cost = judged.decided.inputs, judged.remembered.cost.percent_per_unit
        shown = {
            "replicas_needed": inputs.get("neededReplicas"),
            "work_rate": inputs.get("expectedRate") if judged.remembered.by_work else None,
            "work_cost_ratio": None if cost is None else cost / 100,
        }
        for name, value in shown.items():
            if value is not None:
                self._claims[name].labels(*claim).set(value)

    def forget_claim(self, claim: Key) -> None:
        """A claim is gone or no longer looked at, and its series with it."""
        for gauge in self._claims.values():
            gauge.remove_by_labels({"namespace": claim[0] or "", "claim": claim[1]})
