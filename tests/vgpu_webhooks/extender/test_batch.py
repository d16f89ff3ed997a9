"""Decisions on one node share a write and do not hurt one another."""

import pytest

import builders as make
from vgpu import ledger, values
from vgpu_webhooks.extender import batch

POOL = make.pool()


def hold(pod: str, memory: float = 30) -> batch.Ask:
    request = make.request(pod, requests=make.amounts(memory, 10))
    return batch.Ask(decide=lambda node: ledger.hold(POOL, node, request, ("GPU-node-0",)), point="slice")


def test_each_decision_counts_on_what_those_before_it_have_taken() -> None:
    asks = [hold("a"), hold("b"), hold("c")]

    change, writing = batch.fold(make.node(revision=7), asks)

    assert set(change.put) == {"a", "b"}
    assert change.revision == 7
    assert writing == asks[:2]
    refusal = asks[2].result()
    assert refusal is not None
    assert refusal.reason is values.Reason.NO_FIT


def test_a_decision_that_has_nothing_to_write_is_settled_at_once() -> None:
    ask = batch.Ask(decide=lambda node: ledger.release(node, ["stranger"]), point="release")

    change, writing = batch.fold(make.node(), [ask])

    assert change.empty
    assert writing == []
    assert ask.result() is None


def test_a_decision_that_fails_leaves_the_others_alone() -> None:
    def fails(_: values.Node) -> ledger.Change:
        raise LookupError("no such claim")

    broken = batch.Ask(decide=fails, point="slice")

    change, writing = batch.fold(make.node(), [broken, hold("a")])

    assert set(change.put) == {"a"}
    assert len(writing) == 1
    with pytest.raises(LookupError):
        broken.result()
