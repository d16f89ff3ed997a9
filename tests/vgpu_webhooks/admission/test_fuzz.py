"""Whatever is sent in place of any part of an object, the answer is a verdict."""

import asyncio
import copy
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgpu_kube.testing import Cluster
from vgpu_webhooks.admission import answers, app
from vgpu_webhooks.admission.review import Review, Verdict
from vgpu_webhooks.admission.view import ClusterView

POD = {
    "metadata": {"labels": {"vgpu.dev/claim": "llm"}, "annotations": {"a": "b"}},
    "spec": {
        "schedulerName": "default-scheduler",
        "nodeName": "",
        "containers": [
            {
                "name": "c",
                "env": [{"name": "A", "value": "b"}],
                "resources": {"limits": {"cpu": "1"}, "requests": {}},
                "securityContext": {"privileged": False, "capabilities": {"add": ["KILL"]}},
                "volumeMounts": [{"name": "v", "mountPath": "/data"}],
                "volumeDevices": [{"name": "w", "devicePath": "/dev/x"}],
            }
        ],
        "initContainers": [{"name": "i"}],
        "volumes": [{"name": "v", "hostPath": {"path": "/data"}}, {"name": "w", "csi": {"driver": "x"}}],
    },
}
CLAIM = {
    "metadata": {"name": "llm", "namespace": "team-a"},
    "spec": {
        "poolName": "a100",
        "deviceCount": 1,
        "resources": {"requests": {"memory": "1Gi", "computePercent": 1}, "limits": {"memory": "2Gi"}},
    },
}
POOL = {
    "metadata": {"name": "a100", "annotations": {"vgpu.dev/is-default-pool": "true"}},
    "spec": {
        "nodeSelector": {
            "matchLabels": {"a": "b"},
            "matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}],
        }
    },
}
EXAMPLES = {"pods": POD, "vgpuclaims": CLAIM, "vgpupools": POOL}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=8), inner, max_size=2),
    max_leaves=4,
)


def places(found: Any, here: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of a JSON value."""
    yield here
    inner = found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ()
    for key, value in inner:
        yield from places(value, (*here, key))


def replaced(found: Any, path: tuple[Any, ...], value: Any) -> Any:
    """A copy with another value at a path."""
    if not path:
        return value
    changed = copy.copy(found)
    changed[path[0]] = replaced(found[path[0]], path[1:], value)
    return changed


@pytest.mark.parametrize("webhook", app.WEBHOOKS, ids=lambda each: each.path)
@settings(deadline=None)
@given(data=st.data())
def test_any_part_may_be_anything(webhook: app.Webhook, data: st.DataObject) -> None:
    example = EXAMPLES[webhook.plural]
    path = data.draw(st.sampled_from([place for place in places(example) if place]))
    asked = Review(
        uid="u",
        creates=data.draw(st.booleans()),
        namespace="team-a",
        object=replaced(example, path, data.draw(anything)),
        old_object={},
    )

    verdict = asyncio.run(answers.decide(webhook.answer, ClusterView(Cluster()), asked))

    assert isinstance(verdict, Verdict)
    assert verdict.allowed or verdict.message
