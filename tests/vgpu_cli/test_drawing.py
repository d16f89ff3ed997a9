import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgpu import values
from vgpu_cli import drawing, reading, words


@given(
    floor=st.integers(0, 100), more=st.integers(0, 100), rest=st.integers(0, 100), width=st.integers(2, 60)
)
def test_a_bar_has_its_width_and_shows_every_part_that_is_there(
    floor: int, more: int, rest: int, width: int
) -> None:
    capacity = floor + more + rest

    drawn = drawing.bar(floor, floor + more, capacity, width=width).plain

    assert len(drawn) == width
    assert (drawing.GLYPHS[0] in drawn) == (floor > 0)
    if floor and more:
        assert drawing.GLYPHS[1] in drawn
    assert drawn == "".join(sorted(drawn, key=drawing.GLYPHS.index))


def test_more_than_there_is_fills_the_bar() -> None:
    assert drawing.bar(50, 300, 100, width=10).plain == "█████▓▓▓▓▓"
    assert drawing.bar(0, 10, 0, width=4).plain == "░░░░"


def test_a_terminal_that_cannot_write_blocks_gets_letters() -> None:
    assert drawing.bar(5, 8, 10, width=10, encoding="ascii").plain == "#####+++.."
    assert drawing.spark([0, 1], encoding="ascii") == "_@"


@given(st.lists(st.floats(0, 1e9), max_size=50))
def test_a_spark_has_a_column_for_each_point(points: list[float]) -> None:
    assert len(drawing.spark(points)) == len(points)


@pytest.mark.parametrize(
    ("memory_bytes", "text"),
    [
        (0, "0 GiB"),
        (values.GIB // 2, "0.5 GiB"),
        (16 * values.GIB, "16 GiB"),
        (7040 * values.GIB, "7,040 GiB"),
        (3_200_000 * values.GIB, "3,125 TiB"),
    ],
)
def test_memory_is_said_in_the_unit_that_people_read(memory_bytes: int, text: str) -> None:
    assert words.memory(memory_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(-5, "0s"), (45, "45s"), (119, "119s"), (720, "12m"), (9000, "2h"), (777_600, "9d")]
)
def test_ages_are_said_as_kubectl_says_them(seconds: float, text: str) -> None:
    assert words.age(seconds) == text


def test_names_with_numbers_are_sorted_as_people_do() -> None:
    assert sorted(["gpu-10", "gpu-2", "a"], key=reading.natural) == ["a", "gpu-2", "gpu-10"]
