"""What the pages tell people to type and to apply is what the platform takes: commands, manifests, values."""

import pathlib
import re
import shlex
from collections.abc import Iterator

import click
import pytest
import yaml

from vgpu.api import claim, names, pool
from vgpu_cli import app

ROOT = pathlib.Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
BLOCK = re.compile(r"^```(?P<kind>\w*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^(?:\$ )?kubectl vgpu (?P<words>[^|#\n]+)", re.MULTILINE)
VALUE = re.compile(r"--set(?:-file)?[ =]([A-Za-z.]+(?:=[^ ,\n`)]*)?(?:,[A-Za-z.]+=[^ ,\n`)]*)*)")
WHOLE = {names.CLAIM_KIND: claim.to_values, names.POOL_KIND: pool.to_values}

by_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def blocks(page: pathlib.Path, *kinds: str) -> Iterator[str]:
    """The fenced blocks of these kinds."""
    return (text for kind, text in BLOCK.findall(page.read_text()) if kind in kinds)


@by_page
def test_every_command_of_kubectl_vgpu_is_understood(page: pathlib.Path) -> None:
    for block in blocks(page, "", "bash", "console"):
        for words in COMMAND.findall(block):
            name, *arguments = shlex.split(words)
            command = app.app.get_command(click.Context(app.app), name)

            assert command is not None, f"kubectl vgpu {words}"
            command.make_parser(click.Context(command)).parse_args(arguments)  # UsageError names the option


@by_page
def test_every_manifest_of_ours_is_accepted(page: pathlib.Path) -> None:
    for block in blocks(page, "yaml"):
        for each in yaml.safe_load_all(block):
            if isinstance(each, dict) and each.get("kind") in WHOLE:
                about = {"namespace": "team-a", "uid": "u-1", **each["metadata"]}
                WHOLE[each["kind"]]({**each, "metadata": about})


@by_page
def test_every_value_of_the_chart_exists(page: pathlib.Path) -> None:
    values = yaml.safe_load((ROOT / "helm" / "vgpu" / "values.yaml").read_text())

    for setting in (part for found in VALUE.findall(page.read_text()) for part in found.split(",")):
        inside = values
        for key in setting.partition("=")[0].split("."):
            assert key in inside, f"{setting} in {page.name}"
            inside = inside[key]
