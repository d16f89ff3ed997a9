import dataclasses

from vgpu import values
from vgpu_agent import devices, discovery

GPU = devices.Found(device=values.Device(uuid="GPU-0", index=0, model="A100", memory_bytes=values.GIB))


class Driver:
    vendor = "scripted"

    def __init__(self) -> None:
        self.answer: tuple[devices.Found, ...] | devices.BackendError = (GPU,)

    def list_devices(self) -> tuple[devices.Found, ...]:
        if isinstance(self.answer, devices.BackendError):
            raise self.answer
        return self.answer

    def list_processes(self, uuid: str) -> tuple[devices.ProcessUse, ...]:
        raise devices.NotSupportedError(uuid)


async def test_devices_of_a_silent_driver_stay_and_take_no_new_slices() -> None:
    driver = Driver()
    looking = discovery.Discovery(driver)
    assert await looking.look(remembered=()) == (GPU,)

    driver.answer = devices.BackendError("it hangs")

    [found] = await looking.look(remembered=())
    assert (found.device.uuid, found.device.healthy, found.fault) == ("GPU-0", False, "it hangs")
    driver.answer = (GPU,)
    assert await looking.look(remembered=()) == (GPU,)


async def test_after_a_restart_what_was_published_stands_for_a_silent_driver() -> None:
    driver = Driver()
    driver.answer = devices.BackendError("it hangs")

    [found] = await discovery.Discovery(driver).look(remembered=[GPU])

    assert found == dataclasses.replace(
        GPU, device=dataclasses.replace(GPU.device, healthy=False), fault="it hangs"
    )
