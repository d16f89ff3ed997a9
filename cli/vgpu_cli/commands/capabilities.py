"""``capabilities``: which GPUs there are and what each kind can do to keep slices apart."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

import click

from vgpu.api import quantity
from vgpu_cli import drawing, options, output, reading, words
from vgpu_cli.options import Access
from vgpu_kube.objects import Object

MEANING = {
    "Hard": "Hard: a slice cannot exceed it",
    "TimeShare": "TimeShare: time slices, measured and held by the shim",
    "Partition": "Partition: hardware units of its own",
    "Live": "Live: while the pod runs",
    "Restart": "Restart: only with a new pod",
    "None": "None: the device cannot",
}


def matrix(nodes: Iterable[Object]) -> list[dict[str, Any]]:
    """One entry for each kind of device and what it can do, the most frequent first."""
    counted: Counter[tuple[str, ...]] = Counter()
    unhealthy: Counter[tuple[str, ...]] = Counter()
    places: dict[tuple[str, ...], set[str]] = {}
    for node in nodes:
        for device in (node.get("status") or {}).get("devices") or ():
            kind = _kind(device)
            counted[kind] += 1
            unhealthy[kind] += not device.get("healthy", True)
            places.setdefault(kind, set()).add(node["metadata"]["name"])
    return [
        _entry(kind, count, unhealthy=unhealthy[kind], nodes=len(places[kind]))
        for kind, count in counted.most_common()
    ]


def _kind(device: Object) -> tuple[str, ...]:
    isolation = device.get("isolation") or {}
    able = (isolation.get(each, "None") for each in ("memory", "compute", "resize"))
    links = "/".join(sorted({each["type"] for each in device.get("links") or ()})) or "None"
    return (device.get("vendor", "nvidia"), device["model"], str(device["memory"]), *able, links)


def _entry(kind: tuple[str, ...], count: int, *, unhealthy: int, nodes: int) -> dict[str, Any]:
    vendor, model, memory, of_memory, of_compute, resize, links = kind
    return {
        "vendor": vendor,
        "model": model,
        "memoryBytes": quantity.parse_bytes(memory),
        "devices": count,
        "unhealthy": unhealthy,
        "nodes": nodes,
        "isolation": {"memory": of_memory, "compute": of_compute, "resize": resize},
        "links": links,
    }


def _row(entry: dict[str, Any], *, wide: bool) -> list[str]:
    isolation = entry["isolation"]
    row = [
        entry["model"],
        f"{entry['devices']:,}",
        f"{entry['nodes']:,}",
        words.memory(entry["memoryBytes"]),
        isolation["memory"],
        isolation["compute"],
        isolation["resize"],
    ]
    return [*row, entry["links"], entry["vendor"], f"{entry['unhealthy']:,}"] if wide else row


def show(entries: list[dict[str, Any]], *, wide: bool) -> None:
    """Writes the matrix for people, and what its words mean."""
    console = drawing.console()
    if not entries:
        console.print("No device has been reported. See what is missing: kubectl vgpu check")
        return
    columns = ["MODEL", "GPUS", "NODES", "MEMORY", "MEMORY LIMIT", "COMPUTE LIMIT", "RESIZE"]
    columns += ["LINKS", "VENDOR", "UNHEALTHY"] if wide else []
    console.print(drawing.table(columns, [_row(each, wide=wide) for each in entries]))
    used = {word for each in entries for word in each["isolation"].values()}
    for word in MEANING:
        if word in used:
            console.print(MEANING[word])


@click.command()
@options.output
@options.access
def capabilities(access: Access, form: str) -> None:
    """Show the kinds of GPUs, and whether each can limit memory and compute, and resize live."""
    entries = matrix(access.asked(lambda session: reading.nodes(session.cluster)))
    if output.structured(form):
        output.emit(entries, form)
    else:
        show(entries, wide=form == options.Format.WIDE)
