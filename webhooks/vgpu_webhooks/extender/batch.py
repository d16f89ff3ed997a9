"""Decisions on one node that share a write: while one write is under way, the next ones gather.

Each is made on the ledger as those before it leave it. Kubernetes' API server takes several milliseconds for
a write of a well filled ledger; a burst that fills one node costs a few writes instead of one per pod.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vgpu import ledger, values

Decide = Callable[[values.Node], ledger.Change | values.Refusal]


@dataclass(slots=True)
class Ask:
    """One decision and, once its write is over, what came of it."""

    decide: Decide
    point: str
    done: bool = False
    _refusal: values.Refusal | None = None
    _error: BaseException | None = None

    def settle(self, refusal: values.Refusal | None = None) -> None:
        """It is written, or refused."""
        self._refusal, self.done = refusal, True

    def fail(self, error: BaseException) -> None:
        """It could not be decided or written."""
        self._error, self.done = error, True

    def result(self) -> values.Refusal | None:
        """The refusal, None once it is written; raises what it failed with."""
        if self._error is not None:
            raise self._error
        return self._refusal


def fold(node: values.Node, asks: Sequence[Ask]) -> tuple[ledger.Change, list[Ask]]:
    """One change for all decisions that have something to write, and those; the others are settled."""
    whole, staged, writing = ledger.Change(node=node.name, revision=node.revision), node, list[Ask]()
    for ask in asks:
        try:
            decided = ask.decide(staged)
        except Exception as error:  # the asker gets it; it must not end the others' write
            ask.fail(error)
            continue
        if isinstance(decided, values.Refusal):
            ask.settle(decided)
        elif decided.empty:
            ask.settle()
        else:
            whole, staged = ledger.merged(whole, decided), ledger.staged(staged, decided)
            writing.append(ask)
    return whole, writing
