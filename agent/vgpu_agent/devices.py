"""What the agent asks of a vendor: the one protocol that a backend implements, and the values it speaks in.

Nothing here knows a vendor; a new one is a module beside ``nvml`` (docs/howto/add-a-vendor.md). Backends
block, hang and fail as drivers do: ``asking`` calls them, nobody else.
"""

from dataclasses import dataclass
from typing import Protocol

from vgpu import values


class BackendError(Exception):
    """The vendor's library cannot be used or did not answer; the message says what to do."""


class NotSupportedError(BackendError):
    """The driver or device does not know the question; asking again does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A GPU as found: its facts, what it can isolate, what is wrong with it.

    ``fault`` is empty for a healthy device.
    """

    device: values.Device
    isolation: values.Isolation = values.FULL_ISOLATION
    fault: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessUse:
    """What the driver says of one process on one device; the PID is the host's.

    ``memory_bytes`` is None where the driver does not tell.
    """

    pid: int
    memory_bytes: int | None


class Backend(Protocol):
    """A vendor's GPUs on this node. Every call blocks for as long as the driver does."""

    vendor: str

    def list_devices(self) -> tuple[Found, ...]:
        """All GPUs by index, the faulty ones marked. Raises BackendError where the driver is not there."""
        ...

    def list_processes(self, uuid: str) -> tuple[ProcessUse, ...]:
        """Who holds memory on a device. Raises BackendError, NotSupportedError among them."""
        ...
