"""Rounds: those that wait are decided in the order of ``vgpu.queue`` and led to their places.

A no is remembered until room, quota or a claim has changed, so thousands that wait cost nothing while
nothing changes. Gangs are decided as one. A pod for which kube-scheduler has offered nodes is tried on those
only: so the two never send a pod back and forth. Who finds no room is promised what pods on their way out
will free, so those behind it do not take that.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from vgpu import queue, reservations, values
from vgpu.placement import choice
from vgpu_kube import informer, logs
from vgpu_webhooks.extender import (
    gangs,
    herald,
    leaving,
    metrics,
    parties,
    pods,
    usher,
    view,
    waiting,
    writing,
)

logger = logging.getLogger(__name__)

BATCH = waiting.WINDOW // 4
"""A round begins once so many may start, or all that wait: their slices share writes."""

REVIEW_SECONDS = 30.0
"""How often every no is asked again, whatever has changed."""

UNGATED = "Ungated"


@dataclass(slots=True)
class _Full:
    """A size that found no room in this round; ``for_good`` where what comes free is not enough either."""

    why: choice.NoFit
    for_good: bool = False


class Rounds:
    """Decides who of those that wait is next, and has them led to their places."""

    def __init__(
        self,
        *,
        seen: view.View,
        room: waiting.Waiting,
        groups: gangs.Gangs,
        going: leaving.Leaving,
        leader: usher.Usher,
        writer: writing.Writer,
        crier: herald.Herald,
        measured: metrics.Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._view = seen
        self._book = seen.book
        self._waiting = room
        self._gangs = groups
        self._leaving = going
        self._usher = leader
        self._writer = writer
        self._herald = crier
        self._metrics = measured
        self._clock = clock
        self._asks_seen = 0
        self._tasks: set[asyncio.Task[None]] = set()
        seen.claims.subscribe(self._asks_changed)
        seen.pools.subscribe(self._asks_changed)

    async def round(self) -> None:
        """Decides about those whose last no may not hold any more; they are led on in the background."""
        self._waiting.lapse()
        due = self._due()
        if due and self._waiting.room >= min(BATCH, len(due)):
            await self._decide_in_order(due + self._expecting(due))
        self._open_hopeless()

    def stop(self) -> None:
        """Ends what is under way: another process goes on, or none."""
        for task in list(self._tasks):
            task.cancel()

    def _due(self) -> list[waiting.Entry]:
        now, stamp = self._clock(), self._stamp()
        return [
            entry for entry in self._waiting.entries if entry.answered != stamp and entry.not_before <= now
        ]

    def _expecting(self, due: list[waiting.Entry]) -> list[waiting.Entry]:
        """Those whose room is still to come: whoever is due now may be before them."""
        ahead = self._book.withdraw_ahead()
        asked = {entry.pod.uid for entry in due}
        return [
            entry
            for entry in (self._waiting.entries if ahead else ())
            if entry.pod.uid not in asked and entry.request is not None and entry.request.slice_id in ahead
        ]

    def _stamp(self) -> waiting.Stamp:
        reviews = int(self._clock() // REVIEW_SECONDS)
        return self._book.eased, self._asks_seen + self._leaving.begun + reviews

    def _asks_changed(self, change: informer.Change[Any]) -> None:
        """What pods ask for may have changed; a status that was written has changed nothing."""
        self._asks_seen += change.old != change.new

    async def _decide_in_order(self, due: list[waiting.Entry]) -> None:
        found = {party.entries[0].pod.uid: party for party in self._parties(due)}
        tickets = [party.ticket(arrived=self._view.arrival(uid)) for uid, party in found.items()]
        full: dict[object, _Full] = {}
        led: list[Coroutine[None, None, None]] = []
        for ticket in queue.in_order(tickets, self._share):
            party = found[ticket.id]
            if self._waiting.room <= 0:
                break
            if all(self._waiting.waits(entry) for entry in party.entries):
                led += self._decide(party, full)
                await asyncio.sleep(0)  # many thousand nodes may have been looked at: Filter comes first
        for work in led:  # together, so that slices of one node share a write
            self._begin(work)

    def _share(self, pool_name: str, namespace: str) -> float:
        pool = self._book.pools.get(pool_name)
        return 0.0 if pool is None else queue.share(pool, self._book.used(pool_name), namespace)

    # Who is decided together.

    def _parties(self, due: list[waiting.Entry]) -> Iterator[parties.Party]:
        waiting_gangs: dict[gangs.Key, list[waiting.Entry]] = {}
        for entry in due:
            if self._gangs.lacking(entry.pod):
                waiting_gangs.setdefault(gangs.key(entry.pod), [])
            elif (request := self._request(entry)) is not None:
                yield parties.Party((entry,), (request,))
        if waiting_gangs:
            yield from self._gang_parties(waiting_gangs)

    def _gang_parties(self, found: dict[gangs.Key, list[waiting.Entry]]) -> Iterator[parties.Party]:
        """The oldest of each gang that make it whole, with those that are on the way."""
        for entry in self._waiting.entries:
            if gangs.key(entry.pod) in found:
                found[gangs.key(entry.pod)].append(entry)
        coming = self._waiting.coming()
        for claim, members in found.items():
            lacking = self._gangs.lacking(members[0].pod) - coming[claim]
            members.sort(key=lambda entry: (entry.pod.created, entry.pod.uid))
            if lacking > len(members):
                self._too_few(members)
            elif lacking > 0:
                yield from self._party(members[:lacking])
            else:
                for entry in members:
                    yield from self._party([entry])

    def _party(self, entries: list[waiting.Entry]) -> Iterator[parties.Party]:
        requests = [request for entry in entries if (request := self._request(entry)) is not None]
        if len(requests) == len(entries):
            yield parties.Party(tuple(entries), tuple(requests))

    def _too_few(self, members: list[waiting.Entry]) -> None:
        for entry in members:
            size = self._gangs.size(entry.pod)
            note = f"{size} pods of claim {entry.pod.claim} start together, and some are not there yet"
            self._answer(entry, gangs.WAITING, note)

    def _request(self, entry: waiting.Entry) -> values.Request | None:
        """What a pod asks for, None where that cannot be said; remembered, for thousands may wait."""
        if entry.request is None or entry.asked_as_of != self._asks_seen:
            try:
                entry.request = self._view.known_request_of(entry.pod)
            except view.Unanswerable as error:
                self._answer(entry, error.reason, str(error))
                return None
            entry.asked_as_of = self._asks_seen
        return entry.request

    # The decision.

    def _decide(
        self, party: parties.Party, full: dict[object, _Full]
    ) -> Iterator[Coroutine[None, None, None]]:
        """What leads the party to its places, nothing where it has none."""
        with self._metrics.timed("queue"):
            found = self._place(party, full)
        if isinstance(found, reservations.Partly):
            self._keep_what_comes(party, full)
            self._refuse(party, found)
            return
        for entry, request in zip(party.entries, party.requests, strict=True):
            nudged = not entry.pod.gates and len(party.entries) == 1
            seconds = waiting.WOKEN_SECONDS if nudged else waiting.NOMINATED_SECONDS
            self._waiting.start(entry.pod, request.slice_id, seconds)
            self._herald.forget(entry.pod)
        yield self._lead(party, found)

    def _place(
        self, party: parties.Party, full: dict[object, _Full]
    ) -> dict[str, choice.Placement] | reservations.Partly:
        """Promises a place to all of the party; a size that found no room this round is not tried again."""
        known = full.get(party.kind)
        if known is not None:
            why = self._book.over_quota(party.requests) or known.why
            return reservations.Partly(placed=0, asked=len(party.entries), why=why)
        found = self._ask(party)
        if isinstance(found, reservations.Partly) and isinstance(found.why, choice.NoFit):
            full[party.kind] = _Full(found.why)
        return found

    def _keep_what_comes(self, party: parties.Party, full: dict[object, _Full]) -> None:
        """Promises to one that finds no room what those who are leaving free, as long as that is enough."""
        known = full.get(party.kind)
        if known is None or known.for_good or not self._leaving.uids or len(party.entries) > 1:
            return
        [request], offered = party.requests, party.entries[0].offered
        kept = self._book.promise_ahead(request, offered, self._leaving.uids, now=self._clock())
        known.for_good = kept is None

    def _ask(self, party: parties.Party) -> dict[str, choice.Placement] | reservations.Partly:
        now, offers = self._clock(), [entry.offered for entry in party.entries]
        if len(offers) > 1:
            return self._book.place_together(list(zip(party.requests, offers, strict=True)), now=now)
        answer = self._book.place(party.requests[0], offers[0], now=now)
        if isinstance(answer, choice.Placement):
            return {party.requests[0].slice_id: answer}
        return reservations.Partly(placed=0, asked=1, why=answer)

    def _refuse(self, party: parties.Party, found: reservations.Partly) -> None:
        reason, note = parties.worded(found)
        for entry in party.entries:
            self._answer(entry, reason, note)
            if reason != values.Reason.NO_FIT:
                entry.no_room_since = None
            elif entry.no_room_since is None:
                entry.no_room_since = self._clock()

    def _answer(self, entry: waiting.Entry, reason: str, note: str) -> None:
        entry.answered = self._stamp()
        if entry.pod.gates:
            self._herald.tell(entry.pod, reason, note)  # of the others kube-scheduler tells

    # What follows from it.

    async def _lead(self, party: parties.Party, found: dict[str, choice.Placement]) -> None:
        reign = self._writer.reign
        places = [
            (entry.pod, found[request.slice_id].node)
            for entry, request in zip(party.entries, party.requests, strict=True)
        ]
        in_ledger = len(places) > 1 or places[0][0].gates  # a lone pod without a gate may not come for long
        if in_ledger and not await self._usher.hold(places):
            for entry in party.entries:
                self._waiting.put_back(entry)
            return
        told = await asyncio.gather(*(self._usher.tell(pod, node, reign=reign) for pod, node in places))
        for entry, done in zip(party.entries, told, strict=True):
            if not done:
                self._waiting.put_back(entry)

    def _open_hopeless(self) -> None:
        """Shows pods without room to those that could make some, and that see no gated ones."""
        now, lowest = self._clock(), self._view.lowest_priority()
        for entry in list(self._waiting.entries):
            since = entry.no_room_since
            if (
                since is not None
                and entry.pod.queued
                and (why := self._hopeless(entry.pod, now - since, lowest))
            ):
                entry.no_room_since = now  # tried again after as long, should it not open
                self._herald.tell(entry.pod, UNGATED, why)
                self._begin(self._open(entry.pod))

    def _hopeless(self, pod: pods.Pod, seconds: float, lowest: int | None) -> str | None:
        """Why others should see a pod that has found no room for so long, None while they should not."""
        if pod.displaces and lowest is not None and lowest < pod.priority:
            return "no node has room: kube-scheduler sees it now and may displace pods of lower priority"
        patience = self._patience(pod)
        if seconds >= patience:
            return f"no node has had room for {patience:g} s: kube-scheduler and autoscalers see it now"
        return None

    def _patience(self, pod: pods.Pod) -> float:
        """The setting of its pool; forever where it has none any more."""
        try:
            pool = self._book.pools.get(self._view.known_request_of(pod).pool_name)
        except view.Unanswerable:
            pool = None
        return float("inf") if pool is None else pool.ungate_after_seconds

    async def _open(self, pod: pods.Pod) -> None:
        await self._usher.open(pod, reign=self._writer.reign)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="extender queue")
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logs.event(logger, logging.ERROR, "leading a pod failed", reason=repr(task.exception()))
