"""Which grown slices give what back, so that a waiting request fits: the fewest, the lowest priority first.

Growth is lent and floors are promised, so any slice's growth yields to a floor; a quota is only relieved by
its own namespace. Shares that are on their way back already count as there. Writing is not done here.
"""

import itertools
from collections.abc import Iterator

from vgpu import inventory, values
from vgpu.room import changes, growth, scene, survey

LOOKS = 8
"""So many nodes are looked at closely, those with the least to return first."""

LOWEST = -(2**63)

Plan = tuple[changes.ReturnShares, ...]
"""By node; a node without returns has some under way that are waited for."""


def plan(at: scene.Scene, request: values.Request) -> Plan | None:
    """What is to be returned for the request to be placed: empty if nothing, None where no return helps."""
    here = _for_room(at, request)
    return None if here is None else _for_quota(at, request, here)


def on_node(at: scene.Scene, node: values.Node, request: values.Request) -> changes.ReturnShares | None:
    """The fewest returns on this node that let the request in there, None where all are too little."""
    read = at.survey.read
    gifts = sorted(growth.of(node, at.lends), key=lambda gift: gift.reluctance, reverse=True)
    if not survey.fits(read(growth.without(node, gifts)), request):
        return None
    for gift in list(gifts):
        rest = [each for each in gifts if each is not gift]
        if survey.fits(read(growth.without(node, rest)), request):
            gifts = rest
    return growth.shares(node.name, gifts)


def _for_room(at: scene.Scene, request: values.Request) -> Plan | None:
    if at.fits(request):
        return ()
    nearest = itertools.islice(at.at_floors(request), LOOKS)
    found = [on_node(at, sight.node, request) for sight in nearest]
    helping = [each for each in found if each is not None]
    return (min(helping, key=_cost),) if helping else None


def _cost(shares: changes.ReturnShares) -> tuple[int, int, int, int, str]:
    priority = max((each.priority for each in shares.returns), default=LOWEST)
    amount = shares.amount
    return priority, amount.memory_bytes, amount.compute_percent, len(shares.returns), shares.node


def _for_quota(at: scene.Scene, request: values.Request, here: Plan) -> Plan | None:
    """The plan with what its own namespace returns besides, where its quota is short."""
    refusal, headroom = at.refusal(request), at.headroom(request)
    if refusal is None or headroom is None:
        return here
    if refusal.reason is not values.Reason.WAITING_FOR_QUOTA:
        return None
    namespace = request.claim.namespace
    missing = scene.total(request) - headroom - _given_by(namespace, here)
    under_way = dict(_under_way(at, namespace))
    missing -= sum(under_way.values(), values.NOTHING)
    taken = {each.slice_id for shares in here for each in shares.returns}
    gifts: dict[str, list[growth.Gift]] = {}
    for node, gift in _own_growth(at, namespace, taken):
        lacking = missing.at_least(values.NOTHING)
        if gift.amount.at_most(lacking) != values.NOTHING:
            gifts.setdefault(node, []).append(gift)
            missing -= gift.total
    if not values.NOTHING.covers(missing):
        return None
    there = [growth.shares(node, given) for node, given in gifts.items()]
    awaited = [changes.ReturnShares(node=node, returns=()) for node in under_way]
    return (*here, *there, *awaited)


def _given_by(namespace: str, here: Plan) -> values.Amounts:
    own = (each for shares in here for each in shares.returns if each.claim.namespace == namespace)
    return sum((each.amount.times(each.device_count) for each in own), values.NOTHING)


def _under_way(at: scene.Scene, namespace: str) -> Iterator[tuple[str, values.Amounts]]:
    """What slices of a namespace are returning, in total, by node."""
    for sight in at.survey:
        if sight.soon is sight.now:
            continue
        node = sight.node
        amounts = [
            (inventory.charged(each, node.enforced.get(each.id)) - survey.expected(node, each)).times(
                len(each.device_uuids)
            )
            for each in node.slices.values()
            if (each.pool_name, each.claim.namespace) == (at.pool.name, namespace)
        ]
        coming = sum(amounts, values.NOTHING)
        if coming != values.NOTHING:
            yield node.name, coming


def _own_growth(at: scene.Scene, namespace: str, taken: set[str]) -> list[tuple[str, growth.Gift]]:
    """What slices of a namespace could return, the least reluctant first."""
    found = [
        (sight.node.name, gift)
        for sight in at.survey
        if sight.least is not sight.soon
        for gift in growth.of(sight.node, at.lends)
        if (gift.slice.pool_name, gift.slice.claim.namespace) == (at.pool.name, namespace)
        and gift.slice.id not in taken
    ]
    return sorted(found, key=lambda pair: pair[1].reluctance)
