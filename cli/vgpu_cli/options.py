"""The options every command shares, named as kubectl names them; accepted before and after the command."""

import asyncio
import functools
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, TypeVar

import click

from vgpu.api import InvalidObject
from vgpu_cli import faults
from vgpu_cli.cluster import Session
from vgpu_kube import errors

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])
Connect = Callable[[str | None, str | None], AbstractContextManager[Session]]


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    WIDE = "wide"
    JSON = "json"
    YAML = "yaml"


@contextmanager
def _by_door(kubeconfig: str | None, context: str | None) -> Iterator[Session]:
    from vgpu_cli import door

    with door.connect(kubeconfig, context) as session:
        yield session


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """Which cluster and namespace are meant; ``connect`` opens the way there."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    everywhere: bool = False
    connect: Connect = _by_door

    def asked(self, question: Callable[[Session], Awaitable[T]]) -> T:
        """The answer of an asynchronous question; what the cluster refuses becomes a Fault."""
        try:
            with self.connect(self.kubeconfig, self.context) as session:
                named = replace_namespace(session, self.namespace)
                return asyncio.run(_awaited(question(named)))
        except errors.KubeError as error:
            raise faults.of(error) from error
        except InvalidObject as error:
            raise faults.Fault(str(error)) from error

    def scope(self, session: Session) -> str | None:
        """The namespace to list; None for all."""
        return None if self.everywhere else session.namespace


def replace_namespace(session: Session, namespace: str | None) -> Session:
    """The session with the namespace that was named, if one was."""
    return session if namespace is None else session._replace(namespace=namespace)


async def _awaited(answer: Awaitable[T]) -> T:
    return await answer


def access(command: Command) -> Command:
    """Adds the options that say which cluster; the command receives them as ``access``."""

    @functools.wraps(command)
    def taking(
        *args: Any,  # noqa: ANN401 -- the command's own parameters
        kubeconfig: str | None,
        context: str | None,
        namespace: str | None,
        **options: Any,  # noqa: ANN401 -- the command's own parameters
    ) -> Any:  # noqa: ANN401 -- the command's own answer
        outer = click.get_current_context().find_object(Access) or Access()
        named = {"kubeconfig": kubeconfig, "context": context, "namespace": namespace}
        given: dict[str, Any] = {name: value for name, value in named.items() if value is not None}
        if options.pop("everywhere", False):
            given["everywhere"] = True
        return command(*args, access=replace(outer, **given), **options)

    for option in reversed(_ACCESS):
        taking = option(taking)
    return taking  # type: ignore[return-value]  # the same command, with parameters already filled in


def everywhere(command: Command) -> Command:
    """Adds ``-A``."""
    return click.option(
        "-A", "--all-namespaces", "everywhere", is_flag=True, help="All namespaces instead of one."
    )(command)


def output(command: Command) -> Command:
    """Adds ``-o``; the command receives it as ``form``."""
    choice = click.Choice([each.value for each in Format])
    return click.option(
        "-o",
        "--output",
        "form",
        type=choice,
        default=Format.TABLE.value,
        show_default=True,
        help="How to write.",
    )(command)


_ACCESS = (
    click.option("-n", "--namespace", metavar="NAME", help="Namespace; without it that of the context."),
    click.option("--context", metavar="NAME", help="Context of the kubeconfig."),
    click.option(
        "--kubeconfig", metavar="PATH", help="Kubeconfig; without it $KUBECONFIG or ~/.kube/config."
    ),
)
