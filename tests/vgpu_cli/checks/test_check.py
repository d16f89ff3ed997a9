import json

from town import Run, Town
from vgpu_cli.checks import steps


def test_faults_end_with_1_and_every_one_has_a_remedy(run: Run, town: Town) -> None:
    answer = run("check", "-o", "json")

    findings = json.loads(answer.output)
    assert answer.exit_code == 1
    assert all(each["remedy"] for each in findings if each["verdict"] == "Fault")


def test_every_step_is_told_of(run: Run, town: Town) -> None:
    answer = run("check").output

    for name, _ in steps.STEPS:
        assert name in answer
    assert "faults found" in answer
