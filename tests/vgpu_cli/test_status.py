import json

import yaml

from town import Run, Town, add_claim, add_pool, condition


def test_it_shows_how_full_each_pool_is_and_who_waits(run: Run, settled: Town) -> None:
    answer = run("status", "-A")

    assert answer.exit_code == 0
    assert "a100 (default)" in answer.output
    assert "40 GiB of 320 GiB" in answer.output
    assert "team-b/embed" in answer.output
    assert "40 GiB/40 % asked" in answer.output
    assert "1 claim ready in all namespaces" in answer.output


def test_without_a_flag_the_claims_are_those_of_the_contexts_namespace(run: Run, settled: Town) -> None:
    assert "team-b/embed" not in run("status").output
    assert "team-b/embed" in run("status", "-n", "team-b").output
    assert "team-b/embed" in run("-n", "team-b", "status").output


def test_json_keeps_its_keys_and_counts_in_base_units(run: Run, settled: Town) -> None:
    answer = json.loads(run("status", "-A", "-o", "json").output)

    assert answer["pools"][0]["capacity"] == {"memoryBytes": 320 * 2**30, "computePercent": 400}
    assert answer["pools"][0]["promised"] == {"memoryBytes": 20 * 2**30, "computePercent": 40}
    assert answer["claims"]["ready"] == 1
    assert answer["claims"]["notReady"][0]["reason"] == "WaitingForQuota"
    assert yaml.safe_load(run("status", "-A", "-o", "yaml").output) == answer


def test_a_pool_in_trouble_says_why(run: Run, town: Town) -> None:
    silent = condition("InventoryCurrent", "False", "AgentsSilent", "no report for 180 s from node gpu-1")
    add_pool(town, conditions=[condition("Ready", "True", "DevicesReady"), silent])

    assert "! pool a100: AgentsSilent: no report for 180 s from node gpu-1" in run("status").output


def test_thousands_of_waiting_claims_are_counted_and_not_listed(run: Run, town: Town) -> None:
    add_pool(town)
    for index in range(200):
        add_claim(town, f"claim-{index:03}", "team-a", reason="NoFit", message="no device has room")

    answer = run("status").output

    assert answer.count("no device has room") == 20
    assert "not shown: 180 NoFit" in answer


def test_an_empty_cluster_is_told_what_to_do(run: Run) -> None:
    answer = run("status")

    assert answer.exit_code == 0
    assert "kubectl vgpu check" in answer.output
