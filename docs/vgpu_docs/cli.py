"""The page of ``kubectl vgpu``: the help of every command, as it prints it."""

from collections.abc import Iterator

import click

from vgpu_cli import app

WIDTH = 100


def page() -> str:
    """The page, the group first, then its commands."""
    parts = [f"## {name}\n\n```text\n{text}\n```" for name, text in _helps(app.app, "kubectl vgpu", None)]
    return "# kubectl vgpu\n\n" + "\n\n".join(parts) + "\n"


def _helps(command: click.Command, name: str, parent: click.Context | None) -> Iterator[tuple[str, str]]:
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=WIDTH, max_content_width=WIDTH
    )
    yield context.command_path, command.get_help(context)
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            found = command.get_command(context, each)
            if found is not None and not found.hidden:
                yield from _helps(found, each, context)
