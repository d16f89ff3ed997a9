import json
from pathlib import Path

import pytest
import yaml

from town import Run, Town, amounts

CLAIM = {
    "apiVersion": "vgpu.dev/v1alpha1",
    "kind": "VGPUClaim",
    "metadata": {"name": "llm"},
    "spec": {
        "resources": {"requests": amounts("30Gi", 20), "limits": amounts("60Gi", 100)},
        "scaling": {"maxReplicas": 4, "targetRef": {"kind": "Deployment", "name": "llm"}},
    },
}


@pytest.fixture
def load(tmp_path: Path) -> str:
    path = tmp_path / "rates.csv"
    path.write_text("0,5\n100,60\n200,5\n300,5\n")
    return str(path)


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "claim.yaml"
    path.write_text(yaml.safe_dump(CLAIM))
    return str(path)


def test_it_answers_first_and_states_what_it_assumes(run: Run, load: str, manifest: str) -> None:
    answer = run("simulate", load, "-f", manifest, "--cost", "2")

    assert answer.exit_code == 0
    assert "of 400 seconds late" in answer.output.splitlines()[0]
    assert "Assumed:" in answer.output


def test_json_has_every_second_and_decision(run: Run, load: str, manifest: str) -> None:
    answer = json.loads(run("simulate", load, "-f", manifest, "--cost", "2", "-o", "json").output)

    assert len(answer["seconds"]) == 400
    assert any(each["action"] == "ScaleUp" for each in answer["decisions"])
    assert answer["outcome"]["gpuHours"] > 0


def test_the_claim_may_be_one_of_the_cluster(run: Run, settled: Town, load: str) -> None:
    assert run("simulate", load, "--claim", "llm", "--curve", "20=8,40=20,80=30").exit_code == 0


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("--cost", "2", "--curve", "10=1"),
        ("--curve", "10:1"),
        ("--curve", "a=b"),
        ("--cost", "0"),
        ("--cost", "2", "--interval", "0"),
    ],
)
def test_contradictory_assumptions_are_wrong_usage(
    run: Run, load: str, manifest: str, words: tuple[str, ...]
) -> None:
    assert run("simulate", load, "-f", manifest, *words).exit_code == 2


def test_a_file_that_is_no_load_or_no_claim_is_a_fault(
    run: Run, tmp_path: Path, load: str, manifest: str
) -> None:
    broken = tmp_path / "broken"
    broken.write_text("many\nfew\n")
    bare = tmp_path / "bare.yaml"
    bare.write_text("kind: VGPUClaim\nspec: {}\n")

    assert run("simulate", str(broken), "-f", manifest, "--cost", "2").exit_code == 1
    assert run("simulate", load, "-f", load, "--cost", "2").exit_code == 1
    assert run("simulate", load, "-f", str(bare), "--cost", "2").exit_code == 1
