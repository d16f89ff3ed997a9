"""What the pages tell people to type and to apply is what the platform takes, and what they name exists."""

import pathlib
import re
from collections.abc import Callable

import pytest
import yaml

from known import helm, kubectl, programs
from vgpu_docs import commands
from vgpu_docs.commands import ROOT, Command

KINDS: dict[str, Callable[[Command], None]] = {
    "kubectl": kubectl.check,
    "helm": helm.check,
    "make": programs.check_make,
    "python": programs.check_python,
    "python3": programs.check_python,
    "vgpu-region": programs.check_region,
    "docker": programs.check_docker,
    "curl": programs.check_curl,
    ".": programs.check_source,
}
SETTING = re.compile(r"--set(-file)?[ =]([A-Za-z.]+(?:=[^ ,\n`)]*)?(?:,[A-Za-z.]+=[^ ,\n`)]*)*)")
METRIC = re.compile(r"`(vgpu_[a-z_]+_(?:bytes|ratio|seconds|total|bucket|count|sum))\b")

NAMES_ITS_VERB_ONLY = 2


def is_whole(command: Command) -> bool:
    """Whether it can be typed, and is no name of a command such as `kubectl explain`."""
    bare = [word for word in command.words if not word.startswith("-")]
    return command.words[0] not in {"kubectl", "helm"} or len(bare) > NAMES_ITS_VERB_ONLY


by_page = pytest.mark.parametrize("page", commands.pages(), ids=lambda page: str(page.relative_to(ROOT)))


@by_page
def test_every_command_is_of_a_known_kind_and_would_be_taken(page: pathlib.Path) -> None:
    """Fenced ones all; in running text those of the programs that are known, where they are whole."""
    spoken_of = (each for each in commands.mentioned(page, KINDS.keys() - {"."}) if is_whole(each))
    for command in (*commands.fenced(page), *spoken_of):
        program = command.words[0]
        assert program in KINDS, (
            f"{command}: a check for {program} is missing in tests/vgpu_docs/known; add one"
        )
        try:
            KINDS[program](command)
        except Exception as error:  # whatever it is goes on, and says of which command
            error.add_note(str(command))
            raise


@by_page
def test_every_manifest_of_ours_is_accepted(page: pathlib.Path) -> None:
    for block in commands.blocks(page, "yaml"):
        for each in yaml.safe_load_all(block):
            if isinstance(each, dict) and each.get("kind") in kubectl.WHOLE:
                about = {"namespace": "team-a", "uid": "u-1", **each["metadata"]}
                kubectl.WHOLE[each["kind"]]({**each, "metadata": about})


@by_page
def test_every_value_of_the_chart_exists(page: pathlib.Path) -> None:
    for from_file, settings in SETTING.findall(page.read_text()):
        for setting in settings.split(","):
            helm.check_setting(setting, from_file=bool(from_file))


@by_page
def test_every_metric_exists(page: pathlib.Path) -> None:
    programs.check_metrics(" ".join(METRIC.findall(page.read_text())))


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("terraform apply", "a check for terraform is missing"),
        ("kubectl get vgpuslices", "no kind is called vgpuslices"),
        ("kubectl get vgc llm -o jsonpath='{.status.allocatd}'", "there is no .allocatd"),
        ("kubectl wait --for=condition=Done vgpuclaim/llm", "Done"),
        ("kubectl frobnicate pods", "verb frobnicate is not known"),
        ("kubectl get pods --all-the-things", "--all-the-things is not known"),
        ("kubectl -n vgpu-system logs -l app.kubernetes.io/name=vgpu-gone", "nothing is called vgpu-gone"),
        ("kubectl vgpu frob", "is no command"),
        ("helm install vgpu helm/vgpu --set agent.root=/x", "there is no value root"),
        ("helm install vgpu helm/vgpu --set admission.replicas=many", "expected"),
        ("make everything", "no target everything"),
        ("make bench-room COLOUR=red", "no variable COLOUR"),
        ("python -m vgpu_docs --chekc", "no option --chekc"),
        ("vgpu-region DIR explode", "no command explode"),
        ("docker build --build-arg RUBY=3 .", "no ARG RUBY"),
        ("curl $GATEWAY/default/llm/inferr", "answers no /inferr"),
    ],
)
def test_a_command_that_would_not_work_is_found(words: str, complaint: str, tmp_path: pathlib.Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"```bash\n{words}\n```\n")

    with pytest.raises(AssertionError, match=re.escape(complaint)):
        test_every_command_is_of_a_known_kind_and_would_be_taken(page)
