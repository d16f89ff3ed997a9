"""How sought each GPU model is by the requests that can use no other: a price on its room.

A request bound to few models finds its nodes taken by those that could have gone anywhere; the price keeps
them apart. It comes from the mix and the cluster alone.
"""

from collections.abc import Iterable, Mapping

from vgpu import inventory, values
from vgpu.placement import mix


def supply(rooms: Iterable[inventory.NodeRoom]) -> dict[str, values.Amounts]:
    """The capacity of all devices of each model together."""
    there: dict[str, values.Amounts] = {}
    for room in rooms:
        for device in room.devices:
            there[device.model] = there.get(device.model, values.NOTHING) + device.capacity
    return there


def prices(typical: mix.Mix, there: Mapping[str, values.Amounts]) -> dict[str, float]:
    """For each model the part of its room that bound requests ask for, were the cluster asked for in full.

    What a shape asks is spread evenly over the room of all models it accepts; ``there`` is their supply.
    """
    everything = _sum(there.values())
    load = sum(part * _part(_total(shape), everything) for shape, part in typical.popularity.items())
    price = dict.fromkeys(there, 0.0)
    for shape, part in typical.popularity.items():
        accepted = sorted(shape.models & there.keys())
        room = _sum(there[model] for model in accepted)
        for model in accepted:
            price[model] += part * _part(_total(shape), room) / load if load else 0.0
    return price


def _sum(amounts: Iterable[values.Amounts]) -> values.Amounts:
    return sum(amounts, values.NOTHING)


def _total(shape: mix.Shape) -> values.Amounts:
    return shape.requests.times(shape.device_count)


def _part(asked: values.Amounts, room: values.Amounts) -> float:
    """The mean part of the dimensions that there are."""
    parts = [
        part / whole
        for part, whole in (
            (asked.memory_bytes, room.memory_bytes),
            (asked.compute_percent, room.compute_percent),
        )
        if whole > 0
    ]
    return sum(parts) / len(parts) if parts else 0.0
