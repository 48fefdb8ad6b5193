"""Controllers: bounded, reversible, and a learning rate that is ten times off is rescued."""

import numpy as np
import pytest

from tensor_optix.algorithms.controllers import MAX_FACTOR, MIN_FACTOR, EntropyFloor, KLRate

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
    assert settled(low, 100 * [0.0]).factor == pytest.approx(min(MAX_FACTOR, 3e-3 / 3e-4))


def test_the_effective_rate_keeps_to_its_limits_unless_the_user_is_beyond_them():
    assert 2e-3 * settled(KLRate(), 50 * [0.0], base=2e-3).factor == pytest.approx(3e-3)
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


def test_the_entropy_floor_doubles_up_to_its_cap_and_gives_way_again():
    floor = EntropyFloor()
    for _ in range(5):
        floor = floor.after(0.01, base=0.01)
    assert floor.factor == pytest.approx(3.0)
    assert floor.after(0.05, base=0.01) == floor
    assert floor.after(0.5, base=0.01).after(0.5, base=0.01) == EntropyFloor(1.0)


def test_a_coefficient_above_the_cap_or_of_zero_is_left_alone():
    assert EntropyFloor().after(0.0, base=0.05) == EntropyFloor(1.0)
    assert EntropyFloor().after(0.0, base=0.0) == EntropyFloor(1.0)
