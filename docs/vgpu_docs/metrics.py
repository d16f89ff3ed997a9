"""The page of metrics: what each process exports, in its own words."""

from itertools import groupby

from vgpu_monitoring import alerts, catalogue


def page() -> str:
    """Metrics by process, then the alerts made of them."""
    parts = [
        "# Metrics and alerts",
        "Base units; ratios are parts of one GPU. Histograms end in `_bucket`, `_sum` and `_count`.",
    ]
    for process, found in groupby(catalogue.metrics(), key=lambda each: each.process):
        rows = "\n".join(f"| `{each.name}` | {each.type} | {each.help} |" for each in found)
        parts.append(f"## {process}\n\n| metric | type | meaning |\n|---|---|---|\n{rows}")
    return "\n\n".join([*parts, _alerts()]) + "\n"


def _alerts() -> str:
    rows = "\n".join(
        f"| `{each.name}` | {each.severity} | {each.lasts} | `{each.expression.replace('|', chr(92) + '|')}` | {each.look} |"
        for each in alerts.ALERTS
    )
    return f"## Alerts\n\n| alert | severity | for | when | look first |\n|---|---|---|---|---|\n{rows}"
