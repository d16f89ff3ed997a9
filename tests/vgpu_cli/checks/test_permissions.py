from pathlib import Path
from typing import Any

import yaml

from vgpu_cli.checks import permissions

FILES = Path(__file__).parents[3] / "helm" / "vgpu" / "files"


def _granted(account: str) -> list[dict[str, Any]]:
    text = (FILES / f"rbac-{account.removeprefix('vgpu-')}.yaml").read_text()
    documents = [
        each for each in yaml.safe_load_all(text) if each and each["kind"] in {"ClusterRole", "Role"}
    ]
    return [rule for each in documents for rule in each["rules"]]


def _covers(rule: dict[str, Any], right: permissions.Right) -> bool:
    kind = f"{right.resource}/{right.part}" if right.part else right.resource
    kinds = {kind, f"*/{right.part}"} if right.part else {kind}
    of_group = {right.group, "*"} & {*rule["apiGroups"]}
    return bool(of_group) and bool(kinds & {*rule["resources"]}) and right.verb in rule["verbs"]


def test_every_right_that_is_checked_is_one_that_the_chart_grants() -> None:
    for right in permissions.needed():
        assert any(_covers(rule, right) for rule in _granted(right.account)), str(right)
