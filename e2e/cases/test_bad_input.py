"""Bad input gets a clear answer, and nothing is lost."""

import asyncio
import io
import ssl

import aiohttp
import pytest

from vgpu.api import names
from vgpu_e2e import objects, platform, rest
from vgpu_e2e.team import Team

pytestmark = pytest.mark.asyncio(loop_scope="module")
BED = {"nodes": 1}
POOLS = [objects.pool()]


async def _refusal(request: object) -> str:
    with pytest.raises(rest.StatusError) as found:
        await request  # type: ignore[misc]  # any coroutine
    return str(found.value)


async def test_a_label_without_a_claim_is_refused_by_its_name(team: Team) -> None:
    sentence = await _refusal(team.run("missing"))

    assert "missing" in sentence
    assert "VGPUClaim" in sentence


async def test_an_unknown_pool_is_refused_by_its_name(team: Team) -> None:
    assert "h100" in await _refusal(team.claim("llm", pool_name="h100"))


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"requests": objects.amounts("40Gi", 25), "limits": objects.amounts("16Gi", 25)}, "limits"),
        ({"requests": objects.amounts("200Gi", 25)}, "80 GiB"),
        ({"requests": objects.amounts("0", 25)}, "memory"),
        ({"requests": objects.amounts("-1Gi", 25)}, "memory"),
        ({"requests": objects.amounts("16Gi", 0)}, "computePercent"),
        ({"requests": objects.amounts("sixteen", 25)}, "memory"),
        ({"device_count": 17}, "deviceCount"),
    ],
)
async def test_amounts_that_cannot_be_are_refused_in_words(
    team: Team, spec: dict[str, object], words: str
) -> None:
    assert words in await _refusal(team.claim("llm", **spec))


async def test_a_name_of_300_characters_is_refused(team: Team) -> None:
    assert "name" in await _refusal(team.claim("n" * 300))


async def test_what_is_immutable_stays(team: Team) -> None:
    await team.claim("llm")

    assert "deviceCount cannot change" in await _refusal(team.claim("llm", device_count=2))
    assert "allocationMode cannot change" in await _refusal(team.claim("llm", mode="Shared"))


MALFORMED = [
    b"",
    b"{",
    b"[]",
    b'"text"',
    b'{"kind":"AdmissionReview"}',
    b"[" * 100_000,
    b'{"a":' * 50_000,
    b"\xff\xfe",
]


@pytest.mark.parametrize("body", MALFORMED, ids=range(len(MALFORMED)))
async def test_malformed_bodies_get_a_sentence_from_webhook_and_extender(
    bed: platform.Bed, body: bytes
) -> None:
    tls = ssl.create_default_context(cafile=str(bed.plane.authority.certificate))
    asked = [
        (f"{bed.admission.url}/mutate/pods", tls),
        (f"{bed.extenders[0].url}/filter", None),
        (f"{bed.extenders[0].url}/bind", None),
    ]

    async with aiohttp.ClientSession() as session:
        for url, context in asked:
            async with session.post(
                url, data=body, ssl=context or False, headers={"Content-Type": "application/json"}
            ) as response:
                text = await response.text()
                assert 400 <= response.status < 500, (url, response.status, text)
                assert text.strip()
                assert "Traceback" not in text

    await _alive(bed)


async def test_a_hundred_megabytes_are_refused_without_being_read(bed: platform.Bed) -> None:
    tls = ssl.create_default_context(cafile=str(bed.plane.authority.certificate))

    async with aiohttp.ClientSession() as session:
        doors = [(f"{bed.admission.url}/mutate/pods", tls), (f"{bed.extenders[0].url}/filter", None)]
        for url, context in doors:
            try:
                async with session.post(
                    url,
                    data=io.BytesIO(b" " * 100_000_000),
                    ssl=context or False,
                    headers={"Content-Type": "application/json"},
                ) as response:
                    assert response.status == 413
            except aiohttp.ClientConnectionError:
                continue  # refused before all of it was sent

    await _alive(bed)


async def _alive(bed: platform.Bed) -> None:
    for service in (bed.admission, *bed.extenders, bed.operator):
        assert service.process.running
        assert "Traceback" not in await asyncio.to_thread(service.process.log_tail)


async def test_a_pod_with_our_annotation_is_refused(team: Team) -> None:
    await team.claim("llm")

    assert names.DEVICES_ANNOTATION in await _refusal(
        team.run("llm", annotations={names.DEVICES_ANNOTATION: "GPU-0"})
    )
