from vgpu.values import Lack
from vgpu_agent.pressure import Look, Pressure

SECOND = 1_000_000_000


def look(*, throttled: float = 0, queued: float = 0, refused: int = 0) -> Look:
    """A quarter of a second in which launches were held back for such parts of it."""
    return Look(
        seconds=0.25,
        throttled_ns=int(throttled * SECOND / 4),
        queued_ns=int(queued * SECOND / 4),
        refused=refused,
    )


def after(pressure: Pressure, *looks: Look, start: float = 100.0) -> Pressure:
    for number, each in enumerate(looks):
        pressure = pressure.after(each, now=start + number * 0.25)
    return pressure


def test_a_slice_throttled_for_a_second_is_under_pressure() -> None:
    pressure = after(Pressure(), *[look(throttled=0.5)] * 5)

    assert pressure.lacks == (Lack.THROTTLED,)


def test_a_slice_throttled_for_less_is_not() -> None:
    pressure = after(Pressure(), *[look(throttled=0.5)] * 4)

    assert pressure.lacks == ()


def test_a_pause_begins_the_second_anew() -> None:
    pressure = after(Pressure(), *[look(queued=0.5)] * 4, look(), *[look(queued=0.5)] * 4)

    assert pressure.lacks == ()


def test_refused_memory_counts_at_once() -> None:
    pressure = after(Pressure(), look(refused=1))

    assert pressure.lacks == (Lack.MEMORY_REFUSED,)


def test_a_flag_outlasts_a_short_calm_and_falls_after_a_long_one() -> None:
    raised = after(Pressure(), *[look(throttled=0.5)] * 5)

    short = after(raised, *[look()] * 8, start=101.25)
    long = after(raised, *[look()] * 24, start=101.25)

    assert short.lacks == (Lack.THROTTLED,)
    assert long.lacks == ()
