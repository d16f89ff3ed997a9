"""What each call of kube-scheduler gets: a verdict or the reason against it, counted, timed and remembered.

Verdicts are made in ``filter``, ``bind`` and ``preempt``, their JSON in ``wire``.
"""

import logging

from vgpu_kube import errors, logs
from vgpu_webhooks.extender import (
    bind,
    filter,  # noqa: A004 - the verb is called so
    hold,
    lead,
    metrics,
    preempt,
    view,
    waiting,
    wire,
    writing,
)

logger = logging.getLogger(__name__)

REFUSALS = (bind.NotBound, hold.NotHeld, view.Unanswerable, writing.Standby, errors.KubeError)
"""What ends a call in an ``Error`` that kube-scheduler shows and tries again after."""


class Answers:
    """One method for each verb; a standby becomes active first, or says who is."""

    def __init__(
        self,
        *,
        leader: lead.Lead,
        filtering: filter.Filter,
        binder: bind.Binder,
        preempter: preempt.Preempter,
        room: waiting.Waiting,
        measured: metrics.Metrics,
        patience_seconds: float,
    ) -> None:
        self._lead = leader
        self._filter = filtering
        self._binder = binder
        self._preempter = preempter
        self._waiting = room
        self._metrics = measured
        self._patience = patience_seconds

    async def filter(self, args: wire.FilterArgs) -> bytes:
        """ExtenderFilterResult for a pod."""
        if not await self._lead.called(patience_seconds=self._patience):
            return wire.filter_error(self._rejected("Standby", standby(self._lead)))
        try:
            with self._metrics.timed("filter"):
                verdict = await self._filter.answer(args)
        except REFUSALS as error:
            if isinstance(error, view.Unanswerable):
                self._waiting.refused(args.pod, args.node_names)
            return wire.filter_error(self._rejected(_reason(error), str(error)))
        if isinstance(verdict, filter.Placed):
            self._waiting.placed(args.pod, verdict.slice_id)
            self._metrics.placed("filter")
            return wire.placed(verdict.node)
        self._waiting.refused(args.pod, args.node_names)
        self._metrics.rejected(verdict.kind)
        return wire.refused(verdict.reasons)

    async def bind(self, args: wire.BindingArgs) -> bytes:
        """ExtenderBindingResult for a pod and its node."""
        if not await self._lead.called(patience_seconds=self._patience):
            return wire.binding_error(self._rejected("Standby", standby(self._lead)))
        try:
            with self._metrics.timed("bind"):
                await self._binder.bind(args)
        except REFUSALS as error:
            return wire.binding_error(self._rejected(_reason(error), str(error)))
        self._waiting.bound(args.uid)
        self._metrics.placed("bind")
        return wire.bound()

    async def preempt(self, args: wire.PreemptionArgs) -> bytes:
        """ExtenderPreemptionResult: the victims that may go."""
        if not self._lead.active:
            return wire.preemptable(args, {})
        try:
            return wire.preemptable(args, await self._preempter.victims(args))
        except (view.Unanswerable, errors.KubeError) as error:
            logs.event(logger, logging.INFO, "no preemption", pod=args.pod, reason=error)
            return wire.preemptable(args, {})

    def _rejected(self, reason: str, message: str) -> str:
        self._metrics.rejected(reason)
        return message


def standby(leader: lead.Lead) -> str:
    """That this extender is not the active one, and which is."""
    holder = leader.other_holder
    return f"standby: {holder} is active" if holder else "standby: becoming active, try again"


def _reason(error: Exception) -> str:
    """A refusal in one of few words, for metrics."""
    if isinstance(error, bind.NotBound | hold.NotHeld | view.Unanswerable):
        return error.reason
    return type(error).__name__
