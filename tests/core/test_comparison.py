"""Tests of significance against published tables."""

import math

import numpy as np
import pytest

from tensor_optix.core.comparison import incomplete_beta, paired_test, student_cdf, student_quantile, welch_test


@pytest.mark.parametrize(
    ("probability", "degrees", "t"),
    [(0.975, 1, 12.7062), (0.95, 5, 2.0150), (0.975, 10, 2.2281), (0.99, 30, 2.4573), (0.975, 200, 1.9719),
     (0.05, 5, -2.0150)],
)  # fmt: skip
def test_students_quantiles_are_those_of_the_tables(probability, degrees, t):
    assert student_quantile(probability, degrees) == pytest.approx(t, abs=1e-4)


def test_with_one_degree_of_freedom_it_is_cauchys_distribution():
    for t in (-3.0, -0.1, 0.0, 0.7, 20.0):
        assert student_cdf(t, 1) == pytest.approx(0.5 + math.atan(t) / math.pi, abs=1e-12)


def test_the_incomplete_beta_function_of_a_polynomial_case():
    for x in (0.0, 0.1, 0.5, 0.9, 1.0):
        assert incomplete_beta(2, 3, x) == pytest.approx(x**2 * (6 - 8 * x + 3 * x**2), abs=1e-12)


def test_the_paired_test_by_hand():
    test = paired_test([3.0, 5.0, 7.0], [2.0, 3.0, 4.0])  # differences 1, 2, 3: mean 2, sd 1
    assert test.difference == 2.0
    assert test.t == pytest.approx(2 * 3**0.5)
    assert test.degrees == 2


def test_pairing_sees_what_welch_cannot():
    rng = np.random.default_rng(0)
    common = 100 * rng.normal(size=20)
    first, second = common + 1 + 0.5 * rng.normal(size=20), common
    assert paired_test(first, second).t > 5
    assert abs(welch_test(first, second).t) < 1


def test_welchs_degrees_of_freedom_by_hand():
    test = welch_test([0.0, 2.0], [0.0, 4.0, 8.0])  # s²/n: 1 and 16/3
    assert test.degrees == pytest.approx((1 + 16 / 3) ** 2 / (1 + (16 / 3) ** 2 / 2))
    assert test.t == pytest.approx(-3 / (1 + 16 / 3) ** 0.5)


def test_an_advantage_without_variation_is_certain_and_none_is_none():
    assert paired_test([2.0, 2.0], [1.0, 1.0]).p_value == 0.0
    assert paired_test([1.0, 1.0], [1.0, 1.0]).p_value == pytest.approx(0.5)


def test_the_p_value_is_uniform_where_there_is_no_difference():
    rng = np.random.default_rng(0)
    p = [welch_test(rng.normal(size=6), 3 * rng.normal(size=9)).p_value for _ in range(1000)]
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.02)
