import threading
from collections.abc import Callable

import pytest

from vgpu import values
from vgpu_agent import asking, devices

GPU = devices.Found(device=values.Device(uuid="GPU-0", index=0, model="A100", memory_bytes=values.GIB))


class Scripted:
    """A driver that does what a test says."""

    vendor = "scripted"

    def __init__(self, answer: Callable[[], tuple[devices.Found, ...]]) -> None:
        self.answer = answer

    def list_devices(self) -> tuple[devices.Found, ...]:
        return self.answer()

    def list_processes(self, uuid: str) -> tuple[devices.ProcessUse, ...]:
        raise devices.NotSupportedError(f"no list of processes on {uuid}")


async def test_the_driver_answers_through_a_thread() -> None:
    asker = asking.Asker(Scripted(lambda: (GPU,)))

    assert await asker.list_devices() == (GPU,)


async def test_what_the_driver_raises_reaches_the_asker() -> None:
    asker = asking.Asker(Scripted(lambda: ()))

    with pytest.raises(devices.NotSupportedError, match="GPU-0"):
        await asker.list_processes("GPU-0")


async def test_a_driver_that_hangs_holds_nobody_up() -> None:
    freed = threading.Event()

    def hang() -> tuple[devices.Found, ...]:
        freed.wait(timeout=60)
        return (GPU,)

    driver = Scripted(hang)
    asker = asking.Asker(driver, patience_seconds=0.01)
    with pytest.raises(devices.BackendError, match=r"within 0.01 s"):
        await asker.list_devices()
    with pytest.raises(devices.BackendError, match="still does not answer"):
        await asker.list_devices()

    freed.set()
    driver.answer = lambda: (GPU,)
    answered = asking.Asker(driver)

    assert await answered.list_devices() == (GPU,)
