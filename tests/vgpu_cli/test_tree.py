import json

from town import Run, Town, add_node, add_pool


def test_it_shows_pool_node_gpu_claim_and_pod(run: Run, settled: Town) -> None:
    answer = run("tree").output

    lines = [line.strip("│├└─ ") for line in answer.splitlines()]
    assert lines[0].startswith("pool a100")
    assert lines[1].startswith("gpu-0")
    assert lines[2].startswith("GPU 0")
    assert lines[3].startswith("team-a/llm  40 GiB/60 %  (20 GiB/40 % to 40 GiB/80 %)")
    assert lines[4] == "llm-0"


def test_the_bar_tells_promised_from_elastic_and_free(run: Run, settled: Town) -> None:
    card = next(line for line in run("tree").output.splitlines() if "GPU 0" in line)

    assert "█████▓▓▓▓▓░░░░░░░░░░" in card


def test_a_namespace_sees_the_gpus_on_which_it_holds_something(run: Run, settled: Town) -> None:
    answer = json.loads(run("tree", "-n", "team-a", "-o", "json").output)

    assert [device["uuid"] for node in answer[0]["nodes"] for device in node["devices"]] == ["GPU-gpu-0-0"]


def test_many_nodes_are_summed_up_unless_all_are_asked_for(run: Run, town: Town) -> None:
    add_pool(town)
    for index in range(40):
        add_node(town, f"gpu-{index:02}")

    assert "24 nodes more" in run("tree").output
    assert len(run("tree").output.splitlines()) < 25
    assert "GPU 1" in run("tree", "--node", "gpu-39").output
    assert "gpu-39" in run("tree", "--all-nodes").output
    assert "gpu-39" in run("tree", "--node", "gpu-39").output


def test_a_name_that_is_not_there_is_a_fault(run: Run, settled: Town) -> None:
    answer = run("tree", "--node", "gpu-9")

    assert answer.exit_code == 1
    assert "expected a node with GPUs gpu-9" in answer.output
