"""Which slices each claim holds, and on which node: an index of the ledger by claim.

The ledger itself lies in the VGPUNodes; nothing here may be newer than they are.
"""

from dataclasses import dataclass

from vgpu import values


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One slice where it lies, and what its node confirms about it."""

    node: str
    slice: values.Slice
    enforced: values.Enforced | None

    @property
    def confirmed(self) -> bool:
        """Whether the node has acted on the slice as it is now."""
        return self.enforced is not None and self.enforced.revision >= self.slice.revision

    @property
    def state(self) -> values.EnforcementState | None:
        """What the node says of the slice as it is now, None where it has not spoken of that yet."""
        return self.enforced.state if self.enforced is not None and self.confirmed else None


class Holdings:
    """All slices, by the UID of their claim and by the name of their pool."""

    def __init__(self) -> None:
        self._of_claim: dict[str, dict[str, Holding]] = {}
        self._in_pool: dict[str, set[str]] = {}

    def of(self, claim_uid: str) -> tuple[Holding, ...]:
        """The slices of a claim, in a stable order."""
        return tuple(holding for _, holding in sorted(self._of_claim.get(claim_uid, {}).items()))

    def in_pool(self, pool: str) -> int:
        """How many slices are counted in a pool."""
        return len(self._in_pool.get(pool, ()))

    def see(self, before: values.Node | None, now: values.Node | None) -> set[values.ClaimRef]:
        """Take in a node's change; returns the claims whose slices, or reports on them, are not the same."""
        touched: set[values.ClaimRef] = set()
        for slice_id in {*(before.slices if before else ()), *(now.slices if now else ())}:
            old, new = _holding(before, slice_id), _holding(now, slice_id)
            if old == new:
                continue
            if old is not None:
                touched.add(self._drop(old))
            if new is not None:
                touched.add(self._add(new))
        return touched

    def _add(self, holding: Holding) -> values.ClaimRef:
        entry = holding.slice
        self._of_claim.setdefault(entry.claim.uid, {})[entry.id] = holding
        self._in_pool.setdefault(entry.pool_name, set()).add(entry.id)
        return entry.claim

    def _drop(self, holding: Holding) -> values.ClaimRef:
        entry = holding.slice
        mine = self._of_claim.get(entry.claim.uid, {})
        if mine.get(entry.id) == holding:  # not if another node has shown the slice meanwhile
            del mine[entry.id]
            self._in_pool[entry.pool_name].discard(entry.id)
            if not mine:
                del self._of_claim[entry.claim.uid]
        return entry.claim


def _holding(node: values.Node | None, slice_id: str) -> Holding | None:
    if node is None or slice_id not in node.slices:
        return None
    return Holding(node=node.name, slice=node.slices[slice_id], enforced=node.enforced.get(slice_id))
