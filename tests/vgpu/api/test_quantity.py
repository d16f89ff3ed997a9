"""Quantities: the grammar of Kubernetes in, one canonical text out."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu.api import quantity


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0", 0),
        ("1", 1),
        ("1024", 1024),
        ("16Gi", 16 * 1024**3),
        ("512Mi", 512 * 1024**2),
        ("1Ki", 1024),
        ("3Ti", 3 * 1024**4),
        ("2Pi", 2 * 1024**5),
        ("1Ei", 1024**6),
        ("1k", 1000),
        ("5M", 5 * 10**6),
        ("80G", 80 * 10**9),
        ("1T", 10**12),
        ("1P", 10**15),
        ("1E", 10**18),
        ("1.5Gi", 1536 * 1024**2),
        ("1.5k", 1500),
        (".5Ki", 512),
        ("2.", 2),
        ("2e9", 2 * 10**9),
        ("2E3", 2000),
        ("2500e-2", 25),
        ("1.25e2", 125),
        ("16000m", 16),
        ("3000000u", 3),
        ("1000000000n", 1),
        ("0016Gi", 16 * 1024**3),
    ],
)
def test_the_grammar_of_kubernetes_is_understood(text: str, expected: int) -> None:
    assert quantity.parse_bytes(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Gi",
        ".",
        "16 Gi",
        " 16Gi",
        "16Gi\n",
        "16GB",
        "16gi",
        "-1Gi",
        "+1",
        "1e",
        "1e1000",
        "0x10",
        "\u0661",
        "lots",
    ],
)
def test_what_is_no_quantity_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(
        ValueError, match=r"expected a quantity of memory such as 16Gi.*found .*; correct it"
    ) as refused:
        quantity.parse_bytes(text)

    assert repr(text) in str(refused.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("4", 4000), ("250m", 250), ("1.5", 1500), ("0", 0), ("1u", 1), ("1500u", 2), ("2k", 2_000_000)],
)
def test_cpu_is_read_in_thousandths_rounded_up(text: str, expected: int) -> None:
    assert quantity.parse_milli(text) == expected


def test_what_is_no_quantity_of_cpu_is_refused_with_an_example() -> None:
    with pytest.raises(
        ValueError, match="expected a quantity of CPU such as 4 or 250m, found 'lots'; correct"
    ):
        quantity.parse_milli("lots")


@pytest.mark.parametrize("text", ["0.1Gi", "1m", "1500m", "0.5", "1.0001k", "1e-1", "1n"])
def test_a_fraction_of_a_byte_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected whole bytes, found .*smaller suffix"):
        quantity.parse_bytes(text)


def test_a_very_long_number_is_refused_and_not_computed() -> None:
    with pytest.raises(ValueError, match="expected a quantity"):
        quantity.parse_bytes("9" * 1_000_000)


@given(st.integers(min_value=0, max_value=10**19))
def test_what_is_written_reads_back_exactly(memory_bytes: int) -> None:
    assert quantity.parse_bytes(quantity.format_bytes(memory_bytes)) == memory_bytes


@given(st.integers(min_value=1, max_value=10**19))
def test_the_canonical_text_has_the_largest_suffix_that_divides(memory_bytes: int) -> None:
    text = quantity.format_bytes(memory_bytes)

    match = re.fullmatch(r"([1-9][0-9]*)(Ki|Mi|Gi|Ti|Pi|Ei)?", text)
    assert match is not None
    assert match[2] == "Ei" or int(match[1]) % 1024 != 0


def test_nothing_is_written_without_a_suffix() -> None:
    assert quantity.format_bytes(0) == "0"


def test_negative_bytes_are_never_written() -> None:
    with pytest.raises(ValueError, match=r"expected bytes from 0 on, found -1"):
        quantity.format_bytes(-1)


@given(st.integers(min_value=0, max_value=10**14))
def test_a_count_is_written_exactly(count: int) -> None:
    assert quantity.parse_bytes(quantity.format_count(count)) == count


def test_thousands_are_written_by_their_suffix() -> None:
    written = [quantity.format_count(each) for each in (0, 999, 8000, 8192, 2_000_000, 81_920_000)]

    assert written == ["0", "999", "8k", "8192", "2M", "81920k"]


def test_negative_counts_are_never_written() -> None:
    with pytest.raises(ValueError, match="expected a count from 0 on, found -1"):
        quantity.format_count(-1)
