"""The adapter for kvcached, the elastic KV cache of vLLM and SGLang. Call it inside the engine's process.

    from vgpu_client import kvcached
    kvcached.watch()

kvcached limits its own pools; weights, activations and the context are the rest of the slice. Its answers
(``kvcached.control``, 0.1.6): applied, deferred, rejected, stale, conflict, unavailable.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from vgpu_client import answers, page, watching

SetLimit = Callable[..., dict[str, Any]]
"""``kvcached.control.set_instance_memory_limit(limit_bytes, *, revision)``."""

DONE = ("applied", "stale")
"""Stale: kvcached already has a newer limit than this one."""

ROUNDS = 2
"""kvcached refuses a revision that it has seen with another limit: each page revision is worth two of its."""


class Adapter:
    """Turns a slice's target into a limit for the KV pools, and kvcached's answer into ours."""

    def __init__(self, set_limit: SetLimit) -> None:
        self._set_limit = set_limit

    def resize(self, change: page.Change) -> answers.Answer:
        """Apply a change. What the engine holds beside its KV pools is read off the first answer."""
        state = self._set_limit(change.target_bytes, revision=change.revision * ROUNDS)
        beside = change.used_bytes - int(state.get("mapped_bytes", 0))
        if state["status"] in ("applied", "deferred") and beside > 0:
            limit = max(0, change.target_bytes - beside)
            state = self._set_limit(limit, revision=change.revision * ROUNDS + 1)
        return _answer(state)


def watch() -> watching.Watch | None:
    """Watch this slice for the engine in this process. None where there is no slice or no kvcached."""
    try:
        control = importlib.import_module("kvcached.control")
    except ImportError:
        watching.logger.warning("vgpu_client: expected the package kvcached beside the engine, found none")
        return None
    return watching.watch(Adapter(control.set_instance_memory_limit).resize)


def _answer(state: dict[str, Any]) -> answers.Answer:
    if state["status"] in DONE:
        return answers.applied()
    reason = state.get("reason") or "no reason given"
    return answers.deferred(
        f"kvcached: {state['status']}: {reason}, {state.get('overage_bytes', 0)} bytes over"
    )
