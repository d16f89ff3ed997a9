import pytest

from vgpu_kube import selectors
from vgpu_kube.objects import Object

POD: Object = {
    "metadata": {"name": "p", "namespace": "team-a", "labels": {"app": "llm", "vgpu.dev/claim": "c"}},
    "spec": {"nodeName": "gpu-1"},
    "status": {"phase": "Running"},
}


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (None, True),
        ("", True),
        ("app", True),
        ("!app", False),
        ("other", False),
        ("! other", True),
        ("app=llm", True),
        ("app==llm", True),
        ("app = llm", True),
        ("app!=llm", False),
        ("other!=llm", True),
        ("app in (a, llm)", True),
        ("app notin (a,llm)", False),
        ("other notin (a)", True),
        ("other in (a)", False),
        ("app in (llm),vgpu.dev/claim=c,!x", True),
        ("app in (llm),vgpu.dev/claim=d", False),
    ],
)
def test_label_selectors_mean_what_kubernetes_says(labels: str | None, expected: bool) -> None:
    assert selectors.selects(POD, labels=labels) is expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ("metadata.name=p", True),
        ("spec.nodeName=gpu-1,status.phase!=Failed", True),
        ("spec.nodeName=", False),
        ("spec.schedulerName=", True),
        ("metadata.namespace!=team-a", False),
    ],
)
def test_field_selectors_compare_what_stands_at_a_path(fields: str, expected: bool) -> None:
    assert selectors.selects(POD, fields=fields) is expected


@pytest.mark.parametrize("labels", ["app=(", "a b", "=x", "app in llm", ","])
def test_a_label_selector_that_is_none_is_refused(labels: str) -> None:
    with pytest.raises(ValueError, match="expected a selector"):
        selectors.selects(POD, labels=labels)


def test_a_field_selector_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a field selector"):
        selectors.selects(POD, fields="metadata.name")
