"""Growth: slices that wish more get it where quota and device permit, the highest priority first.

The operator writes the wish, only the active extender grants it: quotas span nodes and need one decider.
A wish that cannot be granted stays and is asked about again whenever something has changed.
"""

import logging
from collections.abc import Callable

from vgpu import ledger, values
from vgpu_kube import errors, informer, logs
from vgpu_webhooks.extender import view, writing

logger = logging.getLogger(__name__)


class Granter:
    """Knows which nodes hold wishes, and grants what can be granted; ``wished`` is told of each new one."""

    def __init__(
        self,
        *,
        seen: view.View,
        writer: writing.Writer,
        granted: Callable[[str], None],
        wished: Callable[[], None],
    ) -> None:
        self._view = seen
        self._writer = writer
        self._granted = granted
        self._wished = wished
        self._wishes: dict[str, dict[str, int]] = {}  # node -> slice id -> priority
        seen.nodes.subscribe(self._node_changed)

    async def round(self) -> None:
        """Asks once about every wish; ``granted`` is told each result in a word."""
        wishes = [
            (-priority, slice_id, node)
            for node, slices in self._wishes.items()
            for slice_id, priority in slices.items()
        ]
        for _, slice_id, node in sorted(wishes):
            await self._grant(slice_id, node)

    async def _grant(self, slice_id: str, node: str) -> None:
        def decide(_: values.Node) -> ledger.Change | values.Refusal:
            self._view.book.settle(slice_id)  # an earlier attempt must not count against this one
            return self._view.book.grant(slice_id)

        try:
            refusal = await self._writer.change(node, decide, point="grant")
        except (errors.KubeError, writing.Standby) as error:
            self._granted("Failed")
            logs.event(logger, logging.WARNING, "growth put off", slice=slice_id, node=node, reason=error)
            if not isinstance(error, errors.Unavailable):  # else it may have been written, and counts
                self._view.book.settle(slice_id)
        else:
            self._view.book.settle(slice_id)
            self._tell(slice_id, node, refusal)

    def _tell(self, slice_id: str, node: str, refusal: values.Refusal | None) -> None:
        self._granted("Granted" if refusal is None else str(refusal.reason))
        if refusal is None:
            logs.event(logger, logging.INFO, "growth granted", slice=slice_id, node=node)
        else:
            logs.event(
                logger, logging.DEBUG, "growth waits", slice=slice_id, node=node, reason=refusal.message
            )

    def _node_changed(self, change: informer.Change[values.Node]) -> None:
        slices = {} if change.new is None else change.new.slices
        wishes = {id_: slice_.priority for id_, slice_ in slices.items() if slice_.wanted is not None}
        if wishes:
            self._wishes[change.key[1]] = wishes
            if _asks_anew(change):
                self._wished()
        else:
            self._wishes.pop(change.key[1], None)


def _asks_anew(change: informer.Change[values.Node]) -> bool:
    """Whether a wish is there that was not there before."""
    old = {} if change.old is None else change.old.slices
    new = {} if change.new is None else change.new.slices
    return any(
        slice_.wanted is not None and (id_ not in old or old[id_].wanted != slice_.wanted)
        for id_, slice_ in new.items()
    )
