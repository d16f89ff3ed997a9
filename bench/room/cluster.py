"""A cluster full of slices that have grown, drawn from a seed; every slice's pod may be moved."""

import random
from collections.abc import Iterator

from vgpu import inventory, reservations, values
from vgpu.room import moving, scene, survey

CARD_GIB = 80
TEAMS = 100
FLOORS_GIB = (8, 16, 24)
GROWTH_GIB = (0, 0, 4, 8)
PLENTY = values.Quota(nominal=values.Amounts(memory_bytes=2**60, compute_percent=10**8))
POOL = values.Pool(
    name="a100",
    node_selector=values.Selector(),
    quotas={f"team-{at}": PLENTY for at in range(TEAMS)},
)


def made(*, nodes: int, gpus: int, seed: int) -> list[values.Node]:
    """Nodes whose GPUs hold slices until less than 12 GiB are free, in every state confirmed."""
    draw = random.Random(seed)
    return [_node(f"node-{at:05}", gpus, draw) for at in range(nodes)]


def seen(found: list[values.Node]) -> scene.Scene:
    """The scene of a pod that waits there."""
    known = survey.Survey(lambda node: inventory.room(POOL, node))
    for node in found:
        known.see(node)
    return scene.Scene(pool=POOL, survey=known, used=book(found).used(POOL.name))


def book(found: list[values.Node]) -> reservations.Book:
    """The operator's book of them."""
    known = reservations.Book()
    known.see_pool(POOL)
    for node in found:
        known.see_node(node)
    return known


def request(*, gib: int, percent: int, count: int) -> values.Request:
    """What the waiting pod asks."""
    amounts = values.Amounts(memory_bytes=gib * values.GIB, compute_percent=percent)
    return values.Request(
        slice_id="waits",
        pool_name=POOL.name,
        claim=values.ClaimRef(namespace="team-0", name="waits", uid="waits"),
        pod=values.PodRef(name="waits", uid="waits"),
        device_count=count,
        requests=amounts,
        limits=amounts,
    )


def mobility(slice_: values.Slice) -> moving.Mobile:
    """Every pod may go anywhere."""
    again = values.Request(
        slice_id=f"{slice_.id}-again",
        pool_name=POOL.name,
        claim=slice_.claim,
        pod=values.PodRef(name=slice_.id, uid=f"{slice_.id}-again"),
        device_count=len(slice_.device_uuids),
        requests=slice_.requests,
        limits=slice_.limits,
    )
    return moving.Mobile(request=again, accepts=lambda _: True)


def _node(name: str, gpus: int, draw: random.Random) -> values.Node:
    uuids = [f"{name}-gpu-{index}" for index in range(gpus)]
    slices = {each.id: each for uuid in uuids for each in _slices(uuid, draw)}
    memory = CARD_GIB * values.GIB
    return values.Node(
        name=name,
        labels={},
        revision=2,
        devices=tuple(
            values.Device(uuid=uuid, index=at, model="A100", memory_bytes=memory)
            for at, uuid in enumerate(uuids)
        ),
        slices=slices,
        enforced={id_: _applied(slice_) for id_, slice_ in slices.items()},
    )


def _slices(uuid: str, draw: random.Random) -> Iterator[values.Slice]:
    free, number = CARD_GIB, 0
    while free > 12 and number < 4:
        floor = min(draw.choice(FLOORS_GIB), free)
        growth = min(draw.choice(GROWTH_GIB), free - floor)
        yield _slice(f"{uuid}-{number}", uuid, floor, growth, draw)
        free, number = free - floor - growth, number + 1


def _slice(name: str, uuid: str, floor: int, growth: int, draw: random.Random) -> values.Slice:
    requests = values.Amounts(memory_bytes=floor * values.GIB, compute_percent=20)
    grown = values.Amounts(memory_bytes=growth * values.GIB, compute_percent=draw.choice((0, 4)))
    allocated = requests + grown
    return values.Slice(
        id=name,
        pool_name=POOL.name,
        claim=values.ClaimRef(namespace=f"team-{draw.randrange(TEAMS)}", name=name, uid=name),
        pods=(values.PodRef(name=name, uid=name),),
        device_uuids=(uuid,),
        requests=requests,
        allocated=allocated,
        limits=values.Amounts(memory_bytes=CARD_GIB * values.GIB, compute_percent=100),
        held_memory_bytes=allocated.memory_bytes,
        revision=1,
    )


def _applied(slice_: values.Slice) -> values.Enforced:
    return values.Enforced(
        memory_bytes=slice_.allocated.memory_bytes,
        compute_percent=slice_.allocated.compute_percent,
        revision=slice_.revision,
    )
