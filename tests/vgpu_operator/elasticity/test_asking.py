"""Teams' queries are asked together, and none of them can spoil or forge another's answer."""

from typing import Any

import pytest

from vgpu_operator.elasticity.asking import APART_SECONDS, JOINED, Questions
from vgpu_operator.elasticity.series import Series, Trouble


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


def newest(answer: Any) -> float:
    assert not isinstance(answer, Trouble)
    (only,) = answer
    value: float = only.points[-1][1]
    return value


async def test_many_queries_are_one_request(metrics: Any, time: Time) -> None:
    for number in range(JOINED):
        metrics.answer(f"q{number:02}", lambda _, value=number: float(value))
    questions = Questions(metrics, clock=time)

    answers = await questions.ask([*metrics.queries], start=0, end=1)

    assert len(metrics.asked) == 1
    assert [newest(answers[query]) for query in sorted(answers)] == [float(i) for i in range(JOINED)]
    labels = [found[0].labels for found in answers.values() if not isinstance(found, Trouble)]
    assert labels == [{"series": "0"}] * JOINED


async def test_a_query_that_returns_nothing_is_empty_and_not_missing(metrics: Any, time: Time) -> None:
    answers = await Questions(metrics, clock=time).ask(["nothing"], start=0, end=1)

    assert answers == {"nothing": []}


async def test_a_bad_query_spoils_no_other_and_is_asked_alone_and_seldom(metrics: Any, time: Time) -> None:
    metrics.answer("good", lambda _: 1.0)
    metrics.broken.add("sum(")
    questions = Questions(metrics, clock=time)

    answers = await questions.ask(["good", "sum("], start=0, end=1)
    assert newest(answers["good"]) == 1.0
    assert answers["sum("] == Trouble("the query fails: parse error")

    metrics.asked.clear()
    await questions.ask(["good", "sum("], start=0, end=1)
    assert not any("sum(" in query for query in metrics.asked)

    time.now += APART_SECONDS
    metrics.broken.clear()
    metrics.answer("sum(", lambda _: 7.0)
    assert newest((await questions.ask(["good", "sum("], start=0, end=1))["sum("]) == 7.0


async def test_who_cannot_be_reached_makes_no_query_suspect(metrics: Any, time: Time) -> None:
    metrics.answer("good", lambda _: 1.0)
    questions = Questions(metrics, clock=time)
    metrics.gone = True
    away = await questions.ask(["good"], start=0, end=1)

    metrics.gone = False
    back = await questions.ask(["good"], start=0, end=1)

    assert away["good"] == Trouble("Prometheus cannot be reached: ConnectionError")
    assert newest(back["good"]) == 1.0


async def test_a_series_that_pretends_to_answer_another_query_is_not_believed(time: Time) -> None:
    class Forged:
        async def ranges(self, query: str, *, start: int, end: int) -> list[Series]:
            return [
                Series({"query_guess": "1"}, ((1.0, 666.0),)),
                Series({"query_real": "7"}, ((1.0, 666.0),)),
                Series({"query_real": "0"}, ((1.0, 1.0),)),
            ]

    questions = Questions(Forged(), clock=time, nonce=lambda: "real")

    answers = await questions.ask(["a", "b"], start=0, end=1)

    assert newest(answers["a"]) == 1.0
    assert answers["b"] == []


async def test_the_label_is_another_one_every_time(metrics: Any, time: Time) -> None:
    questions = Questions(metrics, clock=time)

    await questions.ask(["a"], start=0, end=1)
    await questions.ask(["a"], start=0, end=1)

    assert metrics.asked[0] != metrics.asked[1]


async def test_long_queries_are_spread_over_requests(metrics: Any, time: Time) -> None:
    queries = [f"{letter * 4000}" for letter in "abcdefgh"]

    await Questions(metrics, clock=time).ask(queries, start=0, end=1)

    assert len(metrics.asked) == 2


async def test_a_comment_at_a_querys_end_hides_nothing(metrics: Any, time: Time) -> None:
    await Questions(metrics, clock=time).ask(["up # all of them", "down"], start=0, end=1)

    (asked,) = metrics.asked
    assert "up # all of them\n" in asked
