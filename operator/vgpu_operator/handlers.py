"""What kopf does for the operator: it holds pools and claims back from deletion while they are in use.

Finalizers, the retries of a deletion and their bookkeeping are kopf's; which object is in use is answered by
``pools`` and ``claims``. Statuses are not handlers' results: they follow pods and ledgers that kopf does not
watch, and must go on speaking while a deletion waits.
"""

import itertools
import logging
import os
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf

from vgpu.api import names
from vgpu_operator.claims import Claims
from vgpu_operator.pools import Pools

LONGEST_DELAY = 15.0
"""Seconds between two looks at an object that waits to go; the first looks come after 1, 2, 4 and 8."""


def registry(
    pools: Pools,
    claims: Claims,
    *,
    kubeconfig: str | None,
    on_cleanup: Callable[[], Awaitable[None]],
) -> kopf.OperatorRegistry:
    """The handlers as a value; ``on_cleanup`` is awaited when kopf stops, before it waits for our tasks."""
    handlers = kopf.OperatorRegistry()

    @kopf.on.login(id="login", registry=handlers)
    async def logged_in(**kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 -- kopf's
        return _login(kubeconfig, **kwargs)

    @kopf.on.delete(names.GROUP, names.VERSION, names.POOL_PLURAL, id="pool-in-use", registry=handlers)
    async def pool_deleted(name: str, retry: int, **_: Any) -> None:  # noqa: ANN401 -- kopf's
        _hold_back(pools.in_use(name), retry)

    @kopf.on.delete(names.GROUP, names.VERSION, names.CLAIM_PLURAL, id="claim-in-use", registry=handlers)
    async def claim_deleted(namespace: str | None, name: str, uid: str, retry: int, **_: Any) -> None:  # noqa: ANN401 -- kopf's
        _hold_back(claims.in_use((namespace, name), uid), retry)

    @kopf.on.cleanup(id="wind-up", registry=handlers)
    async def stopped(**_: Any) -> None:  # noqa: ANN401 -- kopf's
        await on_cleanup()

    return handlers


def settings() -> kopf.OperatorSettings:
    """What makes kopf a guest: notes on deletions in annotations under our prefix, no Events, no scanning."""
    chosen = kopf.OperatorSettings()
    prefix = names.OPERATOR_PREFIX
    chosen.persistence.finalizer = names.FINALIZER
    chosen.persistence.progress_storage = kopf.AnnotationsProgressStorage(prefix=prefix, v1=False)
    chosen.persistence.diffbase_storage = NoNotes()
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    chosen.peering.standalone = True
    chosen.admission.managed = None
    chosen.networking.request_timeout = 10
    chosen.networking.error_backoffs = Forever()
    chosen.process.ultimate_exiting_timeout = 5
    chosen.queueing.exit_timeout = 1
    return chosen


class NoNotes(kopf.DiffBaseStorage):
    """Every object says the same to kopf, so it has no edits to note.

    Deletions are all that concerns kopf here. Its note of what an object said last would be one more write
    after each edit, through the webhook, in the way of the write that carries the edit to the node.
    """

    def build(self, **_: Any) -> Any:  # noqa: ANN401 -- kopf's
        """Nothing of an object."""
        return {}

    def fetch(self, **_: Any) -> Any:  # noqa: ANN401 -- kopf's
        """Nothing, and not None, which would be an object never seen."""
        return {}

    def store(self, **_: Any) -> None:  # noqa: ANN401 -- kopf's
        """Keeps nothing."""


class Forever:
    """Delays without an end, in seconds: an API server that is away for long must not end the operator."""

    def __iter__(self) -> Iterator[float]:
        """A second at first, five in the long run."""
        yield from (1.0, 1.0, 2.0, 3.0)
        yield from itertools.repeat(5.0)


def calm(record: logging.LogRecord) -> bool:
    """A filter for the logger ``kopf.objects``: to be held back is no error, though kopf calls it one."""
    if record.levelno == logging.ERROR and "failed temporarily" in record.getMessage():
        record.levelno, record.levelname = logging.INFO, "INFO"
    return True


def _login(kubeconfig: str | None, **kwargs: Any) -> kopf.ConnectionInfo | None:  # noqa: ANN401 -- kopf's
    """As ``vgpu_kube`` connects: by the file, else the pod's service account, else the environment's file."""
    if kubeconfig is None and "KUBERNETES_SERVICE_HOST" in os.environ:
        return kopf.login_with_service_account(**kwargs)
    if kubeconfig is not None:
        os.environ["KUBECONFIG"] = kubeconfig  # kopf takes the path from nowhere else
    return kopf.login_with_kubeconfig(**kwargs)


def _hold_back(reason: str | None, retry: int) -> None:
    if reason is not None:
        raise kopf.TemporaryError(reason, delay=min(LONGEST_DELAY, 2.0 ** min(retry, 10)))
