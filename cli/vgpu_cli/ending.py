"""How a command ends that is cut short: its reader has gone, or whoever typed it has.

Both end at once, without a word, with the codes that shells give to programs which die of these signals.
Light on purpose: it is there before anything that takes a moment to import.
"""

import io
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

READER_GONE = 128 + signal.SIGPIPE
INTERRUPTED = 128 + signal.SIGINT


def heed_interrupt(tidy: Callable[[], object] = lambda: None) -> None:
    """From now on Ctrl-C ends the process, whatever threads still wait for; ``tidy`` comes first."""

    def leave(*_: object) -> None:
        tidy()
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, leave)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C is heeded afterwards: for what must not be left half done."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def heed_reader() -> None:
    """From now on the process ends where nobody reads its standard output any more, as in ``| head -1``."""
    out = sys.stdout
    if isinstance(out, io.TextIOWrapper):
        encoding, errors, lines = out.encoding, out.errors, out.line_buffering
        sys.stdout = _Answer(out.detach(), encoding=encoding, errors=errors, line_buffering=lines)


class _Answer(io.TextIOWrapper):
    """Standard output whose closed pipe no library gets to see, for each would answer it in its own way."""

    def write(self, text: str, /) -> int:
        with _ending():
            return super().write(text)

    def flush(self) -> None:
        with _ending():
            super().flush()


@contextmanager
def _ending() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        os._exit(READER_GONE)
