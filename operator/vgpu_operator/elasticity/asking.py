"""The queries that teams wrote, asked many at a time, so that one bad query spoils no other's answer.

Queries are joined with ``or`` and told apart by a label whose name nobody can guess; a query that closes
parentheses too early may break a join, but can never speak for another one. What broke a join is found by
asking its queries one by one, and is then asked alone and less often.
"""

import secrets
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

from vgpu_operator.elasticity import prometheus
from vgpu_operator.elasticity.series import Series, Trouble

JOINED = 40
"""Queries in one request at most."""

JOINED_CHARACTERS = 16_384
APART_SECONDS = 60.0
"""A query that failed is asked alone, and not more often than this."""

Answers = Mapping[str, Sequence[Series] | Trouble]


class Questions:
    """Asks queries of a source; ``clock`` is monotonic, ``nonce`` makes the label's unguessable part."""

    def __init__(
        self,
        source: prometheus.Source,
        *,
        clock: Callable[[], float],
        nonce: Callable[[], str] = lambda: secrets.token_hex(8),
    ) -> None:
        self._source = source
        self._clock = clock
        self._nonce = nonce
        self._apart: dict[str, tuple[float, Trouble]] = {}  # query -> when to ask again, what it said

    async def ask(self, queries: Collection[str], *, start: int, end: int) -> Answers:
        """The answer to every query, or the trouble with it. Raises nothing."""
        answers: dict[str, Sequence[Series] | Trouble] = {}
        sound = sorted(query for query in queries if query not in self._apart)
        for chunk in _chunks(sound):
            answers.update(await self._joined(chunk, start=start, end=end))
        for query in sorted(set(queries) - set(sound)):
            answers[query] = await self._again(query, start=start, end=end)
        return answers

    async def _joined(self, chunk: Sequence[str], *, start: int, end: int) -> Answers:
        label = f"query_{self._nonce()}"
        try:
            found = await self._source.ranges(_join(chunk, label), start=start, end=end)
        except prometheus.Away as error:
            return dict.fromkeys(chunk, Trouble(str(error)))
        except prometheus.Rejected:
            return {query: await self._alone(query, start=start, end=end) for query in chunk}
        return _split(chunk, label, found)

    async def _again(self, query: str, *, start: int, end: int) -> Sequence[Series] | Trouble:
        due, said = self._apart[query]
        if self._clock() < due:
            return said
        del self._apart[query]
        return await self._alone(query, start=start, end=end)

    async def _alone(self, query: str, *, start: int, end: int) -> Sequence[Series] | Trouble:
        try:
            return await self._source.ranges(query, start=start, end=end)
        except prometheus.Away as error:
            return Trouble(str(error))
        except prometheus.Rejected as error:
            trouble = Trouble(f"the query fails: {error}")
        self._apart[query] = self._clock() + APART_SECONDS, trouble
        return trouble


def _chunks(queries: Iterable[str]) -> Iterator[list[str]]:
    chunk: list[str] = []
    for query in queries:
        if chunk and (len(chunk) == JOINED or sum(map(len, [*chunk, query])) > JOINED_CHARACTERS):
            yield chunk
            chunk = []
        chunk.append(query)
    if chunk:
        yield chunk


def _join(chunk: Sequence[str], label: str) -> str:
    """Each on lines of its own, so that a comment at its end hides nothing of ours."""
    return "\nor ".join(
        f'label_replace(\n{query}\n, "{label}", "{number}", "", "")' for number, query in enumerate(chunk)
    )


def _split(chunk: Sequence[str], label: str, found: Iterable[Series]) -> Answers:
    answers: dict[str, list[Series]] = {query: [] for query in chunk}
    for each in found:
        number = each.labels.get(label, "")
        if number.isdecimal() and int(number) < len(chunk):
            labels = {name: value for name, value in each.labels.items() if name != label}
            answers[chunk[int(number)]].append(Series(labels, each.points))
    return answers
