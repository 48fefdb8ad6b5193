"""Controllers: bounded, reversible, and a learning rate that is ten times off is rescued."""

import numpy as np
import pytest

from tensor_optix.algorithms.controllers import (
    MAX_FACTOR,
    MIN_FACTOR,
    ClipWidth,
    EntropyGuard,
    KLRate,
    PPOControl,
    controlled,
)

TARGET = 0.01


def settled(rate, kls, *, base=3e-4, signal=1.0):
    for kl in kls:
        rate = rate.after(kl, target=TARGET, base=base, signal=signal)
    return rate


@pytest.mark.parametrize(
    ("kl", "factor"), [(0.03, 1 / 1.5), (0.015, 1.0), (0.006, 1.0), (0.004, 1.5)], ids=["far", "high", "low", "near"]
)
def test_the_rate_moves_only_outside_half_and_twice_the_target(kl, factor):
    assert settled(KLRate(), [kl]).factor == pytest.approx(factor)


def test_one_large_window_is_remembered_for_a_while_and_then_forgotten():
    assert settled(KLRate(), [0.1, 0.0]).kl == pytest.approx(0.05)
    assert settled(KLRate(), [0.1] + 20 * [0.01]).kl == pytest.approx(TARGET, rel=1e-3)


@pytest.mark.parametrize("kl", [np.inf, np.nan, 1e38])
def test_a_divergence_that_overflowed_is_forgotten_too(kl):
    after = settled(KLRate(), [kl])
    assert np.isfinite(after.kl)
    assert after.factor < 1
    assert settled(after, 10 * [TARGET]).kl == pytest.approx(TARGET, rel=0.02)


def test_the_factor_is_bounded_and_comes_back():
    low = settled(KLRate(), 100 * [1.0])
    assert low.factor == pytest.approx(MIN_FACTOR)
    assert settled(low, 100 * [0.0]).factor == pytest.approx(min(MAX_FACTOR, 1e-3 / 3e-4))


def test_the_effective_rate_keeps_to_its_limits_unless_the_user_is_beyond_them():
    assert 5e-4 * settled(KLRate(), 50 * [0.0], base=5e-4).factor == pytest.approx(1e-3)
    assert 1e-2 * settled(KLRate(), 50 * [0.0], base=1e-2).factor == pytest.approx(1e-2)


def test_a_flat_signal_never_raises_the_rate():
    learned = settled(KLRate(), [0.01], signal=1.0)
    assert settled(learned, 20 * [0.0], signal=0.05).factor <= 1.0


def test_a_falling_base_is_not_worked_against():
    rate = settled(KLRate(), [0.01])
    for step in range(10):
        rate = rate.after(0.0, target=TARGET, base=3e-4 * (1 - step / 10), signal=1.0)
    assert rate.factor <= 1.5


def solved(rate_off, seed, controlled=True):
    """A learner that closes 3 % of what is left a window at its best rate; its KL goes with the squared rate."""
    rng, best, base, rate, skill = np.random.default_rng(seed), 3e-4, 3e-4 * rate_off, KLRate(), 0.0
    for _ in range(300):
        effective = base * rate.factor
        decades = np.log10(effective / best)
        skill += 0.03 * np.exp(-((decades / 0.35) ** 2) / 2) * (1 - skill)
        if controlled:
            kl = TARGET * 10 ** (2 * decades + rng.normal(0, 0.2))
            rate = rate.after(kl, target=TARGET, base=base, signal=1.0)
    return skill >= 0.95


@pytest.mark.parametrize("rate_off", [0.1, 10.0])
def test_a_learning_rate_ten_times_off_is_rescued(rate_off):
    assert not solved(rate_off, 0, controlled=False)
    assert sum(solved(rate_off, seed) for seed in range(50)) >= 45


def test_a_good_learning_rate_stays_good():
    assert all(solved(1.0, seed) for seed in range(50))


def clipped(width, windows, *, base=0.02):
    for kl, fraction in windows:
        width = width.after(kl, fraction, target=TARGET, base=base)
    return width


@pytest.mark.parametrize(
    ("kl", "fraction", "factor"),
    [(0.001, 0.4, 1.5), (0.001, 0.1, 1.0), (0.008, 0.4, 1.0), (0.03, 0.4, 1.0)],
    ids=["held back", "slow", "on target", "too far"],
)
def test_a_clip_range_widens_only_where_it_holds_the_policy_back(kl, fraction, factor):
    assert clipped(ClipWidth(), [(kl, fraction)]).factor == pytest.approx(factor)


def test_a_clip_range_widens_to_the_usual_one_and_comes_back():
    wide = clipped(ClipWidth(), 20 * [(0.001, 0.4)])
    assert 0.02 * wide.factor == pytest.approx(0.2)
    assert not wide.holds_back(0.001, 0.4, target=TARGET, base=0.02)
    assert clipped(wide, 20 * [(0.03, 0.4)]) == ClipWidth(1.0)
    assert clipped(wide, 20 * [(np.nan, 0.0)]) == ClipWidth(1.0)


def test_a_clip_range_that_a_tuner_may_explore_is_left_alone():
    assert clipped(ClipWidth(), 20 * [(0.001, 0.9)], base=0.1) == ClipWidth(1.0)


def test_while_the_clip_range_holds_the_policy_back_the_rate_does_not_rise():
    base = {"learning_rate": 3e-4, "clip_ratio": 0.02, "entropy_coef": 0.01, "target_kl": TARGET}
    seen = {"approx_kl": 0.001, "clip_fraction": 0.4, "entropy": 0.5}
    control = PPOControl()
    for _ in range(3):
        control = control.after(seen, base, signal=1.0, largest_entropy=np.log(2))
    assert control.in_force(base) == {**base, "clip_ratio": pytest.approx(0.02 * 1.5**3)}
    assert PPOControl.from_state(control.state_dict()) == control
    free = PPOControl().after(seen, {**base, "clip_ratio": 0.2}, signal=1.0, largest_entropy=0.0)
    assert free.rate.factor == pytest.approx(1.5)


def guarded(guard, shares, *, base):
    for share in shares:
        guard = guard.after(share, base=base)
    return guard


def test_the_entropy_floor_doubles_up_to_its_cap_and_gives_way_again():
    raised = guarded(EntropyGuard(), 5 * [0.01], base=0.01)
    assert raised.factor == pytest.approx(3.0)
    assert guarded(raised, [0.05], base=0.01) == raised
    assert guarded(raised, [0.5, 0.5], base=0.01).factor == 1.0


def test_a_coefficient_far_too_large_is_lowered_once_the_policy_stays_random_and_comes_back():
    first = 4 * [0.95]  # every policy begins so
    assert guarded(EntropyGuard(), first, base=0.3).factor == 1.0
    lowered = guarded(EntropyGuard(), first + 6 * [0.9], base=0.3)
    assert 0.3 * lowered.factor == pytest.approx(0.03)
    assert guarded(lowered, 9 * [0.5], base=0.3).factor == lowered.factor
    assert guarded(lowered, 4 * [0.05], base=0.3).factor == 1.0


@pytest.mark.parametrize("base", [0.0, 0.01, 0.05])
def test_a_coefficient_that_a_tuner_may_explore_is_never_lowered(base):
    assert guarded(EntropyGuard(), 30 * [1.0], base=base).factor == 1.0


def test_a_coefficient_above_the_cap_or_of_zero_is_never_raised():
    assert guarded(EntropyGuard(), 3 * [0.0], base=0.05).factor == 1.0
    assert guarded(EntropyGuard(), 3 * [0.0], base=0.0).factor == 1.0


def test_controllers_own_the_rate_and_what_lies_outside_the_explored_range():
    usual = {"learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01}
    for off in (usual, {**usual, "target_kl": 0.0}):
        assert controlled(off, is_discrete=True) == []
    assert controlled({**usual, "target_kl": 0.02}, is_discrete=True) == ["learning_rate"]
    odd = {**usual, "target_kl": 0.02, "clip_ratio": 0.02, "entropy_coef": 0.3}
    assert controlled(odd, is_discrete=True) == ["learning_rate", "clip_ratio", "entropy_coef"]
    assert controlled(odd, is_discrete=False) == ["learning_rate", "clip_ratio"]  # no guard of differential entropy


def learned(base, seed, is_controlled=True):
    """A learner whose divergence goes with the squared rate but ends where the clip range does, and whose policy is as
    random as its entropy coefficient makes it; it learns by the divergence, and less the more random it is."""
    rng, control, skill = np.random.default_rng(seed), PPOControl(), 0.0
    for _ in range(300):
        at = control.in_force(base) if is_controlled else base
        free = TARGET * (at["learning_rate"] / 3e-4) ** 2 * 10 ** rng.normal(0, 0.1)
        limit = (at["clip_ratio"] / 0.2) ** 2 * 3 * TARGET
        kl, share = min(free, limit), 0.65 + 0.3 * at["entropy_coef"] / (at["entropy_coef"] + 0.1)
        decades = np.log10(kl / TARGET) / 2
        skill += 0.03 * np.exp(-((decades / 0.3) ** 2) / 2) * min(1.0, max(0.0, 1 - 5.5 * (share - 0.7))) * (1 - skill)
        if is_controlled:
            seen = {"approx_kl": kl, "clip_fraction": 0.1 if free < limit else 0.4, "entropy": share}
            control = control.after(seen, base, signal=1.0, largest_entropy=1.0)
    return skill


@pytest.mark.parametrize("change", [{"clip_ratio": 0.02}, {"entropy_coef": 0.3}, {}], ids=["clip", "entropy", "good"])
def test_a_clip_range_or_an_entropy_coefficient_far_off_is_rescued(change):
    base = {"learning_rate": 3e-4, "clip_ratio": 0.2, "entropy_coef": 0.01, "target_kl": TARGET, **change}
    assert (learned(base, 0, is_controlled=False) < 0.5) == bool(change)
    assert sum(learned(base, seed) >= 0.95 for seed in range(20)) >= 18
