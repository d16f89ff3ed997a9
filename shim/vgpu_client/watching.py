"""The watch: a daemon thread that looks at the page and calls the application when its memory changes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vgpu_client import answers, page

logger = logging.getLogger(__name__)

Resize = Callable[[page.Change], answers.Answer]

LOOK_SECONDS = 0.05
"""Looking costs one read of mapped memory."""

AGAIN_SECONDS = 1.0
"""How long after "deferred" the application is asked again."""


class Watch:
    """What was asked of the application and how it answered; ``look`` is one look, the thread repeats it."""

    def __init__(self, resize: Resize, place: Path) -> None:
        """Raises NoSliceError where ``place`` holds no slice."""
        self._resize = resize
        self._place = place
        self._pages = page.Pages(place)
        self._generation = -1
        self._answered: dict[int, page.Change] = {}
        self._again: dict[int, float] = {}
        self._ended = threading.Event()

    def look(self, now: float) -> None:
        """Call the application for each device whose memory changed, or that it asked to be reminded of."""
        generation = self._pages.generation
        if generation == self._generation and not self._due(now):
            return
        self._generation = generation
        for change in self._pages.changes():
            if self._is_new(change) or now >= self._again.get(change.device, float("inf")):
                self._ask(change, now)

    def stop(self) -> None:
        """End the watch; the application is called no more."""
        self._ended.set()

    def run(self, clock: Callable[[], float]) -> None:
        """Look until stopped."""
        while not self._ended.wait(LOOK_SECONDS):
            self.look(clock())

    def _due(self, now: float) -> bool:
        return any(now >= at for at in self._again.values())

    def _is_new(self, change: page.Change) -> bool:
        """The first look counts only where something has to go: an application starts within its limit."""
        before = self._answered.get(change.device)
        if before is None:
            self._answered[change.device] = change
            return change.excess_bytes > 0
        return (change.target_bytes, change.revision) != (before.target_bytes, before.revision)

    def _ask(self, change: page.Change, now: float) -> None:
        answer = self._answer(change)
        self._answered[change.device] = change
        self._again.pop(change.device, None)
        if not answer.done:
            self._again[change.device] = now + AGAIN_SECONDS
        answers.tell(self._place, answer, revision=change.revision)

    def _answer(self, change: page.Change) -> answers.Answer:
        try:
            return self._resize(change)
        except Exception as error:  # the application's mistake must end neither it nor the watch
            logger.exception("vgpu_client: the resize callback failed")
            return answers.deferred(f"the callback failed: {type(error).__name__}: {error}")


def watch(resize: Resize, *, place: Path | None = None) -> Watch | None:
    """Start watching in a daemon thread. None, and a log line, where this process is in no slice."""
    try:
        started = Watch(resize, place or page.directory())
    except page.NoSliceError as error:
        logger.info("vgpu_client: not watching: %s", error)
        return None
    thread = threading.Thread(target=started.run, args=(time.monotonic,), name="vgpu_client", daemon=True)
    thread.start()
    return started
