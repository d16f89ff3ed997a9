"""What the agent costs with 8 devices and 64 slices: CPU and memory of the process, CPU of lending alone."""

import asyncio
import os
import struct
import time
import uuid
from pathlib import Path

from agent import figures
from vgpu import enforcement, values
from vgpu.api import node
from vgpu_agent import lending, limits, mounts
from vgpu_agent.agent import LEND_SECONDS
from vgpu_agent.home import Home
from vgpu_e2e import gpunodes, process
from vgpu_e2e.localnode.bed import LocalBed
from vgpu_shim import library

GIB = values.GIB
SLICES = 64
SETTLE_SECONDS = 3.0
PERIODS = 400


async def measure(bed: LocalBed, *, seconds: float, scratch: Path) -> list[figures.Figure]:
    """Return the figures: of the running agent for so long, and of its inner loop by itself."""
    uuids = bed.machine.uuids
    before = await _usage(bed, seconds)
    await bed.extenders[0].process.stop()  # it would release slices whose pods do not exist
    await _fill_ledger(bed, [_slice(index, uuids[index % len(uuids)]) for index in range(SLICES)])
    await process.until(lambda: _applied(bed), timeout_seconds=30, awaited=f"{SLICES} slices in force")
    await asyncio.sleep(SETTLE_SECONDS)
    full = await _usage(bed, seconds)
    busy = await asyncio.to_thread(_inner_loop, scratch, uuids)
    return [
        figures.Figure(name="agent's CPU, no slices", value=before, unit="% of a core"),
        figures.Figure(name=f"agent's CPU, {SLICES} idle slices", value=full, unit="% of a core"),
        figures.Figure(
            name=f"lending, {SLICES} busy slices, every {LEND_SECONDS:g} s",
            value=busy,
            unit="% of a core",
            bound="<= 2 %",
        ),
        figures.Figure(name="agent's memory", value=_memory(bed), unit="MiB"),
    ]


def _slice(index: int, device: str) -> values.Slice:
    amounts = values.Amounts(memory_bytes=GIB, compute_percent=12)
    return values.Slice(
        id=str(uuid.uuid5(uuid.NAMESPACE_DNS, f"{index}.bench")),
        pool_name="a100",
        claim=values.ClaimRef(namespace="bench", name="llm", uid="bench"),
        pods=(values.PodRef(name=f"pod-{index}", uid=f"pod-{index}"),),
        device_uuids=(device,),
        requests=amounts,
        allocated=amounts,
        limits=values.Amounts(memory_bytes=GIB, compute_percent=100),
        held_memory_bytes=GIB,
        revision=1,
    )


async def _fill_ledger(bed: LocalBed, slices: list[values.Slice]) -> None:
    """Write slices into the ledger as the platform's admin; their pods do not exist, nobody runs in them."""
    path = f"{gpunodes.VGPU_NODES}/{bed.nodes[0]}"
    spec = {"revision": 1, "slices": {each.id: node.slice_to_json(each) for each in slices}}
    await bed.api.patch(path, {"spec": spec})


async def _applied(bed: LocalBed) -> bool:
    found = await bed.api.get(f"{gpunodes.VGPU_NODES}/{bed.nodes[0]}")
    return len(found["status"].get("slices", {})) == SLICES


async def _usage(bed: LocalBed, seconds: float) -> float:
    """Return the agent's use of a core in percent, over so many seconds."""
    before, began = _cpu_seconds(bed.agent.process.pid), time.perf_counter()
    await asyncio.sleep(seconds)
    return 100 * (_cpu_seconds(bed.agent.process.pid) - before) / (time.perf_counter() - began)


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory(bed: LocalBed) -> float:
    pages = int(Path(f"/proc/{bed.agent.process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def _inner_loop(scratch: Path, uuids: tuple[str, ...]) -> float:
    """Return what the inner loop needs of a core, every slice busy and its use never the same."""
    home = Home(scratch, mounts.LinkMounts(), library.find())
    home.prepare()
    held = limits.Limits(home, clock=time.monotonic)
    held.know({each: enforcement.Facts(memory_bytes=80 * GIB) for each in uuids})
    slices = [_slice(index, uuids[index % len(uuids)]) for index in range(SLICES)]
    held.apply({each.id: each for each in slices})
    files = [(home.slice_directory(each.id) / "usage" / "accounts").open("r+b") for each in slices]
    offset = library.load().ffi.offsetof("struct vgpu_usage", "devices") + 200  # gpu_ns, throttled_ns
    lender = lending.Lender(held)
    spent = 0.0
    for period in range(PERIODS):
        for index, file in enumerate(files):
            used = (period * (4 + index % 5) + period % 3) * 1_000_000
            os.pwrite(file.fileno(), struct.pack("<2Q", used, used if index % 2 else 0), offset)
        time.sleep(0.005)
        began = time.thread_time()
        lender.turn()
        spent += time.thread_time() - began
    for file in files:
        file.close()
    held.close()
    return 100 * spent / PERIODS / LEND_SECONDS
