"""Ten thousand random grows and shrinks around a process that allocates and frees all the while."""

import json
import os
import pathlib
import random
import subprocess
import sys
from typing import Protocol

import pytest

import builders
from builders import GIB
from vgpu import enforcement, values
from vgpu.api import quantity
from vgpu_agent import limits, mounts
from vgpu_agent.held import SETTLE_SECONDS
from vgpu_agent.home import Home
from vgpu_shim.usage import UsagePage

GPU = "GPU-11111111-2222-3333-4444-555555555555"
RESIZES = 10_000
SEED = 20260131

# Allocates and frees at random until its input ends. A refusal is spurious where there was room and the
# limits page did not change meanwhile; the driver's own figures are asked, as an application would.
WORKER = """
import ctypes, json, mmap, os, random, select, struct, sys
page = mmap.mmap(os.open(os.environ["VGPU_DIR"] + "/limits", os.O_RDONLY), 0, prot=mmap.PROT_READ)
cuda, rng = ctypes.CDLL("libcuda.so.1"), random.Random(1)
context, free, total = ctypes.c_void_p(), ctypes.c_size_t(), ctypes.c_size_t()
assert cuda.cuInit(0) == 0 and cuda.cuCtxCreate_v2(ctypes.byref(context), 0, 0) == 0
blocks, held, spurious, refused, done = [], 0, 0, 0, 0
def limit():
    assert cuda.cuMemGetInfo_v2(ctypes.byref(free), ctypes.byref(total)) == 0
    return total.value
def generation():
    return struct.unpack_from("<I", page, 16)[0]
print("ready", flush=True)
while done % 64 or not select.select([sys.stdin], [], [], 0)[0]:
    done += 1
    if blocks and rng.random() < 0.5:
        address, size = blocks.pop(rng.randrange(len(blocks)))
        assert cuda.cuMemFree_v2(ctypes.c_uint64(address)) == 0
        held -= size
        continue
    size = rng.randrange(1, 512) << 21
    address, seen = ctypes.c_uint64(), generation()
    room = limit() - held
    code = cuda.cuMemAlloc_v2(ctypes.byref(address), ctypes.c_size_t(size))
    if code == 0:
        blocks.append((address.value, size))
        held += size
    else:
        assert code == 2, code
        refused += 1
        spurious += size <= room and seen == generation()
print(json.dumps({"held": held, "spurious": spurious, "refused": refused, "done": done}), flush=True)
sys.stdin.read()
"""


class Built(Protocol):
    @property
    def shim(self) -> pathlib.Path: ...
    @property
    def driver(self) -> pathlib.Path: ...


def entry(gib: int, revision: int) -> values.Slice:
    return builders.slice_(
        "a",
        uuids=(GPU,),
        allocated=builders.amounts(gib, 25),
        limits=builders.amounts(16, 100),
        revision=revision,
    )


def test_no_spurious_out_of_memory_no_shrink_below_use_and_sums_always_right(
    built: Built, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGPU_LIBRARY", str(built.shim))
    home, rng, now = Home(tmp_path / "home", mounts.LinkMounts(), built.shim), random.Random(SEED), [0.0]
    home.prepare()
    held = limits.Limits(home, clock=lambda: now[0])
    held.know({GPU: enforcement.Facts(memory_bytes=80 * GIB)})
    held.apply({"a": entry(8, 1)})
    worker = _start(built, home.slice_directory("a"), tmp_path)
    accounts = UsagePage(home.slice_directory("a") / "usage" / "accounts")
    try:
        for revision in range(2, RESIZES):
            size = rng.randrange(1, 16)
            held.apply({"a": entry(size, revision)})
            now[0] += SETTLE_SECONDS
            held.look()
            used = accounts.used(0)
            held.look()  # an allocation under way when the limit fell may have been counted since
            report = held.reports()["a"]
            assert report["revision"] == revision
            assert quantity.parse_bytes(report["memory"]) >= size * GIB
            still = accounts.used(0)
            if min(used, still) > size * GIB:  # above the limit, use can only fall: it was between both
                assert report["state"] == "Shrinking"
                assert quantity.parse_bytes(report["memory"]) >= still
        said, _ = worker.communicate("end\n", timeout=60)
        result = json.loads(said.splitlines()[-1])
        assert result["spurious"] == 0
        assert result["refused"] > 0
        assert result["done"] > RESIZES / 100
    finally:
        worker.kill()
        worker.wait()
        accounts.close()
    assert held_by_nobody(held, now)
    held.close()


def held_by_nobody(held: limits.Limits, now: list[float]) -> bool:
    """The process is gone, so after a look its memory is accounted to nobody."""
    now[0] += limits.REAP_SECONDS
    held.look()
    [(_, _, pages)] = held.held()
    return pages.read(0).used_bytes == 0


def _start(built: Built, directory: pathlib.Path, scratch: pathlib.Path) -> "subprocess.Popen[str]":
    config = scratch / "gpus.conf"
    config.write_text(f"devices 1\nmemory 80G\ndevice 0 uuid {GPU}\n")
    environment = {
        **os.environ,
        "VGPU_DIR": str(directory),
        "LD_PRELOAD": str(built.shim),
        "LD_LIBRARY_PATH": str(built.driver),
        "VGPU_SIM_CONFIG": str(config),
        "VGPU_SIM_STATE": str(scratch / "state"),
    }
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "ready\n"
    return worker
