"""Answers for programs: JSON and YAML whose keys do not change, with integers in base units."""

from typing import Any

import click
import orjson

from vgpu_cli.options import Format


def structured(form: str) -> bool:
    """Whether an answer for programs was asked for."""
    return form in {Format.JSON, Format.YAML}


def emit(answer: Any, form: str) -> None:  # noqa: ANN401 -- any JSON value
    """Writes the answer to standard output."""
    if form == Format.JSON:
        click.echo(orjson.dumps(answer, option=orjson.OPT_INDENT_2).decode())
        return
    import yaml

    click.echo(yaml.safe_dump(answer, sort_keys=False, allow_unicode=True), nl=False)
