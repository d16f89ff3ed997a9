from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import builders
from builders import amounts
from vgpu import enforcement, values

GIB = values.GIB
DEVICES = {f"GPU-{index}": enforcement.Facts(memory_bytes=80 * GIB) for index in range(2)}
SLICE = builders.slice_(
    uuids=("GPU-1", "GPU-0"), allocated=amounts(24, 60), limits=amounts(40, 80), revision=7
)


def test_a_slice_is_limited_on_each_device_in_the_ledgers_order() -> None:
    found = enforcement.limits(SLICE, DEVICES)

    assert not isinstance(found, enforcement.Refused)
    assert [each.device_uuid for each in found] == ["GPU-1", "GPU-0"]
    assert {each.memory_bytes for each in found} == {24 * GIB}
    assert {each.memory_ceiling_bytes for each in found} == {40 * GIB}
    assert {(each.compute_percent, each.compute_ceiling_percent) for each in found} == {(60, 80)}
    assert {each.revision for each in found} == {7}


@pytest.mark.parametrize(
    ("devices", "said"),
    [
        ({"GPU-1": DEVICES["GPU-1"]}, "GPU-0 is not among"),
        ({**DEVICES, "GPU-0": enforcement.Facts(memory_bytes=16 * GIB)}, "has 16 GiB"),
        (
            {
                **DEVICES,
                "GPU-0": enforcement.Facts(
                    memory_bytes=80 * GIB,
                    isolation=values.Isolation(memory=values.MemoryIsolation.NONE),
                ),
            },
            "isolation.memory: None",
        ),
        (
            {
                **DEVICES,
                "GPU-0": enforcement.Facts(
                    memory_bytes=80 * GIB,
                    isolation=values.Isolation(compute=values.ComputeIsolation.NONE),
                ),
            },
            "isolation.compute: None",
        ),
    ],
)
def test_a_slice_is_refused_whole_where_one_device_cannot_hold_it(
    devices: dict[str, enforcement.Facts], said: str
) -> None:
    found = enforcement.limits(SLICE, devices)

    assert isinstance(found, enforcement.Refused)
    assert said in found.message


def test_what_is_in_use_within_the_limit_is_reported_as_applied() -> None:
    found = enforcement.report(SLICE, [3 * GIB, 24 * GIB])

    assert found == values.Enforced(memory_bytes=24 * GIB, compute_percent=60, revision=7)


def test_memory_still_held_above_the_limit_is_reported_until_it_is_freed() -> None:
    found = enforcement.report(SLICE, [30 * GIB + 1, 0])

    assert found.state is values.EnforcementState.SHRINKING
    assert found.memory_bytes == 30 * GIB + enforcement.REPORT_STEP_BYTES
    assert "gets no more" in found.message
    assert found.revision == 7


def test_an_applications_own_reason_is_told_while_it_holds_too_much() -> None:
    holding = enforcement.report(SLICE, [30 * GIB], says="3 requests in flight")
    freed = enforcement.report(SLICE, [GIB], says="3 requests in flight")

    assert holding.message.endswith("; it says: 3 requests in flight")
    assert freed.message == ""


def test_a_refusal_reports_what_was_in_force_before() -> None:
    before = builders.enforced(16, revision=3)

    found = enforcement.refused(SLICE, enforcement.Refused(message="no"), before)

    assert (found.memory_bytes, found.revision, found.message) == (16 * GIB, 3, "no")
    assert found.state is values.EnforcementState.REFUSED


def test_devices_that_promise_more_memory_than_they_have_are_named() -> None:
    crowd = [builders.slice_(id_, uuids=("GPU-0",), allocated=amounts(50, 10)) for id_ in ("a", "b")]

    notes = enforcement.crowded([*crowd, SLICE], DEVICES)

    assert list(notes) == ["GPU-0"]
    assert "124 GiB are allocated on GPU-0, which has 80 GiB" in notes["GPU-0"]


@given(
    asked=st.lists(st.tuples(st.integers(1, 100), st.integers(0, 3), st.integers(1, 3)), max_size=8),
    granted=st.lists(st.integers(0, 40), min_size=8, max_size=8),
)
def test_no_growth_takes_a_device_over_its_bound_and_nobody_loses_what_is_in_force(
    asked: list[tuple[int, int, int]], granted: list[int]
) -> None:
    """Whatever stands in the ledger; what is in force may be over the bound already, and stays."""
    slices = [
        builders.slice_(
            str(n), uuids=[("GPU-0",), ("GPU-1",), ("GPU-0", "GPU-1")][which - 1], allocated=amounts(gib, 10),
            limits=amounts(100, 10), revision=revision,
        )
        for n, (gib, revision, which) in enumerate(asked)
    ]  # fmt: skip
    in_force = {each.id: granted[n] * GIB for n, each in enumerate(slices)}

    found = enforcement.verdicts(slices, DEVICES, in_force)

    for uuid in DEVICES:
        mine = [each for each in slices if uuid in each.device_uuids]
        before = sum(in_force[each.id] for each in mine)
        after = sum(
            in_force[each.id]
            if isinstance(found[each.id], enforcement.Refused)
            else each.allocated.memory_bytes
            for each in mine
        )
        assert after <= max(80 * GIB, before)
    for each in slices:
        if each.allocated.memory_bytes <= in_force[each.id]:
            assert not isinstance(found[each.id], enforcement.Refused)


def test_slices_within_what_a_pool_promises_of_a_device_are_limited_as_they_are_alone() -> None:
    promising = {uuid: replace(facts, promised_bytes=100 * GIB) for uuid, facts in DEVICES.items()}
    crowd = [builders.slice_(id_, uuids=("GPU-0",), allocated=amounts(50, 10)) for id_ in ("a", "b")]

    found = enforcement.verdicts(crowd, promising, {})

    assert found == {each.id: enforcement.limits(each, promising) for each in crowd}


@given(used=st.integers(0, 200 * GIB), allocated=st.integers(0, 80 * GIB))
def test_a_report_never_hides_memory_in_use(used: int, allocated: int) -> None:
    entry = builders.slice_(
        allocated=values.Amounts(memory_bytes=allocated, compute_percent=10), limits=amounts(80, 100)
    )

    found = enforcement.report(entry, [used])

    assert found.memory_bytes >= max(used, allocated)
    assert found.memory_bytes < max(used + enforcement.REPORT_STEP_BYTES, allocated + 1)
