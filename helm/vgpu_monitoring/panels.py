"""Grafana's JSON as a few nouns: a page of rows, a row of panels, a panel of queries."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

WIDTH, HEIGHT = 24, 8  # Grafana's grid: columns of a row, lines of a panel

SOURCE = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression and how its series are named."""

    expression: str
    legend: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture; ``unit`` in Grafana's words (bytes, percentunit, s, ops, short)."""

    title: str
    queries: Sequence[Query]
    unit: str = "short"
    kind: str = "timeseries"
    help: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Variable:
    """A choice at the top of the page: the values of a label of a metric."""

    name: str
    metric: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A dashboard: rows of panels, side by side."""

    uid: str
    title: str
    rows: Sequence[tuple[str, Sequence[Panel]]]
    variables: Sequence[Variable] = ()


def render(page: Page) -> dict[str, Any]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": page.uid,
        "title": page.title,
        "tags": ["vgpu"],
        "schemaVersion": 39,
        "editable": True,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(each) for each in page.variables)]},
        "panels": _panels(page),
    }


def _source() -> dict[str, Any]:
    return {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"}


def _variable(variable: Variable) -> dict[str, Any]:
    query = f"label_values({variable.metric}, {variable.name})"
    return {
        "name": variable.name,
        "type": "query",
        "datasource": SOURCE,
        "query": {"query": query, "refId": variable.name},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
    }


def _panels(page: Page) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    y = 0
    for title, panels in page.rows:
        found.append(_row(title, y=y, number=len(found) + 1))
        width = WIDTH // len(panels)
        for column, panel in enumerate(panels):
            place = {"x": column * width, "y": y + 1, "w": width, "h": HEIGHT}
            found.append(_panel(panel, place, number=len(found) + 1))
        y += 1 + HEIGHT
    return found


def _row(title: str, *, y: int, number: int) -> dict[str, Any]:
    return {"id": number, "type": "row", "title": title, "gridPos": {"x": 0, "y": y, "w": WIDTH, "h": 1}}


def _panel(panel: Panel, place: dict[str, int], *, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.help,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + index), "datasource": SOURCE, "expr": each.expression,
             "legendFormat": each.legend}
            for index, each in enumerate(panel.queries)
        ],
    }  # fmt: skip
