"""``kubectl vgpu`` as a value: the group of its commands, each imported only when it is asked for."""

import importlib

import click

from vgpu_cli import options

COMMANDS = {
    "status": "status",
    "tree": "tree",
    "explain": "explain",
    "top": "top",
    "resize": "resize",
    "cordon": "cordon",
    "uncordon": "cordon",
    "check": "check",
    "capabilities": "capabilities",
    "simulate": "simulate",
    "report": "report",
    "version": "version",
    "completion": "completion",
}
"""Each command and the file under ``commands`` that it lives in, in the order of the help."""


class _Lazy(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"vgpu_cli.commands.{COMMANDS[cmd_name]}")
        found: click.Command = getattr(module, cmd_name)
        return found


@click.group(
    cls=_Lazy,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 yes; 1 a fault, a refusal or nothing found; 2 wrong usage; 3 no cluster reached.",
)
@options.everywhere
@options.access
def app(access: options.Access) -> None:
    """See, explain and steer the GPU slices of a cluster."""
    click.get_current_context().obj = access
