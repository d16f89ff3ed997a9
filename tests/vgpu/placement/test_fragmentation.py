"""What the usual requests cannot use of a node's free room."""

import builders as make
from vgpu import inventory
from vgpu.placement import fragmentation, mix, policy

GPU = policy.WHOLE


def room(*free: tuple[int, int], cpu: int | None = None) -> inventory.NodeRoom:
    whole = make.amounts(80, 100)
    devices = (
        inventory.DeviceRoom(uuid=str(at), capacity=whole, free=make.amounts(*each), model="A100")
        for at, each in enumerate(free)
    )
    return inventory.NodeRoom(node="node", devices=tuple(devices), cpu_milli=cpu)


def stranded(typical: dict[mix.Shape, float], where: inventory.NodeRoom) -> float:
    return fragmentation.Stranded(mix.Mix(popularity=typical)).of(fragmentation.state(where))


def shape(gib: int, percent: int, **more: int) -> mix.Shape:
    return mix.Shape(requests=make.amounts(gib, percent), **more)  # type: ignore[arg-type]  # counts only


def test_room_too_tight_for_a_request_is_stranded_and_the_rest_is_not() -> None:
    assert stranded({shape(40, 50): 1.0}, room((20, 25), (80, 100))) == 0.25 * GPU


def test_a_request_for_more_gpus_than_fit_strands_all_that_is_free() -> None:
    assert stranded({shape(80, 100, device_count=2): 1.0}, room((40, 50), (80, 100))) == 1.5 * GPU


def test_room_that_no_cpu_can_feed_is_stranded() -> None:
    assert stranded({shape(8, 10, pod_cpu_milli=2000): 1.0}, room((80, 100), cpu=1000)) == GPU


def test_a_request_without_gpu_can_use_no_gpu() -> None:
    assert stranded({shape(0, 0, device_count=0): 1.0}, room((80, 100))) == GPU


def test_the_measure_is_weighted_by_popularity() -> None:
    assert stranded({shape(80, 100): 0.25, shape(40, 50): 0.75}, room((40, 50))) == 0.25 * 0.5 * GPU


def test_memory_without_compute_is_stranded() -> None:
    assert stranded({shape(8, 10): 1.0}, room((80, 0))) == 0.5 * GPU


def test_a_future_of_halves_leaves_what_is_less_than_a_half() -> None:
    halves = fragmentation.Unpacked(mix.Mix(popularity={shape(40, 50): 1.0}))

    left = halves.of(fragmentation.state(room((60, 75), (80, 100), (20, 25))))

    assert left == 0.5 * GPU


def test_a_future_ends_when_the_cpu_is_gone() -> None:
    hungry = fragmentation.Unpacked(mix.Mix(popularity={shape(8, 10, pod_cpu_milli=1000): 1.0}))

    left = hungry.of(fragmentation.state(room((80, 100), cpu=3000)))

    assert left == 0.7 * GPU
