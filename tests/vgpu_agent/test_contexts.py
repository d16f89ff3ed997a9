"""What a context costs is told by processes whose slices hold nothing else that is unaccounted."""

import pathlib

import pytest

from vgpu import values
from vgpu_agent import audit, contexts
from vgpu_agent.devices import ProcessUse

MIB, GIB = values.MIB, values.GIB
PODS = {1: "a", 2: "b", 3: "b"}


def told(processes: dict[int, int | None], accounts: dict[str, int]) -> int | None:
    return contexts.told(
        [ProcessUse(pid=pid, memory_bytes=size) for pid, size in processes.items()],
        [
            audit.Holding(slice_id=pod, pod_uids=frozenset([pod]), used_bytes=used)
            for pod, used in accounts.items()
        ],
        pod_of=PODS.get,
    )


def test_a_context_costs_what_its_process_holds_beyond_the_account() -> None:
    assert told({1: 2 * GIB + 400 * MIB}, {"a": 2 * GIB}) == 400 * MIB


def test_the_smallest_is_believed_for_modules_come_on_top() -> None:
    assert told({1: 700 * MIB, 2: GIB + 400 * MIB}, {"a": 0, "b": GIB}) == 400 * MIB


@pytest.mark.parametrize(
    ("processes", "accounts"),
    [
        ({2: 400 * MIB, 3: 500 * MIB}, {"b": 0}),
        ({1: None}, {"a": 0}),
        ({1: 30 * GIB}, {"a": 0}),
        ({9: 400 * MIB}, {"a": 0}),
        ({}, {}),
    ],
    ids=["two processes", "the driver does not tell", "an escape", "no pod", "nobody"],
)
def test_what_cannot_be_told_is_not_guessed(
    processes: dict[int, int | None], accounts: dict[str, int]
) -> None:
    assert told(processes, accounts) is None


def learn(known: contexts.Contexts, size: int, *, accounted: int = 0) -> bool:
    processes = [ProcessUse(pid=1, memory_bytes=size)]
    holdings = [audit.Holding(slice_id="a", pod_uids=frozenset(["a"]), used_bytes=accounted)]
    return known.learn("GPU-0", processes, holdings, pod_of=PODS.get)


def test_a_cost_is_learned_once_and_known_after_a_restart(tmp_path: pathlib.Path) -> None:
    file = tmp_path / "contexts.json"
    before = contexts.Contexts(file)
    before.recall()

    assert [learn(before, 400 * MIB), learn(before, 300 * MIB)] == [True, False]

    after = contexts.Contexts(file)
    after.recall()
    assert after.costs == before.costs == {"GPU-0": 400 * MIB}


@pytest.mark.parametrize("kept", ['{"GPU-0": 4', "[]", '{"GPU-0": {}}'])
def test_a_damaged_memory_is_learned_anew(tmp_path: pathlib.Path, kept: str) -> None:
    file = tmp_path / "contexts.json"
    file.write_text(kept)
    known = contexts.Contexts(file)

    known.recall()

    assert learn(known, 400 * MIB)
    assert known.costs == {"GPU-0": 400 * MIB}


def test_a_cost_comes_down_by_what_a_process_was_charged_too_much(tmp_path: pathlib.Path) -> None:
    known = contexts.Contexts(tmp_path / "contexts.json")
    learn(known, 900 * MIB)

    assert not learn(known, GIB + 50 * MIB, accounted=GIB)
    assert learn(known, GIB + 400 * MIB, accounted=GIB + 900 * MIB)

    assert known.costs == {"GPU-0": 400 * MIB}


def test_nothing_beyond_the_account_teaches_nothing(tmp_path: pathlib.Path) -> None:
    known = contexts.Contexts(tmp_path / "contexts.json")

    assert not learn(known, GIB, accounted=GIB)
