import pytest

from vgpu_kube import objects, resources
from vgpu_kube.resources import LEASES, NODES, PODS, VGPU_CLAIMS, VGPU_NODES


def test_paths_follow_group_scope_and_subresource() -> None:
    assert PODS.path("default", "p", "binding") == "/api/v1/namespaces/default/pods/p/binding"
    assert PODS.path() == "/api/v1/pods"
    assert NODES.path(None, "gpu-1") == "/api/v1/nodes/gpu-1"
    assert LEASES.path("vgpu-system") == "/apis/coordination.k8s.io/v1/namespaces/vgpu-system/leases"
    assert (
        VGPU_NODES.path(name="gpu-1", subresource="status")
        == "/apis/vgpu.dev/v1alpha1/vgpunodes/gpu-1/status"
    )


def test_a_name_cannot_leave_its_place_in_the_path() -> None:
    assert NODES.path(name="../secrets?x") == "/api/v1/nodes/..%2Fsecrets%3Fx"


def test_kinds_and_groups_are_told_as_kubernetes_does() -> None:
    assert (VGPU_CLAIMS.api_version, str(VGPU_CLAIMS)) == ("vgpu.dev/v1alpha1", "vgpuclaims.vgpu.dev")
    assert (PODS.api_version, str(PODS)) == ("v1", "pods")


def test_every_constant_is_another_resource() -> None:
    found = [value for value in vars(resources).values() if isinstance(value, resources.Resource)]

    assert len({resource.path() for resource in found}) == len(found) >= 10


def test_versions_compare_as_numbers() -> None:
    assert objects.revision("10") > objects.revision("9")
    with pytest.raises(ValueError, match="expected a decimal resourceVersion, found 'x'"):
        objects.revision("x")
