"""Rooms read once say what the book says, whatever has changed in between."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

import builders as make
from vgpu import reservations
from vgpu_operator import reading

CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["fill", "empty", "forget", "silence", "reserve"]),
        st.sampled_from(["node-0", "node-1"]),
    ),
    max_size=12,
)


def change(book: reservations.Book, what: str, name: str, revision: int) -> None:
    taken = [make.slice_(f"on-{name}", uuids=(f"GPU-{name}",))] if what == "fill" else []
    match what:
        case "fill" | "empty":
            book.see_node(make.node(name, slices=taken, revision=revision))
        case "forget":
            book.forget_node(name)
        case "silence":
            book.see_silent([name])
        case _:
            pool = book.pools["a100"]
            book.see_pool(replace(pool, reserved_memory_bytes=revision * make.GIB))


@given(changes=CHANGES)
def test_a_room_read_before_is_the_room_that_is(changes: list[tuple[str, str]]) -> None:
    book = reservations.Book()
    book.see_pool(make.pool())
    rooms = reading.Rooms(book)

    for revision, (what, name) in enumerate(changes, start=1):
        change(book, what, name, revision)
        pool = book.pools["a100"]
        assert list(rooms.of(pool)) == [book.room(pool, each) for each in book.nodes]


def test_what_has_not_changed_is_not_read_again() -> None:
    book = reservations.Book()
    book.see_pool(make.pool())
    book.see_node(make.node("node-0"))
    rooms = reading.Rooms(book)
    pool = book.pools["a100"]

    (first,) = rooms.of(pool)
    (second,) = rooms.of(pool)

    assert first is second
