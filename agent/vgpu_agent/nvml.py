"""NVIDIA's GPUs through NVML: the backend of the vendor ``nvidia``, and of the simulated driver.

Only questions of the ``devices`` protocol are asked here. What a driver does not know is left out, what a
lost GPU does not answer any more is answered from what it said last.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import pynvml  # type: ignore[import-untyped]  # ships no types

from vgpu import values
from vgpu_agent import devices

T = TypeVar("T")

HARMLESS_XIDS = frozenset({13, 31, 43, 45, 68, 109})
"""Faults of an application, not of its GPU: NVIDIA's own device plugin lets a device be healthy after them.

https://docs.nvidia.com/deploy/xid-errors/ lists the codes.
"""

_ANCESTORS = {
    pynvml.NVML_TOPOLOGY_INTERNAL: values.LinkKind.PCIE_SWITCH,
    pynvml.NVML_TOPOLOGY_SINGLE: values.LinkKind.PCIE_SWITCH,
    pynvml.NVML_TOPOLOGY_MULTIPLE: values.LinkKind.PCIE_SWITCH,
    pynvml.NVML_TOPOLOGY_HOSTBRIDGE: values.LinkKind.HOST_BRIDGE,
    pynvml.NVML_TOPOLOGY_NODE: values.LinkKind.NUMA_NODE,
    pynvml.NVML_TOPOLOGY_SYSTEM: values.LinkKind.MACHINE,
}

_UNKNOWN = (
    pynvml.NVMLError_NotSupported,
    pynvml.NVMLError_FunctionNotFound,
    pynvml.NVMLError_NotFound,
    pynvml.NVMLError_NoPermission,
)


@dataclass(frozen=True, slots=True)
class _Known:
    """A GPU's handle and what it said last."""

    handle: Any
    found: devices.Found


class NVML:
    """The backend ``nvidia``. ``library`` names another libnvidia-ml.so.1, such as a simulated one."""

    vendor = "nvidia"

    def __init__(self, library: Path | None = None) -> None:
        self._library = library
        self._started = False
        self._known: dict[int, _Known] = {}
        self._faults: dict[str, str] = {}
        self._events: Any = None

    def list_devices(self) -> tuple[devices.Found, ...]:
        """All GPUs by index; a lost one as it was, marked."""
        self._start()
        with _errors("count GPUs"):
            count = pynvml.nvmlDeviceGetCount()
        for index in range(count):
            self._look(index)
        self._link()
        self._take_xids()
        return tuple(self._judged(self._known[index]) for index in sorted(self._known))

    def list_processes(self, uuid: str) -> tuple[devices.ProcessUse, ...]:
        """The processes with a context on a device, by host PID."""
        self._start()
        with _errors(f"list processes of {uuid}"):
            handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
            listed = pynvml.nvmlDeviceGetComputeRunningProcesses(handle)
        return tuple(devices.ProcessUse(pid=each.pid, memory_bytes=each.usedGpuMemory) for each in listed)

    def _start(self) -> None:
        if self._started:
            return
        try:
            if self._library is not None:
                # The loader answers a later request for libnvidia-ml.so.1 with this one.
                ctypes.CDLL(str(self._library), mode=ctypes.RTLD_GLOBAL)
            pynvml.nvmlInit()
        except (OSError, pynvml.NVMLError) as error:
            raise devices.BackendError(
                f"NVML does not start: {error};"
                " is the NVIDIA driver loaded and its libnvidia-ml.so.1 visible?"
            ) from None
        self._started = True

    def _look(self, index: int) -> None:
        try:
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            before = self._known.get(index)
            if before is None or before.found.device.uuid != pynvml.nvmlDeviceGetUUID(handle):
                self._known[index] = _Known(handle, devices.Found(device=_facts(handle, index)))
                self._listen(handle)
            else:
                pynvml.nvmlDeviceGetMemoryInfo(handle)  # a lost GPU refuses this
                self._known[index] = _Known(handle, before.found)
        except pynvml.NVMLError as error:
            if index in self._known:
                uuid = self._known[index].found.device.uuid
                self._faults[uuid] = f"the driver does not answer for it: {error}"

    def _listen(self, handle: Any) -> None:  # noqa: ANN401 -- pynvml has no types
        with suppress(pynvml.NVMLError):  # no events, no Xids: the other signs remain
            if self._events is None:
                self._events = pynvml.nvmlEventSetCreate()
            pynvml.nvmlDeviceRegisterEvents(handle, pynvml.nvmlEventTypeXidCriticalError, self._events)

    def _take_xids(self) -> None:
        """Notes every Xid since the last look; a device that had a serious one stays out until a restart."""
        if self._events is None:
            return
        while True:
            try:
                event = pynvml.nvmlEventSetWait_v2(self._events, 0)
            except pynvml.NVMLError:
                return
            code = int(event.eventData)
            if code not in HARMLESS_XIDS:
                for uuid in self._concerned(event.device):
                    self._faults[uuid] = f"Xid {code}; see the kernel's log, then restart the agent"

    def _concerned(self, handle: Any) -> list[str]:  # noqa: ANN401 -- pynvml has no types
        """The device of an event, or all where it cannot be told."""
        try:
            return [pynvml.nvmlDeviceGetUUID(handle)]
        except pynvml.NVMLError:
            return [known.found.device.uuid for known in self._known.values()]

    def _link(self) -> None:
        for index, known in self._known.items():
            device = known.found.device
            if not device.links and len(self._known) > 1:
                others = [other for number, other in self._known.items() if number != index]
                links = tuple(_link(known.handle, other) for other in others)
                found = replace(known.found, device=replace(device, links=links))
                self._known[index] = replace(known, found=found)

    def _judged(self, known: _Known) -> devices.Found:
        fault = self._faults.get(known.found.device.uuid) or _memory_fault(known.handle)
        device = replace(known.found.device, healthy=not fault)
        return replace(known.found, device=device, fault=fault)


def _facts(handle: Any, index: int) -> values.Device:  # noqa: ANN401 -- pynvml has no types
    return values.Device(
        uuid=pynvml.nvmlDeviceGetUUID(handle),
        index=index,
        model=pynvml.nvmlDeviceGetName(handle).replace(" ", "-"),  # as the product label has it
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        vendor=NVML.vendor,
        numa_node=_numa_node(handle),
    )


def _numa_node(handle: Any) -> int | None:  # noqa: ANN401 -- pynvml has no types
    node = _answer(pynvml.nvmlDeviceGetNumaNodeId, handle)
    if node is not None:
        return int(node)
    pci = _answer(pynvml.nvmlDeviceGetPciInfo, handle)
    if pci is None:
        return None
    text = pci.busId.decode() if isinstance(pci.busId, bytes) else pci.busId
    file = Path("/sys/bus/pci/devices") / text.lower()[-12:] / "numa_node"
    try:
        found = int(file.read_text())
    except (OSError, ValueError):
        return None
    return found if found >= 0 else None  # -1: the firmware does not say


def _link(handle: Any, other: _Known) -> values.Link:  # noqa: ANN401 -- pynvml has no types
    uuid = other.found.device.uuid
    lanes = sum(1 for end in _link_ends(handle) if end == _bus_id(other.handle))
    if not lanes and _joined_by_switch(handle, other.handle):
        lanes = sum(1 for _ in _link_ends(handle))
    if lanes:
        return values.Link(uuid=uuid, kind=values.LinkKind.NVLINK, lanes=lanes)
    level = _answer(pynvml.nvmlDeviceGetTopologyCommonAncestor, handle, other.handle)
    return values.Link(uuid=uuid, kind=_ANCESTORS.get(level, values.LinkKind.MACHINE))


def _link_ends(handle: Any) -> Iterator[str]:  # noqa: ANN401 -- pynvml has no types
    """The bus id at the other end of each active NVLink."""
    for number in range(pynvml.NVML_NVLINK_MAX_LINKS):
        if _answer(pynvml.nvmlDeviceGetNvLinkState, handle, number) == pynvml.NVML_FEATURE_ENABLED:
            end = _answer(pynvml.nvmlDeviceGetNvLinkRemotePciInfo, handle, number)
            yield "" if end is None else _text(end.busId)


def _joined_by_switch(one: Any, other: Any) -> bool:  # noqa: ANN401 -- pynvml has no types
    """Whether NVLinks of both end in NVSwitches between them."""
    status = _answer(pynvml.nvmlDeviceGetP2PStatus, one, other, pynvml.NVML_P2P_CAPS_INDEX_NVLINK)
    return status == pynvml.NVML_P2P_STATUS_OK and any(True for _ in _link_ends(one))


def _bus_id(handle: Any) -> str:  # noqa: ANN401 -- pynvml has no types
    pci = _answer(pynvml.nvmlDeviceGetPciInfo, handle)
    return "unknown" if pci is None else _text(pci.busId)


def _text(found: bytes | str) -> str:
    return (found.decode() if isinstance(found, bytes) else found).lower()


def _memory_fault(handle: Any) -> str:  # noqa: ANN401 -- pynvml has no types
    """What is wrong with a device's memory for good, empty for nothing."""
    rows = _answer(pynvml.nvmlDeviceGetRemappedRows, handle)
    if rows is not None and rows[3]:
        return "a memory row could not be remapped; replace the GPU"
    return ""


def _answer(ask: Callable[..., T], *arguments: object) -> T | None:
    """What NVML says, None where it does not know or cannot say."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


@contextmanager
def _errors(what: str) -> Iterator[None]:
    try:
        yield
    except _UNKNOWN as error:
        raise devices.NotSupportedError(f"{what}: {error}") from None
    except pynvml.NVMLError as error:
        raise devices.BackendError(f"{what}: {error}; look at nvidia-smi and the kernel's log") from None
