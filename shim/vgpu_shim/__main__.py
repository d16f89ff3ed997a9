"""vgpu-region: makes, shows, changes and watches the pages of one slice.

For people and scripts on a node. It decides nothing: what a slice may have is
the ledger's business.
"""

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import Any

import click

from vgpu_shim import library
from vgpu_shim.limits import UNLIMITED, DeviceLimits, LimitsPage
from vgpu_shim.usage import UsagePage

_UNITS = {
    "": 1,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
    "k": 10**3,
    "M": 10**6,
    "G": 10**9,
    "T": 10**12,
}


class Size(click.ParamType[int]):
    """Bytes, as a number or with a unit: 8Gi, 512Mi, 10G; or `unlimited`."""

    name = "size"

    def convert(self, value: str | int, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Bytes; click's own error for anything else."""
        if isinstance(value, int):
            return value
        if value == "unlimited":
            return UNLIMITED
        digits = value.rstrip("KMGTik")
        unit = value[len(digits) :]
        if not digits.isdecimal() or unit not in _UNITS:
            self.fail(f"{value!r} is not a size: expected a whole number and a unit, like 8Gi", param, ctx)
        return int(digits) * _UNITS[unit]


def _size_text(size: int) -> str:
    if size == UNLIMITED:
        return "unlimited"
    for unit in ("Ti", "Gi", "Mi", "Ki"):
        if size >= _UNITS[unit]:
            return f"{size / _UNITS[unit]:.4g}{unit}"
    return str(size)


def _limits_path(directory: Path) -> Path:
    return directory / "limits"


def _usage_path(directory: Path) -> Path:
    return directory / "usage" / "accounts"


def _report(directory: Path) -> dict[str, Any]:
    with LimitsPage(_limits_path(directory)) as limits, UsagePage(_usage_path(directory)) as usage:
        devices = [
            {"limits": dataclasses.asdict(line), "usage": dataclasses.asdict(usage.read(index))}
            for index, line in enumerate(limits)
        ]
        return {"slice": limits.slice_id, "generation": limits.generation, "devices": devices}


def _line(cells: list[str]) -> str:
    widths = (46, 6, 10, 10, 8, 8, 12, 10, 9)
    return "".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)).rstrip()


def _table(report: dict[str, Any]) -> list[str]:
    lines = [
        _line(["DEVICE", "PIDS", "MEMORY", "LIMIT", "COMPUTE", "LENT", "GPU TIME", "THROTTLED", "REFUSED"])
    ]
    for device in report["devices"]:
        limits, usage = device["limits"], device["usage"]
        counters = usage["counters"]
        lines.append(
            _line(
                [
                    limits["uuid"],
                    str(len(usage["processes"])),
                    _size_text(usage["used"]),
                    _size_text(limits["memory_limit"]),
                    f"{limits['compute_percent']}%",
                    f"+{limits['lent_percent']}%",
                    f"{counters['gpu_ns'] / 1e9:.2f}s",
                    f"{counters['throttled_ns'] / 1e9:.2f}s",
                    str(counters["refused"]),
                ]
            )
        )
    return lines


def _print(report: dict[str, Any], output: str) -> None:
    click.echo(json.dumps(report) if output == "json" else "\n".join(_table(report)))


_output = click.option(
    "-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True
)


@click.group()
@click.argument("directory", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def cli(ctx: click.Context, directory: Path) -> None:
    """Works on the pages of the slice in DIRECTORY (limits, usage/accounts)."""
    ctx.obj = directory


@cli.command()
@click.option(
    "--device", "devices", multiple=True, required=True, help="UUID, like GPU-8d2e…; repeat for several."
)
@click.option("--memory", type=Size(), required=True, help="Limit on each device, like 8Gi.")
@click.option("--compute", type=click.IntRange(1, 100), required=True, help="Per cent of each device.")
@click.option("--slice-id", default="", help="A name for people.")
@click.option("--required", is_flag=True, help="Also leave the mark that refuses processes without limits.")
@click.pass_obj
def create(
    directory: Path, devices: tuple[str, ...], memory: int, compute: int, slice_id: str, required: bool
) -> None:
    """Makes the pages; sound ones that are there stay as they are."""
    library.check_device_count(len(devices))
    lines = [DeviceLimits(uuid=device, memory_limit=memory, compute_percent=compute) for device in devices]
    _usage_path(directory).parent.mkdir(parents=True, exist_ok=True)
    if required:
        (directory / "required").touch()
    UsagePage.create(_usage_path(directory), device_count=len(lines)).close()
    LimitsPage.create(_limits_path(directory), lines, slice_id=slice_id).close()


@cli.command()
@_output
@click.pass_obj
def show(directory: Path, output: str) -> None:
    """Prints limits and use."""
    _print(_report(directory), output)


@cli.command("set")
@click.option("--device", help="UUID; without it every device of the slice.")
@click.option("--memory", "memory_limit", type=Size(), help="Limit, like 4Gi.")
@click.option("--compute", "compute_percent", type=click.IntRange(1, 100), help="Per cent held.")
@click.option("--lent", "lent_percent", type=click.IntRange(0, 100), help="Per cent lent on top.")
@click.option(
    "--ceiling", "ceiling_percent", type=click.IntRange(0, 100), help="What compute may reach; 0: no ceiling."
)
@click.option("--weight", type=click.IntRange(0), help="Share of what is lent.")
@click.option("--memory-ceiling", type=Size(), help="What the memory limit may grow to.")
@click.option("--memory-wait-ms", type=click.IntRange(0, 60000), help="How long allocations wait for growth.")
@click.pass_obj
def set_limits(directory: Path, /, device: str | None, **changes: int | None) -> None:
    """Changes limits of running processes."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    if not wanted:
        raise click.UsageError("nothing to set: name at least one limit, like --memory 4Gi")
    with LimitsPage(_limits_path(directory), writable=True) as page:
        chosen = [i for i, line in enumerate(page) if device in (None, line.uuid)]
        if not chosen:
            raise click.UsageError(
                f"device {device} is not in this slice: {', '.join(line.uuid for line in page)}"
            )
        for index in chosen:
            page.update(index, **wanted)


@cli.command()
@click.option(
    "--every", type=click.FloatRange(0.05), default=1.0, show_default=True, help="Seconds between lines."
)
@click.option("--count", type=click.IntRange(1), help="Stop after so many.")
@_output
@click.pass_obj
def watch(directory: Path, every: float, count: int | None, output: str) -> None:
    """Prints again and again; at once when limits change."""
    printed = 0
    with LimitsPage(_limits_path(directory)) as page:
        while count is None or printed < count:
            if printed:
                page.wait(page.generation, timeout_seconds=every)
            _print(_report(directory), output)
            sys.stdout.flush()
            printed += 1


@cli.command()
@click.pass_obj
def reap(directory: Path) -> None:
    """Takes back what dead processes held, and repairs what crashes left."""
    with LimitsPage(_limits_path(directory)) as limits, UsagePage(_usage_path(directory)) as usage:
        started = time.monotonic()
        dead = usage.reap()
        repaired = [usage.reconcile(device) for device in range(limits.device_count)]
        took_ms = (time.monotonic() - started) * 1000
    busy = sum(amount is None for amount in repaired)
    click.echo(
        f"{dead} dead, {_size_text(sum(amount or 0 for amount in repaired))} repaired in {took_ms:.1f} ms"
        + (f"; {busy} devices too busy, try again" if busy else "")
    )


def main() -> None:
    """The command; errors of pages and values become one line and exit code 1."""
    try:
        cli()
    except (library.PageError, library.LibraryNotFoundError, ValueError) as error:
        click.echo(f"vgpu-region: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
