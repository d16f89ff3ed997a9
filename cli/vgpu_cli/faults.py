"""How a command ends when it cannot say yes: exit codes, and the refusals of a cluster in words.

0 is yes; 1 a fault was found, something is not there or was refused; 2 the command line is wrong; 3 the
cluster cannot be reached.
"""

import click

from vgpu_kube import errors

FOUND = 1
"""A fault was found, what was named is not there, or the cluster refused."""

UNREACHABLE = 3
"""No cluster could be asked."""


class Fault(click.ClickException):
    """An answer that is no; shown as one sentence, never as a traceback."""

    exit_code = FOUND


class NoCluster(Fault):
    """There is no way to a cluster, or nothing answers there."""

    exit_code = UNREACHABLE


def of(error: errors.KubeError) -> Fault:
    """The fault that a refusal of the API server means to whoever typed the command."""
    if isinstance(error, errors.Unavailable) and error.status == errors.UNREACHABLE:
        return NoCluster(f"expected an answer from the API server, found: {error.message}; check --context")
    if isinstance(error, errors.Forbidden):
        return Fault(
            f"expected permission for this, found: {error.message}; ask the platform team, or use --context"
        )
    if kind_is_missing(error):
        return Fault(
            "expected a cluster that serves vgpu.dev/v1alpha1, found none of its kinds; "
            "install the chart, then run: kubectl vgpu check"
        )
    return Fault(error.message)


def kind_is_missing(error: errors.KubeError) -> bool:
    """True where the API server does not know the kind itself, rather than one object of it."""
    unknown = ("could not find the requested resource", "404 page not found")
    return isinstance(error, errors.NotFound) and any(each in error.message for each in unknown)
