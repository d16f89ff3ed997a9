"""The certificate's life: made once, left alone while it lasts, renewed without a moment of distrust."""

import base64
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509

from vgpu_kube import errors
from vgpu_kube.objects import Object
from vgpu_kube.resources import DEPLOYMENTS, Resource
from vgpu_kube.testing import Cluster
from vgpu_webhooks.certificates import authority, keeping

NAMESPACE = "vgpu-system"
HOST = "vgpu-admission.vgpu-system.svc"
START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster()
    made.add(DEPLOYMENTS, {"metadata": {"name": keeping.SERVICE}}, NAMESPACE)
    for resource in keeping.REGISTRATIONS:
        webhooks: list[Object] = [
            {"name": name, "clientConfig": {"service": {}}} for name in ("pods", "claims")
        ]
        made.add(resource, {"metadata": {"name": keeping.SERVICE}, "webhooks": webhooks})
    return made


def secret(cluster: Cluster) -> dict[str, Any]:
    [found] = cluster.objects(keeping.SECRETS)
    return found


def file(cluster: Cluster, name: str) -> bytes:
    return base64.b64decode(secret(cluster)["data"][name])


def trusted(cluster: Cluster, resource: Resource) -> set[bytes]:
    [registration] = cluster.objects(resource)
    return {base64.b64decode(each["clientConfig"]["caBundle"]) for each in registration["webhooks"]}


def signatures(bundle: bytes) -> set[bytes]:
    """What tells the certificates of a bundle apart."""
    return {each.signature for each in x509.load_pem_x509_certificates(bundle)}


async def test_the_first_look_makes_a_certificate_that_every_webhook_trusts(cluster: Cluster) -> None:
    renewed = await keeping.keep(cluster, NAMESPACE, now=START)

    assert renewed
    certificate = x509.load_pem_x509_certificate(file(cluster, "tls.crt"))
    [signer] = x509.load_pem_x509_certificates(file(cluster, "ca.crt"))
    certificate.verify_directly_issued_by(signer)
    for resource in keeping.REGISTRATIONS:
        assert trusted(cluster, resource) == {file(cluster, "ca.crt")}


async def test_the_secret_goes_with_the_deployment(cluster: Cluster) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)

    [deployment] = cluster.objects(DEPLOYMENTS)
    [owner] = secret(cluster)["metadata"]["ownerReferences"]
    assert owner["uid"] == deployment["metadata"]["uid"]


async def test_what_lasts_is_left_alone(cluster: Cluster) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)
    before = secret(cluster)

    renewed = await keeping.keep(cluster, NAMESPACE, now=START + authority.LIFE / 2)

    assert not renewed
    assert secret(cluster) == before


async def test_trust_that_was_lost_is_restored(cluster: Cluster) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)
    lost = keeping.REGISTRATIONS[0]
    await cluster.patch_json(
        lost, keeping.SERVICE, [{"op": "remove", "path": "/webhooks/1/clientConfig/caBundle"}]
    )

    await keeping.keep(cluster, NAMESPACE, now=START)

    assert trusted(cluster, lost) == {file(cluster, "ca.crt")}


async def test_renewal_keeps_the_earlier_authority_until_it_runs_out(cluster: Cluster) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)
    first = signatures(file(cluster, "ca.crt"))

    assert await keeping.keep(cluster, NAMESPACE, now=START + authority.LIFE * 0.7)
    second = signatures(file(cluster, "ca.crt"))
    assert await keeping.keep(cluster, NAMESPACE, now=START + authority.LIFE * 1.4)
    third = signatures(file(cluster, "ca.crt"))

    assert first < second
    assert len(second) == len(third) == 2
    assert not first & third


async def test_the_api_server_trusts_an_authority_before_anyone_shows_what_it_signed(
    cluster: Cluster,
) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)
    held = file(cluster, "tls.crt")
    cluster.fail_next(errors.Unavailable(0, "Timeout", "gone"), verb="patch_json", resource=keeping.SECRETS)

    with pytest.raises(errors.Unavailable):
        await keeping.keep(cluster, NAMESPACE, now=START + authority.LIFE * 0.7)

    assert file(cluster, "tls.crt") == held
    [bundle] = trusted(cluster, keeping.REGISTRATIONS[0])
    assert signatures(file(cluster, "ca.crt")) < signatures(bundle)


@pytest.mark.parametrize("damage", [{"tls.crt": ""}, {"tls.key": "bm8="}, {"ca.crt": ""}])
async def test_a_damaged_secret_is_made_anew(cluster: Cluster, damage: dict[str, str]) -> None:
    await keeping.keep(cluster, NAMESPACE, now=START)
    await cluster.patch_merge(keeping.SECRETS, keeping.SECRET, {"data": damage}, NAMESPACE)

    assert await keeping.keep(cluster, NAMESPACE, now=START)

    held = authority.Issued(
        certificate=file(cluster, "tls.crt"),
        key=file(cluster, "tls.key"),
        authorities=file(cluster, "ca.crt"),
    )
    assert authority.serves(held, HOST, now=START)


async def test_it_waits_for_what_is_installed_after_it(cluster: Cluster) -> None:
    missing = keeping.REGISTRATIONS[1]
    [registration] = cluster.objects(missing)
    cluster.remove(missing, keeping.SERVICE)
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            cluster.add(missing, registration)

    assert await keeping.keep_trying(cluster, NAMESPACE, now=lambda: START, sleep=sleep)
    assert len(waits) == 3


async def test_it_gives_up_in_the_end(cluster: Cluster) -> None:
    cluster.remove(DEPLOYMENTS, keeping.SERVICE, NAMESPACE)

    async def sleep(seconds: float) -> None:
        assert seconds > 0

    with pytest.raises(errors.NotFound):
        await keeping.keep_trying(cluster, NAMESPACE, now=lambda: START, sleep=sleep, attempts=3)


def test_a_certificate_for_another_host_or_of_another_authority_does_not_serve() -> None:
    issued = authority.issue(HOST, now=START)
    stranger = authority.issue(HOST, now=START)

    mixed = authority.Issued(certificate=issued.certificate, key=issued.key, authorities=stranger.authorities)

    assert authority.serves(issued, HOST, now=START)
    assert not authority.serves(issued, "elsewhere.svc", now=START)
    assert not authority.serves(mixed, HOST, now=START)
    assert not authority.serves(issued, HOST, now=START + timedelta(days=300))
