"""What dashboards and alerts name exists, what is written is current, every alert fires when it should."""

import json
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

from vgpu_monitoring import __main__ as generator
from vgpu_monitoring import alerts, catalogue, dashboards, panels

CASES = pathlib.Path(__file__).with_name("alerts_test.yaml")
NAME = re.compile(r"\bvgpu_[a-z_]+\b")

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus (make realnode on Debian)"
)


def named(text: str) -> set[str]:
    return set(NAME.findall(text))


@pytest.mark.parametrize("page", dashboards.PAGES, ids=lambda page: page.uid)
def test_every_metric_on_a_dashboard_is_exported(page: panels.Page) -> None:
    queries = [query.expression for _, row in page.rows for panel in row for query in panel.queries]

    assert queries
    assert set().union(*map(named, queries)) <= catalogue.queried()
    assert {each.metric for each in page.variables} <= catalogue.queried()


@pytest.mark.parametrize("alert", alerts.ALERTS, ids=lambda alert: alert.name)
def test_every_metric_of_an_alert_is_exported(alert: alerts.Alert) -> None:
    assert named(alert.expression) <= catalogue.queried()


def test_what_stands_in_the_chart_is_what_the_code_writes() -> None:
    assert generator.stale() == []


def test_a_dashboard_has_every_panel_once_and_none_over_another() -> None:
    for page in dashboards.PAGES:
        rendered = panels.render(page)
        places = [tuple(each["gridPos"][axis] for axis in "xy") for each in rendered["panels"]]

        assert len({each["id"] for each in rendered["panels"]}) == len(rendered["panels"])
        assert len(set(places)) == len(places)
        assert json.loads(json.dumps(rendered)) == rendered


def test_every_alert_says_what_to_look_at() -> None:
    for alert in alerts.ALERTS:
        assert alert.look.endswith(".")
        assert alert.summary
    assert len({alert.name for alert in alerts.ALERTS}) == len(alerts.ALERTS)


def test_every_alert_has_a_case() -> None:
    cases = yaml.safe_load(CASES.read_text())

    tested = {each["alertname"] for case in cases["tests"] for each in case["alert_rule_test"]}

    assert tested == {alert.name for alert in alerts.ALERTS}


@needs_promtool
def test_promtool_accepts_the_rules() -> None:
    assert PROMTOOL is not None
    rules = generator.CHART / "alerts" / "vgpu.yaml"

    subprocess.run([PROMTOOL, "check", "rules", str(rules)], check=True, timeout=60, capture_output=True)


@needs_promtool
def test_every_alert_fires_when_it_should(tmp_path: pathlib.Path) -> None:
    assert PROMTOOL is not None
    rules = alerts.rules()
    for rule in rules["groups"][0]["rules"]:
        del rule["annotations"]  # promtool compares their text too, values included
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    shutil.copy(CASES, tmp_path / "cases.yaml")

    done = subprocess.run(
        [PROMTOOL, "test", "rules", str(tmp_path / "cases.yaml")], capture_output=True, text=True, timeout=60
    )

    assert done.returncode == 0, done.stdout + done.stderr
