"""The noise formulas, by hand, and where their denominators vanish."""

import numpy as np
import pytest

from tensor_optix import CheckpointRegistry, EvalMetrics, PolicyManager


@pytest.fixture
def noise(tmp_path):
    return PolicyManager(CheckpointRegistry(tmp_path)).adaptive_noise_scale


def trained(scores):
    return [EvalMetrics(float(score), {}, i) for i, score in enumerate(scores)]


def validated(train, val):
    return [
        EvalMetrics(float(v), {"train_score": float(t), "val_score": float(v)}, i)
        for i, (t, v) in enumerate(zip(train, val, strict=True))
    ]


def test_fewer_than_three_scores_call_for_the_most_noise(noise):
    assert noise(trained([1, 2])) == 0.1


def test_strong_gains_that_validation_shares_call_for_the_least(noise):
    rising = np.arange(100, 200, 10)
    assert noise(validated(rising, rising)) == pytest.approx(0.001)


def test_a_plateau_calls_for_the_most(noise):
    assert noise(validated([5.0] * 10, [5.0] * 10)) == 0.1


def test_the_three_signals_combine_as_documented(noise):
    train, val = [104, 101, 110, 113], [100, 102, 101, 105]
    slope = np.polyfit(range(4), val, 1)[0] / np.mean(val)
    t = slope / 0.05
    gap = np.mean(np.subtract(train, val)) / np.mean(val)
    corr = 1 - np.corrcoef(train, val)[0, 1]
    effective = t * (1 - gap / 2) * (1 - corr / 2)
    assert 0 < effective < t < 1
    assert noise(validated(train, val)) == pytest.approx(0.1 - effective * 0.099)


def test_without_validation_the_improvement_ratio_decides(noise):
    scores = [10.0, 12.0, 14.0]
    assert noise(trained(scores)) == pytest.approx(0.1 / (1 + 4 / 12))
    assert noise(trained(scores[::-1])) == 0.1


@pytest.mark.parametrize("scores", [[0.0] * 10, [-1.0, 0.0, 1.0], np.linspace(-1e-9, 1e-9, 10), [np.nan, 1, 2, 3]])
def test_scores_around_zero_give_a_number_inside_the_bounds(noise, scores):
    assert 0.001 <= noise(trained(scores)) <= 0.1
    finite = [s for s in scores if np.isfinite(s)]
    assert 0.001 <= noise(validated(finite, finite)) <= 0.1


def test_gains_through_zero_count_like_any_other(noise):
    scores = np.linspace(-5, 5, 10)
    assert noise(validated(scores, scores)) == pytest.approx(0.001)
