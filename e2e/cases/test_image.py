"""The image: its recipe is pinned and ends without root, and what it installs answers. Without Docker."""

import os
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from vgpu_e2e import helm, helm_image
from vgpu_e2e.platform import REPOSITORY
from vgpu_e2e.rest import Object

RECIPE = (REPOSITORY / "Dockerfile").read_text()
FIRST, LAST = (part.splitlines() for part in re.split(r"^FROM ", RECIPE, flags=re.MULTILINE)[1:])
IGNORED = (REPOSITORY / ".dockerignore").read_text().splitlines()
PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
PINS = [
    line.split("==") for line in (REPOSITORY / "constraints.txt").read_text().splitlines() if "==" in line
]
KUBE_SCHEDULER = {"scheduler.kubeScheduler.image": "kube-scheduler:v1.36.4", "hami.aliases": True}


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scratch directory into which both steps have installed."""
    if shutil.which("make") is None or shutil.which("cc") is None:
        pytest.skip("the image is built with make and cc, as in its first stage")
    made = tmp_path_factory.mktemp("image") / "vgpu"
    helm_image.install(made)
    return made


def inside(home: Path, *arguments: str) -> str:
    """What a program of the image prints, with nothing of this machine's environment."""
    found = {"PATH": str(home / "bin"), "LD_LIBRARY_PATH": os.environ.get("LD_LIBRARY_PATH", "")}
    done = subprocess.run(
        arguments, capture_output=True, text=True, check=False, env=found, cwd="/", timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def workloads() -> list[Object]:
    """The pods of the chart that run without rights on their node, and the agent's."""
    made = [
        each
        for each in helm.render(values=KUBE_SCHEDULER)
        if each["kind"] in ("Deployment", "DaemonSet", "Job")
    ]
    return [each["spec"]["template"]["spec"] for each in made]


def modules() -> set[str]:
    """What the chart runs from the image: python -m MODULE."""
    commands = [each["command"] for pod in workloads() for each in pod["containers"]]
    return {words[2] for words in commands if words[:2] == ["python", "-m"]}


def test_every_base_has_a_version_and_python_is_one_that_the_project_takes() -> None:
    bases = re.findall(r"^ARG PYTHON=(\S+)$", RECIPE, re.MULTILINE)
    taken = re.findall(r"^FROM (\S+)", RECIPE, re.MULTILINE)

    assert taken == ["${PYTHON}", "${PYTHON}"]
    [version] = [re.fullmatch(r"python:(\d+)\.(\d+)-slim", each) for each in bases]
    assert version is not None
    assert f">={version[1]}.{version[2]}" == PROJECT["requires-python"]


def plain(name: str) -> str:
    """A distribution's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_is_pinned_and_so_is_what_builds_the_package() -> None:
    named = {plain(re.split(r"[\[<>=~!; ]", each)[0]) for each in PROJECT["dependencies"]}

    assert named | {"hatchling"} <= {plain(name) for name, _ in PINS}


def test_nothing_is_installed_at_another_version_than_the_pinned_one(home: Path) -> None:
    """What dependencies bring along counts too: so every build gives the same."""
    script = "import importlib.metadata as m; print(*(f'{d.name}=={d.version}' for d in m.distributions()))"
    found = {
        plain(name): version
        for name, version in (
            each.split("==") for each in inside(home, str(home / "bin" / "python"), "-c", script).split()
        )
    }
    pinned = {plain(name): re.split(r"[ ;#]", version)[0] for name, version in PINS}

    assert found.pop(plain(PROJECT["name"])) == PROJECT["version"]
    assert {name: version for name, version in found.items() if pinned.get(name) != version} == {}


def test_the_last_stage_only_takes_over_and_ends_without_root() -> None:
    steps = [line.split()[0] for line in LAST[1:] if line and not line.startswith((" ", "#"))]
    users = {pod["securityContext"]["runAsUser"] for pod in workloads() if not pod.get("hostPID")}

    assert steps == ["COPY", "ENV", "USER"]
    assert {f"USER {user}:{user}" for user in users} == {LAST[-1]}


def test_the_image_is_made_by_the_steps_that_the_test_bed_takes() -> None:
    for step in ("dependencies", "platform"):
        assert f"RUN {helm_image.INSTALL} {step} {helm_image.HOME}" in FIRST
    assert os.access(REPOSITORY / helm_image.INSTALL, os.X_OK)


def test_the_images_build_sees_every_package_and_all_that_is_copied() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    seen = {line[1:] for line in IGNORED if line[:1] == "!"}
    copied = [source for line in FIRST if line.startswith("COPY ") for source in line.split()[1:-1]]

    assert {each.split("/")[0] for each in packages} <= seen
    assert {each.split("/")[0] for each in copied} - {"."} <= seen
    assert {"constraints.txt", PROJECT["readme"], "Makefile"} <= seen


def test_a_step_that_is_none_is_refused_in_words() -> None:
    done = subprocess.run(
        [REPOSITORY / helm_image.INSTALL, "everything", "/nowhere"],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (2, "expected dependencies or platform, found everything\n")


def test_what_is_installed_answers_without_the_working_tree(home: Path) -> None:
    python = str(home / "bin" / "python")

    for module in sorted(modules()):
        assert inside(home, python, "-m", module, "--help").startswith(f"Usage: python -m {module} ")
    for command in ("kubectl-vgpu", "vgpu-region"):
        assert "Usage:" in inside(home, str(home / "bin" / command), "--help")
    place = "import vgpu, vgpu_shim.library; print(vgpu.__file__, vgpu_shim.library.__file__)"
    assert all(each.startswith(str(home)) for each in inside(home, python, "-c", place).split())


def test_shim_and_kernel_are_in_the_image_and_no_installer_is(home: Path) -> None:
    [packages] = home.glob("lib/python3*/site-packages")

    assert (packages / "vgpu_shim" / "libvgpu.so").read_bytes()[:4] == b"\x7fELF"
    assert (packages / "vgpu" / "placement" / "_kernel.so").exists()
    assert not (packages / "pip").exists()
    assert len(modules()) == 6
