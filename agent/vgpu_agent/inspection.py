"""The look at each device's processes that audit and contexts share: the driver is asked once for both.

What escaped is judged by ``audit``, what a context costs by ``contexts``; here accounts and driver are read.
"""

from collections.abc import Iterable, Mapping, MutableMapping
from contextlib import suppress

from vgpu_agent import asking, audit, devices
from vgpu_agent.contexts import Contexts
from vgpu_agent.limits import Limits
from vgpu_agent.pages import AccountsError


class Inspection:
    """Looks at all devices, one after the other; ``used`` is told what each has in use, by UUID."""

    def __init__(
        self,
        asker: asking.Asker,
        limits: Limits,
        auditor: audit.Auditor,
        contexts: Contexts,
        used: MutableMapping[str, int],
    ) -> None:
        self._asker = asker
        self._limits = limits
        self._auditor = auditor
        self._contexts = contexts
        self._used = used

    async def look(self, found: Iterable[devices.Found]) -> bool:
        """One look; whether it taught what a context costs. A driver that does not tell accuses nobody."""
        learned = False
        for each in tuple(found):
            with suppress(devices.BackendError):
                learned = await self._look_at(each.device.uuid) or learned
        return learned

    async def _look_at(self, uuid: str) -> bool:
        before = self._holdings(uuid)
        processes = await self._asker.list_processes(uuid)
        self._used[uuid] = sum(each.memory_bytes or 0 for each in processes)
        self._auditor.judge(
            uuid, audit.escapes(uuid, processes, before.values(), pod_of=lambda pid: audit.pod_of(pid))
        )
        after = self._holdings(uuid)
        calm = [each for slice_id, each in after.items() if before.get(slice_id) == each]
        with suppress(OSError):  # a full home: learn again when there is room
            return self._contexts.learn(uuid, processes, calm, pod_of=lambda pid: audit.pod_of(pid))
        return False

    def _holdings(self, uuid: str) -> Mapping[str, audit.Holding]:
        """What slices account for on a device, by slice."""
        holdings = {}
        for slice_id, held, pages in self._limits.held():
            for index in [number for number, each in enumerate(held.slice.device_uuids) if each == uuid]:
                with suppress(AccountsError):  # ``limits`` tells that
                    holdings[slice_id] = audit.Holding(
                        slice_id=slice_id,
                        pod_uids=frozenset(pod.uid for pod in held.slice.pods),
                        used_bytes=pages.read(index).used_bytes,
                    )
        return holdings
