"""The cluster as values: pools with their devices, and on every device the slices that lie there.

Pure: from raw objects to the picture that ``tree``, ``report`` and ``explain`` show.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from vgpu import inventory, values
from vgpu.api import node as node_api
from vgpu.api import pool as pool_api
from vgpu_kube.objects import Object


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """One slice on one device, per GPU."""

    claim: str
    pods: tuple[str, ...]
    requests: values.Amounts
    allocated: values.Amounts
    limits: values.Amounts
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One device of a pool: what it may promise, what is promised, and what is held in all."""

    node: str
    uuid: str
    index: int
    model: str
    usable: bool
    cordoned: bool
    capacity: values.Amounts
    floor: values.Amounts
    held: values.Amounts
    shares: tuple[Share, ...]

    @property
    def name(self) -> str:
        """How ``cordon`` calls it: ``gpu-0/1``."""
        return f"{self.node}/{self.index}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deck:
    """The cards of one pool, by node and index."""

    pool: str
    cards: tuple[Card, ...]

    def by_node(self) -> Mapping[str, list[Card]]:
        """The cards of each node."""
        found: dict[str, list[Card]] = {}
        for card in self.cards:
            found.setdefault(card.node, []).append(card)
        return found


def decks(pools: Iterable[Object], nodes: Iterable[Object]) -> list[Deck]:
    """Every pool's cards. Raises vgpu.api.InvalidObject where an object is not what its kind stores."""
    known = [node_api.to_values(each) for each in nodes]
    return [_deck(pool_api.to_values(each), known) for each in pools]


def _deck(pool: values.Pool, nodes: Iterable[values.Node]) -> Deck:
    return Deck(pool=pool.name, cards=tuple(card for node in nodes for card in _cards(pool, node)))


def _cards(pool: values.Pool, node: values.Node) -> list[Card]:
    devices = inventory.members(pool, node)
    if not devices:
        return []
    held = inventory.charges(node)
    shares: dict[str, list[values.Slice]] = {}
    for slice_ in node.slices.values():
        for uuid in slice_.device_uuids:
            shares.setdefault(uuid, []).append(slice_)
    return [
        _card(pool, node, device, held.get(device.uuid, values.NOTHING), shares.get(device.uuid, []))
        for device in sorted(devices, key=lambda each: each.index)
    ]


def _card(
    pool: values.Pool,
    node: values.Node,
    device: values.Device,
    held: values.Amounts,
    slices: list[values.Slice],
) -> Card:
    ordered = sorted(slices, key=lambda each: (each.claim.namespace, each.claim.name, each.id))
    return Card(
        node=node.name,
        uuid=device.uuid,
        index=device.index,
        model=device.model,
        usable=device.healthy,
        cordoned=device.uuid in node.cordoned_devices,
        capacity=inventory.capacity(pool, device),
        floor=sum((each.requests for each in slices), values.NOTHING),
        held=held,
        shares=tuple(_share(node, each) for each in ordered),
    )


def _share(node: values.Node, slice_: values.Slice) -> Share:
    enforced = node.enforced.get(slice_.id)
    confirmed = enforced is not None and enforced.revision >= slice_.revision
    return Share(
        claim=f"{slice_.claim.namespace}/{slice_.claim.name}",
        pods=tuple(pod.name for pod in slice_.pods),
        requests=slice_.requests,
        allocated=slice_.allocated,
        limits=slice_.limits,
        state=enforced.state.value if enforced is not None and confirmed else "Unconfirmed",
    )
