"""Each rival decides as its source says: the examples are worked by hand from the published formulas."""

import math
from pathlib import Path

import pytest

import small_model
from elasticity import contest, policy, profiles
from elasticity.policies import captain, dilu, fast_gshare, fixed, has_gpu, hpa, kpa, peak_sized, vpa


@pytest.fixture
def profile(tmp_path: Path) -> profiles.Profile:
    return small_model.profile(tmp_path)


def replicas(of: profiles.Profile, count: int, **changes: object) -> list[policy.Replica]:
    share = of.curve.efficient_percent
    return [small_model.replica(f"model-{i + 1}", share=share, **changes) for i in range(count)]


def orders(chosen: policy.Policy, seen: policy.View) -> policy.Orders:
    return chosen.decide(seen).get("model", policy.Orders())


def change(decided: policy.Orders) -> int:
    return len(decided.start) - len(decided.remove)


@pytest.mark.parametrize(
    ("present", "use", "wished"),
    [
        (3, 2.0, 6),  # "200m against 100m: the replicas double", the example of the Kubernetes page
        (4, 0.5, 4),  # half, but the largest answer of 300 s is kept
        (5, 1.09, 5),  # within the tolerance
        (5, 1.12, 6),  # ceil(5 * 1.12)
        (3, 9.0, 7),  # no more than the larger of 4 and 100 % per sync
        (6, 9.0, 12),
    ],
)
def test_hpa_multiplies_its_replicas_by_use_over_target(
    profile: profiles.Profile, present: int, use: float, wished: int
) -> None:
    rate = use * 0.7 * present * profile.curve.efficient_rate
    chosen = hpa.Hpa(target=0.7)
    orders(chosen, _steady(profile, present, now=85.0))

    decided = orders(chosen, small_model.view(profile, *replicas(profile, present), rate=rate))

    assert present + change(decided) == wished


def _steady(profile: profiles.Profile, present: int, *, now: float) -> policy.View:
    rate = 0.7 * present * profile.curve.efficient_rate
    return small_model.view(profile, *replicas(profile, present), rate=rate, now=now)


def test_hpa_goes_down_when_the_window_has_passed(profile: profiles.Profile) -> None:
    chosen = hpa.Hpa(target=0.7)
    orders(chosen, _steady(profile, 4, now=0.0))
    half = 0.5 * 0.7 * 4 * profile.curve.efficient_rate

    answers = [
        change(orders(chosen, small_model.view(profile, *replicas(profile, 4), rate=half, now=now)))
        for now in (285.0, 300.0)
    ]

    assert answers == [0, -2]


def test_kpa_panics_at_twice_the_ready_replicas_and_does_not_shrink_meanwhile(
    profile: profiles.Profile,
) -> None:
    chosen, capacity = kpa.Kpa(target=0.7), 0.7 * profile.curve.efficient_rate
    for i in range(30):
        assert not change(orders(chosen, _at(profile, 1, rate=0.9 * capacity, now=2.0 * i)))

    rise = [change(orders(chosen, _at(profile, 1, rate=4 * capacity, now=60.0 + 2 * i))) for i in range(3)]
    fall = change(orders(chosen, _at(profile, 4, rate=0.0, now=70.0)))

    # the 6-s mean of 0.9, 0.9, 4 is 1.9: no panic yet; then 3.0, then 4
    assert rise == [1, 2, 3]
    assert fall == 0


def _at(profile: profiles.Profile, count: int, *, rate: float, now: float) -> policy.View:
    return small_model.view(profile, *replicas(profile, count), rate=rate, now=now)


def test_kpa_halves_at_most(profile: profiles.Profile) -> None:
    assert change(orders(kpa.Kpa(target=0.7), _at(profile, 8, rate=0.0, now=100.0))) == -4


def test_vpa_gives_the_percentile_with_its_margin(profile: profiles.Profile) -> None:
    busy = replicas(profile, 2, used_percent=60.0)

    decided = orders(vpa.Vpa(percentile=0.9), small_model.view(profile, *busy, rate=1.0))

    assert set(decided.shares.values()) == {69}  # 60 * 1.15


def test_vpa_leaves_what_is_within_a_tenth(profile: profiles.Profile) -> None:
    busy = replicas(profile, 1, used_percent=37.0)

    assert not orders(vpa.Vpa(percentile=0.9), small_model.view(profile, *busy, rate=1.0)).shares


@pytest.mark.parametrize(
    ("throttled_steps", "used", "share"),
    [
        (5, 40.0, 48),  # r = 0.5 > 3T = 0.3: 40 * (1 + 0.2)
        (0, 30.0, 30),  # max + 0 * margin = 30 <= 0.9 * 40
        (0, 19.0, 20),  # at most halved
        (0, 37.0, 40),  # 37 > 0.9 * 40: not worth it
        (3, 40.0, 40),  # r = 3T: neither
    ],
)
def test_captain_follows_the_part_of_throttled_periods(
    profile: profiles.Profile, throttled_steps: int, used: float, share: int
) -> None:
    replica = small_model.replica(share=40, throttled_steps=throttled_steps, used_steps=(used,) * 50)

    decided = orders(captain.Captain(target=0.1), small_model.view(profile, replica, rate=1.0))

    assert decided.shares["model-1"] == share


def test_captain_rolls_a_bad_shrink_back_and_beyond(profile: profiles.Profile) -> None:
    chosen = captain.Captain(target=0.1)
    before = small_model.replica(share=40, used_steps=(24.0,) * 50)
    shrunk = orders(chosen, small_model.view(profile, before, rate=1.0)).shares["model-1"]
    assert shrunk == 24

    after = small_model.replica(share=24, throttled_steps=8, used_steps=(24.0,) * 50)
    decided = orders(chosen, small_model.view(profile, after, rate=1.0))

    assert decided.shares["model-1"] == 2 * 40 - 24


def test_dilu_adds_one_when_20_of_40_seconds_exceed_what_it_has(profile: profiles.Profile) -> None:
    chosen, rate = dilu.Dilu(headroom=1.0), 2.1 * profile.curve.efficient_rate

    steps = [change(orders(chosen, _at(profile, 2, rate=rate, now=float(i)))) for i in range(40)]

    assert [i + 1 for i, step in enumerate(steps) if step] == [20, 40]


def test_dilu_removes_one_when_30_of_40_seconds_need_one_less(profile: profiles.Profile) -> None:
    chosen, rate = dilu.Dilu(headroom=1.0), 0.9 * profile.curve.efficient_rate

    steps = [change(orders(chosen, _at(profile, 2, rate=rate, now=float(i)))) for i in range(40)]

    assert [(i + 1, step) for i, step in enumerate(steps) if step] == [(30, -1)]


def test_has_gpu_filters_the_rate_and_adds_quota_in_steps_of_a_tenth(profile: profiles.Profile) -> None:
    chosen, capacity = has_gpu.HasGpu(up=0.9), profile.curve.rate_at(20)
    one = small_model.replica(share=20)

    decided = orders(chosen, small_model.view(profile, one, rate=capacity, free=75))

    # x = capacity + 5 > 0.9 capacity, missing 0.1 capacity + 5: one step of 10 %
    assert decided.shares["model-1"] == 30
    assert not decided.start


def test_has_gpu_raises_its_estimate_by_a_deviation(profile: profiles.Profile) -> None:
    memory = has_gpu._Memory(level=100.0)  # the filter has no other face
    memory.rates.extend([100.0] * 5)

    level = has_gpu.HasGpu._filtered(memory)

    gain = 2 / (2 + 10)  # (P + Q) / (P + Q + R) with P = Q = 1, R = 10
    assert memory.error == pytest.approx((1 - gain) * 2)
    assert level == pytest.approx(max(100 + math.sqrt(memory.error), 105))


@pytest.mark.parametrize(
    ("rate", "shares"),
    [
        (1.15, []),  # within 20 %
        (2.5, [40]),  # 1.5 missing: one efficient replica, one that just covers the rest
        (0.9, []),
    ],
)
def test_fast_gshare_acts_beyond_a_fifth(profile: profiles.Profile, rate: float, shares: list[int]) -> None:
    curve = profile.curve

    decided = orders(
        fast_gshare.FastGShare(factor=1.0),
        _at(profile, 1, rate=rate * curve.efficient_rate, now=100.0),
    )

    assert [new.share for new in decided.start][: len(shares)] == shares
    if shares:
        assert curve.rate_at(decided.start[-1].share) >= 0.5 * curve.efficient_rate


def test_fixed_slices_and_peak_sets_are_sized_from_the_whole_load(profile: profiles.Profile) -> None:
    rates = tuple([0.5 * profile.curve.efficient_rate] * 900 + [2.5 * profile.curve.efficient_rate] * 100)
    known = [policy.Known(name="model", profile=profile, rates=rates)]

    assert len(fixed.Fixed(part=0.5).begin(known)["model"]) == 1
    assert len(fixed.Fixed(part=0.999).begin(known)["model"]) == 3
    assert len(peak_sized.replicas(known)["model"]) == 3


@pytest.mark.parametrize("name", list(contest.POLICIES))
def test_every_policy_starts_somebody_and_can_decide(profile: profiles.Profile, name: str) -> None:
    entry = contest.POLICIES[name]
    chosen = entry.make(entry.values[0])
    rate = profile.curve.efficient_rate

    first = chosen.begin([policy.Known(name="model", profile=profile, rates=(rate,) * 60)])["model"]
    decided = orders(chosen, small_model.view(profile, *replicas(profile, len(first)), rate=rate))

    assert first
    assert len(decided.remove) < len(first)
