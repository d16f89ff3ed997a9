"""The one name that a bed's pods can look up."""

import pytest

from vgpu_e2e import helm_services

ADDRESS = bytes(map(int, helm_services.ADDRESS.split(".")))


def query(name: str, kind: int = 1) -> bytes:
    """A question as RFC 1035 lays it out, with the identification 0x1234."""
    labels = b"".join(bytes([len(each)]) + each.encode() for each in name.split("."))
    header = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"
    return header + labels + b"\x00" + kind.to_bytes(2) + b"\x00\x01"


@pytest.mark.parametrize("name", ["kubernetes.default.svc", "Kubernetes.default.svc.cluster.local"])
def test_the_api_servers_name_has_its_address(name: str) -> None:
    answer = helm_services.resolved(query(name))

    assert answer[:4] == b"\x12\x34\x81\x80"
    assert answer[6:8] == b"\x00\x01"
    assert answer.endswith(ADDRESS)


def test_it_has_no_address_of_another_family() -> None:
    answer = helm_services.resolved(query("kubernetes.default.svc", kind=28))

    assert answer[3] & 0x0F == 0
    assert answer[6:8] == b"\x00\x00"


def test_other_names_do_not_exist() -> None:
    answer = helm_services.resolved(query("example.com"))

    assert answer[3] & 0x0F == 3
    assert answer[6:8] == b"\x00\x00"
