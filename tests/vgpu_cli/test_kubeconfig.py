import base64
import json
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from vgpu_cli import kubeconfig, plugin
from vgpu_cli.faults import NoCluster
from vgpu_cli.kubeconfig import Login


def _write(
    path: Path, *, name: str = "one", user: Any = None, current: str | None = None, **cluster: Any
) -> str:
    document = {
        "clusters": [{"name": name, "cluster": {"server": f"https://{name}:6443/", **cluster}}],
        "users": [{"name": name, "user": user or {"token": name}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": f"ns-{name}"}}],
        "current-context": current if current is not None else name,
    }
    path.write_text(yaml.safe_dump(document))
    return str(path)


def _load(path: str | None, *, context: str | None = None, **environ: str) -> Login:
    return kubeconfig.load(path, context=context, environ=environ)


def test_the_current_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    login = _load(_write(tmp_path / "config"))

    assert (login.server, login.namespace, login.token) == ("https://one:6443", "ns-one", "one")


def test_several_files_are_one_and_the_first_of_equal_names_counts(tmp_path: Path) -> None:
    first = _write(tmp_path / "a", name="one", current="")
    second = _write(tmp_path / "b", name="two")
    third = _write(tmp_path / "c", name="one", user={"token": "late"})
    joined = f"{first}:{tmp_path / 'absent'}:{second}:{third}"

    assert _load(None, KUBECONFIG=joined).token == "two"
    assert _load(None, context="one", KUBECONFIG=joined).token == "one"


def test_files_that_are_named_lie_beside_the_kubeconfig(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_bytes(b"CA")
    (tmp_path / "token").write_text("fresh\n")
    path = _write(tmp_path / "config", user={"tokenFile": "token"}, **{"certificate-authority": "ca.pem"})

    login = _load(path)

    assert (login.authority, login.token) == (b"CA", "fresh")


def test_data_wins_over_files_and_is_decoded(tmp_path: Path) -> None:
    pair = {"client-certificate-data": base64.b64encode(b"CERT").decode(), "client-key": "/nowhere"}
    user = {**pair, "client-key-data": base64.b64encode(b"KEY").decode()}

    login = _load(_write(tmp_path / "config", user=user))

    assert (login.certificate, login.key) == (b"CERT", b"KEY")


def test_basic_authentication_becomes_a_header(tmp_path: Path) -> None:
    login = _load(_write(tmp_path / "config", user={"username": "a", "password": "b"}))

    assert login.headers == {"Authorization": "Basic YTpi"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("clusters: [", "expected a kubeconfig at"),
        ("- a\n", "found no mapping"),
        ("current-context: gone\n", "expected a context gone"),
        ("contexts: [{name: a, context: {cluster: b}}]\ncurrent-context: a\n", "expected a cluster b"),
    ],
)
def test_what_cannot_be_used_is_told_in_words(tmp_path: Path, text: str, sentence: str) -> None:
    path = tmp_path / "config"
    path.write_text(text)

    with pytest.raises(NoCluster, match=sentence):
        _load(str(path))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="absent, found none"):
        _load(str(tmp_path / "absent"))


def test_the_retired_provider_plugins_are_named(tmp_path: Path) -> None:
    with pytest.raises(NoCluster, match="retired auth-provider"):
        _load(_write(tmp_path / "config", user={"auth-provider": {"name": "gcp"}}))


def _plugin(tmp_path: Path, script: str) -> Login:
    path = tmp_path / "plugin.py"
    path.write_text(script)
    spec = {"command": sys.executable, "args": [str(path)], "env": [{"name": "WHO", "value": "me"}]}
    return _load(_write(tmp_path / "config", user={"exec": spec}))


def test_a_plugin_is_asked_and_its_token_used(tmp_path: Path) -> None:
    script = (
        "import json, os\n"
        "asked = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "assert asked['kind'] == 'ExecCredential'\n"
        "print(json.dumps({'status': {'token': 'for-' + os.environ['WHO']}}))\n"
    )

    assert plugin.resolved(_plugin(tmp_path, script)).token == "for-me"


@pytest.mark.parametrize("script", ["raise SystemExit(1)", "print('hello')", "print('{}')"])
def test_a_plugin_that_fails_is_named(tmp_path: Path, script: str) -> None:
    with pytest.raises(NoCluster, match="expected credentials from"):
        plugin.resolved(_plugin(tmp_path, script))


def test_a_login_without_a_plugin_stays_as_it_is() -> None:
    login = Login(server="https://one:6443", token="t")

    assert plugin.resolved(login) is login


def test_json_is_yaml_too(tmp_path: Path) -> None:
    path = tmp_path / "config"
    path.write_text(json.dumps(yaml.safe_load(Path(_write(tmp_path / "yaml")).read_text())))

    assert _load(str(path)).token == "one"
