"""What is learned from seconds of rate and use, and from which of them nothing is."""

from vgpu.elasticity import facts
from vgpu.elasticity.state import EMPTY
from vgpu_operator.elasticity.remembered import RAW_SAMPLES, Remembered
from vgpu_operator.elasticity.signals import Use

RATES = tuple(facts.Sample(at=float(at), rate=20.0) for at in range(10))


def use(percent: float, *, throttled: float = 0.0, lent: float = 0.0, seconds: range = range(10)) -> Use:
    return Use(
        percent=dict.fromkeys(seconds, percent),
        throttled=dict.fromkeys(seconds, throttled),
        lent=dict.fromkeys(seconds, lent),
    )


def test_work_costs_what_all_slices_use_for_it() -> None:
    learned = Remembered(query="q").heard(RATES, (use(10.0), use(30.0)), expected_slices=2)

    assert learned.cost.percent_per_unit == 2.0
    assert learned.by_work


def test_a_part_of_the_slices_teaches_nothing() -> None:
    learned = Remembered(query="q").heard(RATES, (use(10.0),), expected_slices=2)
    late = Remembered(query="q").heard(RATES, (use(10.0), use(30.0, seconds=range(0))), expected_slices=2)

    assert learned.cost.percent_per_unit is None
    assert late.cost.percent_per_unit is None
    assert not learned.uses


def test_seconds_are_taken_once_however_often_they_are_heard() -> None:
    once = Remembered(query="q").heard(RATES, (use(10.0),), expected_slices=1)

    twice = once.heard(RATES, (use(90.0),), expected_slices=1)

    assert (twice.rates, twice.cost) == (once.rates, once.cost)


def test_a_change_of_unit_begins_a_new_state() -> None:
    by_use = Remembered(query="q", state=EMPTY)

    quiet = by_use.heard((), (), expected_slices=1)
    by_work = by_use.heard(RATES, (use(10.0),), expected_slices=1)

    assert quiet.state is EMPTY
    assert by_work.state is None


def test_use_is_de_censored_slice_by_slice() -> None:
    learned = Remembered(query=None).heard((), (use(30.0, throttled=0.5), use(20.0)), expected_slices=2)

    assert [sample.rate for sample in learned.uses] == [80.0] * 10
    assert not learned.by_work


def test_no_more_is_kept_than_a_look_back_needs() -> None:
    many = tuple(facts.Sample(at=float(at), rate=1.0) for at in range(3 * RAW_SAMPLES))

    kept = Remembered(query="q").heard(many, (), expected_slices=1)

    assert len(kept.rates) == RAW_SAMPLES
    assert kept.rates[-1] == many[-1]
