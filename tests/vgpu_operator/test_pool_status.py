"""What a pool says about itself."""

from typing import Any

import builders as make
from vgpu import values
from vgpu.api.conditions import Condition, PoolCondition, Reason, Status
from vgpu_operator import pool_status
from vgpu_operator.membership import Totals

TOTALS = Totals(nodes=2, devices=4, capacity=make.amounts(320, 400), largest_bytes=80 * values.GIB)


def facts(**given: Any) -> pool_status.Facts:
    """A pool of two nodes in good order, but for what is given."""
    usual: dict[str, Any] = {
        "pool": make.pool(),
        "totals": TOTALS,
        "silent": (),
        "overlaps": {},
        "used": {},
        "bound": 0,
        "pending": 0,
        "slices": 0,
        "deleting": False,
    }
    return pool_status.Facts(**{**usual, **given})


def says(kind: PoolCondition, given: pool_status.Facts) -> Condition:
    (found,) = [each for each in pool_status.conditions_of(given) if each.type is kind]
    return found


def test_a_pool_in_good_order_is_ready_and_current() -> None:
    told = pool_status.conditions_of(facts())

    assert [(each.type, each.status, each.reason) for each in told] == [
        (PoolCondition.INVENTORY_CURRENT, Status.TRUE, Reason.AGENTS_REPORTING),
        (PoolCondition.READY, Status.TRUE, Reason.DEVICES_READY),
    ]


def test_the_fields_count_nodes_devices_claims_and_what_is_promised_and_held() -> None:
    given = facts(used={"team-a": make.amounts(16, 25), "team-b": make.amounts(8, 10)}, bound=2, pending=1)

    fields = pool_status.fields(given)

    assert (fields["nodeCount"], fields["deviceCount"]) == (2, 4)
    assert fields["claims"] == {"bound": 2, "pending": 1}
    assert fields["capacity"] == {"memory": "320Gi", "computePercent": 400}
    assert fields["allocated"] == {"memory": "24Gi", "computePercent": 35}


def test_every_namespace_with_a_quota_or_a_slice_is_listed_with_what_it_borrows() -> None:
    quota = values.Quota(nominal=make.amounts(10, 100))
    pool = make.pool(quotas={"team-a": quota, "team-c": quota})
    used = {"team-a": make.amounts(16, 25), "team-b": make.amounts(8, 10), "gone": values.NOTHING}

    quotas = pool_status.fields(facts(pool=pool, used=used))["quotas"]

    assert quotas == [
        {
            "namespace": "team-a",
            "used": {"memory": "16Gi", "computePercent": 25},
            "borrowed": {"memory": "6Gi", "computePercent": 0},
        },
        {
            "namespace": "team-b",
            "used": {"memory": "8Gi", "computePercent": 10},
            "borrowed": {"memory": "0", "computePercent": 0},
        },
        {
            "namespace": "team-c",
            "used": {"memory": "0", "computePercent": 0},
            "borrowed": {"memory": "0", "computePercent": 0},
        },
    ]


def test_an_agent_is_silent_after_three_minutes_or_without_any_report() -> None:
    beats = {"fresh": 820.0, "late": 819.0, "never": None}

    assert pool_status.silent_nodes(beats, now=1000.0) == ("late", "never")


def test_one_silent_agent_is_named_and_leaves_the_pool_ready() -> None:
    given = facts(silent=("gpu-1",))

    current, ready = says(PoolCondition.INVENTORY_CURRENT, given), says(PoolCondition.READY, given)

    assert (current.status, current.reason) == (Status.FALSE, Reason.AGENTS_SILENT)
    assert "node gpu-1" in current.message
    assert ready.status is Status.TRUE


def test_a_pool_whose_agents_are_all_silent_is_not_ready() -> None:
    ready = says(PoolCondition.READY, facts(silent=("gpu-0", "gpu-1")))

    assert (ready.status, ready.reason) == (Status.FALSE, Reason.AGENTS_SILENT)


def test_a_pool_that_selects_nothing_says_what_to_compare() -> None:
    told = pool_status.conditions_of(facts(totals=Totals()))

    assert {each.reason for each in told} == {Reason.NO_NODES}
    assert "nodeSelector" in told[0].message


def test_a_pool_without_a_healthy_device_is_not_ready() -> None:
    ready = says(PoolCondition.READY, facts(totals=Totals(nodes=1, devices=2)))

    assert (ready.status, ready.reason) == (Status.FALSE, Reason.NO_DEVICES)


def test_pools_that_select_the_same_device_name_each_other() -> None:
    ready = says(PoolCondition.READY, facts(overlaps={"h100": 2}))

    assert (ready.status, ready.reason) == (Status.FALSE, Reason.POOLS_OVERLAP)
    assert ready.message.startswith("pool h100 also selects up to 2 GPUs of this pool")


def test_a_pool_being_deleted_says_how_many_slices_hold_it() -> None:
    ready = says(PoolCondition.READY, facts(deleting=True, slices=3))

    assert (ready.status, ready.reason) == (Status.FALSE, Reason.DELETING)
    assert ready.message == ("being deleted, waits for its last slice to be released (3 slices held now)")
