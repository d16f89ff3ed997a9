"""Which devices the node has, also while the driver does not say.

What a driver said last stands, marked unhealthy, until it speaks again; after a restart what the VGPUNode
remembers takes that place. So no slice loses its limits because a driver hangs.
"""

import logging
from collections.abc import Sequence
from dataclasses import replace

from vgpu_agent import asking, devices
from vgpu_kube import logs

logger = logging.getLogger(__name__)


class Discovery:
    """The devices of one node."""

    def __init__(
        self, backend: devices.Backend, *, patience_seconds: float = asking.PATIENCE_SECONDS
    ) -> None:
        self.asker = asking.Asker(backend, patience_seconds=patience_seconds)
        self._last: tuple[devices.Found, ...] | None = None
        self._faults: dict[str, str] = {}

    async def look(self, *, remembered: Sequence[devices.Found]) -> tuple[devices.Found, ...]:
        """The devices now; ``remembered`` counts where the driver has never answered."""
        try:
            found = await self.asker.list_devices()
            self._last = found
        except devices.BackendError as error:
            known = tuple(remembered) if self._last is None else self._last
            found = tuple(_silent(each, str(error)) for each in known)
            self._tell({"": str(error)})
            return found
        self._tell({each.device.uuid: each.fault for each in found if each.fault})
        return found

    def _tell(self, faults: dict[str, str]) -> None:
        """Logs what is wrong when it begins and when it ends."""
        for uuid, fault in faults.items():
            if self._faults.get(uuid) != fault:
                logs.event(logger, logging.WARNING, "device fault", device=uuid or "all", reason=fault)
        for uuid in self._faults.keys() - faults.keys():
            logs.event(logger, logging.INFO, "device well again", device=uuid or "all")
        self._faults = faults


def _silent(found: devices.Found, reason: str) -> devices.Found:
    return replace(found, device=replace(found.device, healthy=False), fault=reason)
