"""Claims: edits into the ledger, then facts from the view, then the status, written by the publisher.

Also what a deletion waits for: the claim's pods and slices.
"""

import itertools
from collections import Counter

from vgpu import values
from vgpu.placement import choice
from vgpu_kube.objects import Key
from vgpu_kube.protocol import Kube
from vgpu_operator import bounds, claim_conditions, claim_status, gangs, known, verdicts
from vgpu_operator.elasticity.loop import Loop
from vgpu_operator.metrics import Metrics
from vgpu_operator.publishing import Publisher
from vgpu_operator.room import explaining
from vgpu_operator.room.wishes import Wish, Wishes
from vgpu_operator.view import View

LOOKED_AT_AGAIN = 20
"""So many claims that wait are judged anew each time, the longest unjudged first."""


class Claims:
    """Reconciles one claim at a time."""

    def __init__(
        self,
        kube: Kube,
        view: View,
        publisher: Publisher,
        metrics: Metrics,
        wishes: Wishes,
    ) -> None:
        self._kube = kube
        self._wishes = wishes
        self._view = view
        self._publisher = publisher
        self._metrics = metrics
        self.loop: Loop | None = None  # the elastic loop, where one runs
        self._judge = verdicts.Judge(view.book, view.hosts.items)
        self._rooms: Counter[str] = Counter()  # pool -> how often its room has changed
        self._unsettled: dict[Key, tuple[str, int]] = {}  # claim -> pool and room it was judged by, in order

    async def reconcile(self, key: Key) -> None:
        """Brings the ledger and the status of one claim to what it asks; raises KubeError."""
        self._view.recount(key)
        claim = self._view.claims.items.get(key)
        self._unsettled.pop(key, None)
        if claim is None:
            self._wishes.drop(key)
            return
        with self._metrics.reconciles.labels("VGPUClaim").time():
            refusal = None if claim.meta.deleting else await self._carry_edit(claim)
            facts = self._facts(claim, refusal)
            unsettled = facts.waiting or refusal is not None or facts.refused_growth is not None
            if facts.pool_name is not None and unsettled:
                self._unsettled[key] = (facts.pool_name, self._rooms[facts.pool_name])
            wish = _wish(key, facts)
            self._wishes.put(wish) if wish is not None else self._wishes.drop(key)
            await self._publish(claim, facts, wish)

    def room_changed(self, pool: str) -> None:
        """There may be room in the pool for those who wait."""
        self._rooms[pool] += 1
        self._judge.room_changed(pool)

    def due(self) -> list[Key]:
        """The claims that wait and were judged by a room that is not the present one, the oldest first."""
        stale = (key for key, (pool, room) in self._unsettled.items() if room != self._rooms[pool])
        return list(itertools.islice(stale, LOOKED_AT_AGAIN))

    def in_use(self, key: Key, uid: str) -> str | None:
        """Why a claim cannot go yet, None where it can."""
        pods = self._view.pods_of(key)
        if not pods and not self._view.holdings.of(uid):
            return None
        return claim_conditions.leaving(pods)

    async def _publish(self, claim: known.Claim, facts: claim_conditions.Facts, wish: Wish | None) -> None:
        created_at = {pod.ref.uid: pod.created_at for pod in facts.pods}
        fields = claim_status.fields(claim.claim, facts.holdings, created_at, facts.outcome, claim.status)
        finding = self._wishes.finding((claim.meta.namespace, claim.meta.name))
        fields["waiting"] = None if wish is None else explaining.to_json(wish, finding)
        await self._publisher.publish(claim.meta, claim.status, fields, claim_conditions.of(facts))

    async def _carry_edit(self, claim: known.Claim) -> values.Refusal | None:
        """Carries the claim's bounds into its slices; the first refusal, if there is one."""
        edited = known.observed_generation(claim.status) < claim.meta.generation
        refusals: list[values.Refusal] = []
        for holding in self._view.slices_of(claim.claim):
            if not bounds.differ(claim.claim, holding.slice, edited=edited):
                continue
            pool = self._view.book.pools.get(holding.slice.pool_name)
            used = self._view.book.used(holding.slice.pool_name)
            known_node = self._view.nodes.items.get((None, holding.node))
            node, refusal = await bounds.carry(
                self._kube, holding, claim.claim, pool, used, edited=edited, known=known_node
            )
            self._metrics.resizes.labels("edit", "refused" if refusal else "carried").inc()
            self._view.nodes.observe(node)
            refusals += [refusal] if refusal is not None else []
        return refusals[0] if refusals else None

    def _refused_growth(self, claim: values.Claim) -> values.Refusal | None:
        """Why the first of the claim's open wishes is not granted; None where none is open or all will be."""
        book = self._view.book
        for holding in self._view.slices_of(claim):
            node, pool = book.nodes.get(holding.node), book.pools.get(holding.slice.pool_name)
            if holding.slice.wanted is not None and node is not None and pool is not None:
                refusal = bounds.refused(pool, node, holding.slice, book.used(pool.name))
                if refusal is not None:
                    return refusal
        return None

    def _facts(self, claim: known.Claim, refusal: values.Refusal | None) -> claim_conditions.Facts:
        view, asked = self._view, claim.claim
        pool_name = view.pool_name_of(asked)
        waiting = view.waiting(asked)
        verdict, gang = self._verdict(asked, pool_name, waiting)
        return claim_conditions.Facts(
            claim=asked,
            pool_name=pool_name,
            pool=None if pool_name is None else view.book.pools.get(pool_name),
            largest_bytes=0 if pool_name is None else view.membership.totals(pool_name).largest_bytes,
            used={} if pool_name is None else view.book.used(pool_name),
            holdings=view.slices_of(asked),
            pods=view.pods_of((asked.ref.namespace, asked.ref.name)),
            waiting=waiting,
            verdict=verdict,
            gang=gang,
            refused_edit=refusal,
            refused_growth=self._refused_growth(asked),
            help=explaining.hint(self._wishes.finding((claim.meta.namespace, claim.meta.name))),
            deleting=claim.meta.deleting,
            outcome=self.loop.outcome((claim.meta.namespace, claim.meta.name)) if self.loop else None,
            loop_runs=self.loop is not None,
        )

    def _verdict(
        self, claim: values.Claim, pool_name: str | None, waiting: tuple[known.Pod, ...]
    ) -> tuple[verdicts.Verdict | None, str]:
        """The verdict on the first waiting pod, and how its gang stands if it has one."""
        if not waiting or pool_name is None:
            return None, ""
        holdings = self._view.slices_of(claim)
        asked = [verdicts.request(claim, pool_name, pod.ref) for pod in waiting]
        alone = self._judge.verdict(asked[0], waiting[0].home, holdings)
        lacking = gangs.lacking(claim, holdings)
        if lacking < 2 or not isinstance(alone, choice.Placement):
            return alone, ""
        refused, standing = gangs.verdict(self._judge, asked, lacking, waiting)
        return refused or alone, standing


def _wish(key: Key, facts: claim_conditions.Facts) -> Wish | None:
    """What the oldest waiting pod wants, None where none waits for room or quota."""
    refused, pool_name = facts.verdict, facts.pool_name
    if facts.deleting or not facts.waiting or pool_name is None or facts.pool is None:
        return None
    if refused is None or isinstance(refused, choice.Placement):
        return None
    first = facts.waiting[0]
    request = verdicts.request(facts.claim, pool_name, first.ref)
    created_at = first.created_at
    alone = gangs.lacking(facts.claim, facts.holdings) < 2
    return Wish(
        claim=key, request=request, home=first.home, created_at=created_at, refused=refused, alone=alone
    )
