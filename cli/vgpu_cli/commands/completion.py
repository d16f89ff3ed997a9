"""``completion``: words for the shell, for the command itself and for ``kubectl vgpu``.

kubectl asks an executable ``kubectl_complete-vgpu`` for the words after ``kubectl vgpu``.
"""

import sys

import click
from click.shell_completion import BashComplete, FishComplete, ShellComplete, ZshComplete

from vgpu_cli import app

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
VARIABLE = "_KUBECTL_VGPU_COMPLETE"
NO_FILES = ":4"
"""How kubectl is told that words are all there is."""


def words(arguments: list[str]) -> list[str]:
    """The words that may stand in the place of the last argument."""
    complete = ShellComplete(app.app, {}, "kubectl-vgpu", VARIABLE)
    *before, incomplete = arguments or [""]
    return [each.value for each in complete.get_completions(before, incomplete) if each.type == "plain"]


def for_kubectl() -> None:
    """The entry point ``kubectl_complete-vgpu``."""
    for word in words(sys.argv[1:]):
        click.echo(word)
    click.echo(NO_FILES)


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
def completion(shell: str) -> None:
    """Write a script that completes kubectl-vgpu; `kubectl vgpu` completes by itself.

    For example: source <(kubectl vgpu completion bash)
    """
    click.echo(SHELLS[shell](app.app, {}, "kubectl-vgpu", VARIABLE).source())
