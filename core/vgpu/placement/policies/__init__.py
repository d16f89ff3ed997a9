"""The strategies, one file each, behind the one interface of ``placement.policy``.

What a policy may look at is one node, the request and the mix; nothing here knows pools, quotas or time.
"""

from collections.abc import Mapping

from vgpu import values
from vgpu.placement import mix as sizes
from vgpu.placement import policy
from vgpu.placement.policies import bin_pack, least_fragmentation, spread


def of(
    strategy: values.Strategy,
    mix: sizes.Mix | None = None,
    supply: Mapping[str, values.Amounts] | None = None,
) -> policy.Policy:
    """The policy that carries out a pool's strategy.

    ``mix`` are the sizes to expect, ``supply`` the capacity of each model. Without either the answer is one
    shared policy on the usual guess; otherwise a new one, to be kept as long as both stay the same.
    """
    if strategy is values.Strategy.BIN_PACK:
        return bin_pack.BinPack()
    if strategy is values.Strategy.SPREAD:
        return spread.Spread()
    if mix is None and supply is None:
        return _USUAL
    return least_fragmentation.LeastFragmentation(typical=mix or sizes.PRIOR, supply=supply or {})


_USUAL = least_fragmentation.LeastFragmentation(typical=sizes.PRIOR)
