"""When the loop looks at which claims, and what it keeps of them from look to look.

Every few seconds at all, every second at those whose nodes report pressure, beginning at once. How one claim
is judged stands in ``judgement``.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection
from contextlib import suppress

from vgpu.elasticity import decision
from vgpu_kube import errors, logs
from vgpu_kube.objects import Key
from vgpu_operator.elasticity import acting, assembly, judgement, scalers, waking
from vgpu_operator.elasticity.acting import Hands
from vgpu_operator.elasticity.assembly import Subject
from vgpu_operator.elasticity.counts import Counts
from vgpu_operator.elasticity.judgement import Judgement
from vgpu_operator.elasticity.lacks import Lacks
from vgpu_operator.elasticity.outcomes import Last, Outcome, Replicas
from vgpu_operator.elasticity.remembered import Remembered
from vgpu_operator.elasticity.rivals import Rivals
from vgpu_operator.elasticity.rooms import Rooms
from vgpu_operator.elasticity.scalers import Scaler
from vgpu_operator.elasticity.signals import (
    HISTORY_SECONDS,
    LATELY_SECONDS,
    LONG_PEAK_SECONDS,
    PEAK_SECONDS,
    Ears,
    Signals,
)
from vgpu_operator.elasticity.sleepers import Sleepers
from vgpu_operator.elasticity.targets import Scale, Targets
from vgpu_operator.view import View

PRESSED_SECONDS = 1.0
"""Between two looks at a claim under pressure."""

logger = logging.getLogger(__name__)

Changed = Callable[[Key, Outcome | None, Outcome], Awaitable[None]]


class Loop:
    """The outer loop over all claims.

    ``changed`` is told of every outcome that is not what it was, ``contended`` tells pools in which pods
    wait that grown slices would make way for. ``now`` is the wall clock, ``clock`` a monotonic one, ``sleep``
    waits by it.
    """

    def __init__(
        self,
        view: View,
        ears: Ears,
        hands: Hands,
        targets: Targets,
        sleepers: Sleepers,
        rivals: Rivals,
        counts: Counts,
        *,
        changed: Changed,
        contended: Callable[[str], bool],
        interval_seconds: float,
        now: Callable[[], float],
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._view = view
        self._ears = ears
        self._hands = hands
        self._targets = targets
        self._sleepers = sleepers
        self._rivals = rivals
        self._counts = counts
        self._changed = changed
        self._contended = contended
        self._interval = interval_seconds
        self._now = now
        self._clock = clock
        self._sleep = sleep
        self._remembered: dict[Key, Remembered] = {}
        self._outcomes: dict[Key, Outcome] = {}
        self._waking: set[Key] = set()
        self._lacks = Lacks()
        self._pressed = asyncio.Event()

    def outcome(self, claim: Key) -> Outcome | None:
        """What the last look at a claim came to; None before the first."""
        return self._outcomes.get(claim)

    def claim_changed(self, claim: Key) -> None:
        """Something about a claim or its slices is not what it was."""
        if self._under_pressure(claim):
            self._pressed.set()

    async def run(self) -> None:
        """Looks until cancelled."""
        async with self._rivals.following():
            while True:
                await self.look(list(self._view.claims.items))
                until = self._clock() + self._interval
                while (left := until - self._clock()) > 0:
                    await self._wait(min(left, PRESSED_SECONDS) if self._under_pressure_now() else left)
                    if pressed := self._under_pressure_now():
                        await self.look(pressed)

    async def look(self, claims: Collection[Key]) -> None:
        """Judges these claims and acts. Raises nothing: what goes wrong is told, and the next look comes."""
        try:
            with self._counts.looks.time():
                await self._look(claims)
        except Exception:  # a mistake in one look must not end them all
            logger.exception("look failed claims=%d", len(claims))

    async def _look(self, claims: Collection[Key]) -> None:
        subjects = {key: subject for key in sorted(claims) if (subject := self._subject(key)) is not None}
        self._forget(claims, subjects)
        if not subjects:
            return
        await self._recall(subjects)
        signals = await self._listen(subjects, LATELY_SECONDS)
        self._counts.show_signals(signals)
        for key, each in subjects.items():
            try:
                await self._one(key, each, signals)
            except errors.KubeError as error:
                logs.event(logger, logging.WARNING, "look put off", claim=key, reason=error)
            except Exception:  # a mistake over one claim must not end the work on all others
                logger.exception("look failed claim=%s", key)
            await asyncio.sleep(0)  # others have work besides

    async def _recall(self, subjects: dict[Key, Subject]) -> None:
        """Asks what Prometheus still knows of claims that are looked at for the first time."""
        new = {key: each for key, each in subjects.items() if self._is_new(key, each)}
        if new:
            past = await self._listen(new, HISTORY_SECONDS, peak_seconds=LONG_PEAK_SECONDS)
            for key, each in new.items():
                self._remembered[key] = _recalled(each, past, now=self._now())
                await asyncio.sleep(0)

    async def _listen(
        self, subjects: dict[Key, Subject], seconds: int, *, peak_seconds: int = PEAK_SECONDS
    ) -> Signals:
        end = int(self._now())
        queries = {query for each in subjects.values() for query in assembly.queries(each.claim)}
        return await self._ears.listen(
            subjects, queries, start=end - seconds, end=end, peak_seconds=peak_seconds
        )

    async def _one(self, key: Key, subject: Subject, signals: Signals) -> None:
        subject = await self._sleepers.seen(subject)
        scaler = await scalers.of(subject, self._targets, self._rivals, fresh=False)
        judged = self._judge(key, subject, signals, scaler)
        if scaler.scale is not None and judged.decided.replicas not in (None, scaler.scale.wished):
            scaler = await scalers.of(subject, self._targets, self._rivals, fresh=True)
            judged = self._judge(key, subject, signals, scaler)
        self._lacks.note(subject.pool.name, key, judged.decided.lacking_percent)
        await self._hands.size(subject, judged)
        await self._hands.nap(subject, judged)
        self._note_waking(key, waits=bool(waking.waits(subject, judged.decided)))
        self._remembered[key] = acting.answered(judged, subject, signals, now=self._now())
        scale = await self._hands.scale(subject, judged, scaler)
        await self._tell(key, subject, judged, scaler, scale)

    def _judge(self, key: Key, subject: Subject, signals: Signals, scaler: Scaler) -> Judgement:
        pool = subject.pool
        rooms = Rooms(
            self._view,
            pool,
            contended=self._contended(pool.name),
            lacking_percent=self._lacks.of_others(pool.name, key),
        )
        return judgement.judge(subject, signals, scaler, self._remembered[key], rooms, now=self._now())

    async def _tell(
        self, key: Key, subject: Subject, judged: Judgement, scaler: Scaler, scale: object
    ) -> None:
        before = self._outcomes.get(key)
        last = before.last if before else None
        if judged.decided.action is not decision.Action.HOLD:
            last = Last(
                at=self._now(),
                action=judged.decided.action.value,
                reason=str(judged.decided.reason),
                message=judged.sentence,
            )
            self._counts.decisions.labels(last.action, last.reason).inc()
        replicas = Replicas(current=scale.current, desired=scale.wished) if isinstance(scale, Scale) else None
        outcome = Outcome(
            scaling=judgement.scaling_told(judged, scaler, subject.scaling),
            sizing=judgement.sizing_told(judged) if subject.elastic else None,
            replicas=replicas,
            last=last,
        )
        self._counts.show_claim(key, judged)
        if outcome != before:
            self._outcomes[key] = outcome
            await self._changed(key, before, outcome)

    def _subject(self, key: Key) -> Subject | None:
        """The claim as something to look at; None where there is nothing to size or scale."""
        known_claim = self._view.claims.items.get(key)
        if known_claim is None or known_claim.meta.deleting:
            return None
        claim = known_claim.claim
        pool = self._view.book.pools.get(self._view.pool_name_of(claim) or "")
        if pool is None:
            return None
        pods = {pod.ref.uid: pod for pod in self._view.pods_of(key) if not pod.deleting}
        holdings = tuple(
            each for each in self._view.slices_of(claim) if any(pod.uid in pods for pod in each.slice.pods)
        )
        subject = Subject(claim=claim, pool=pool, holdings=holdings, pods=pods)
        return subject if claim.scaling is not None or (subject.elastic and holdings) else None

    def _is_new(self, key: Key, subject: Subject) -> bool:
        known, scaling = self._remembered.get(key), subject.claim.scaling
        if known is None or not known.recalled:
            return True
        return known.query != (scaling.workload_query if scaling else None)

    def _forget(self, looked_at: Collection[Key], subjects: Collection[Key]) -> None:
        for key in set(looked_at) - set(subjects):
            self._let_go(key)
            if self._outcomes.pop(key, None) is not None:
                self._counts.forget_claim(key)
        for key in self._outcomes.keys() - self._view.claims.items.keys():
            del self._outcomes[key]
            self._let_go(key)
            self._counts.forget_claim(key)

    def _let_go(self, key: Key) -> None:
        self._remembered.pop(key, None)
        self._waking.discard(key)
        self._lacks.forget(key)

    def _under_pressure_now(self) -> list[Key]:
        return [key for key in self._outcomes if self._under_pressure(key)]

    def _under_pressure(self, key: Key) -> bool:
        claim = self._view.claims.items.get(key)
        if claim is None or key not in self._outcomes:
            return False
        holdings = self._view.slices_of(claim.claim)
        return key in self._waking or any(
            each.enforced is not None and each.enforced.pressure for each in holdings
        )

    def _note_waking(self, key: Key, *, waits: bool) -> None:
        """A claim whose sleeper waits for memory is looked at again as soon as one under pressure."""
        if waits:
            self._waking.add(key)
        else:
            self._waking.discard(key)

    async def _wait(self, seconds: float) -> None:
        """Returns after so long, or when a claim comes under pressure; a second at least lies between."""
        least = min(PRESSED_SECONDS, seconds)
        await self._sleep(least)
        if seconds <= least:
            return
        rest = asyncio.ensure_future(self._sleep(seconds - least))
        pressed = asyncio.ensure_future(self._pressed.wait())
        try:
            await asyncio.wait([rest, pressed], return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._pressed.clear()
            for task in (rest, pressed):
                task.cancel()
            with suppress(asyncio.CancelledError):
                await asyncio.gather(rest, pressed, return_exceptions=True)


def _recalled(subject: Subject, past: Signals, *, now: float) -> Remembered:
    """What Prometheus still knows of a claim that is looked at for the first time."""
    scaling = subject.claim.scaling
    query = scaling.workload_query if scaling else None
    begun = Remembered(query=query, recalled=past.trouble is None)
    return judgement.heard(subject, past, begun, now=now)
