"""Trending, ranging, volatile: for any sign and offset of the scores."""

import numpy as np
import pytest

from tensor_optix import ConfigError, EvalMetrics, RegimeDetector


def history(scores):
    return [EvalMetrics(float(score), {}, i) for i, score in enumerate(scores)]


LEARNED = list(np.linspace(-200, 0, 40))


@pytest.mark.parametrize("offset", [-1000.0, -4.5, 0.0])
def test_a_climb_is_trending_up_and_a_fall_is_trending_down(offset):
    detector = RegimeDetector()
    climb = np.linspace(0, 9, 10) * (100 if offset < -5 else 1) + offset
    assert detector.detect(history(climb)) == "trending"
    assert detector.last.direction == "up"
    assert detector.detect(history(climb[::-1])) == "trending"
    assert (detector.last.direction, detector.last.metrics["direction"]) == ("down", -1.0)


def test_small_jitter_around_zero_is_ranging_once_the_run_has_shown_its_range():
    jitter = [1, -2, 2, -1, 0, 1, -1, 2, -2, 0]
    assert RegimeDetector().detect(history(LEARNED + jitter)) == "ranging"


def test_large_jumps_are_volatile_with_or_without_a_trend():
    jumps = np.array([0, 100, -100, 90, -90, 100, -80, 100, -100, 0])
    assert RegimeDetector().detect(history([*LEARNED, *jumps])) == "volatile"
    assert RegimeDetector().detect(history([*LEARNED, *(jumps + 10 * np.arange(10))])) == "volatile"


def test_negative_scores_are_judged_like_positive_ones():
    scores = [100, 101, 99, 100, 102, 98, 100, 101, 99, 100]
    positive, negative = RegimeDetector(), RegimeDetector()
    assert positive.detect(history(scores)) == negative.detect(history([-s for s in scores])) == "ranging"
    assert positive.last.volatility == pytest.approx(negative.last.volatility)


@pytest.mark.parametrize("scores", [[], [1.0, 5.0], [0.0] * 10, [7.0] * 10])
def test_too_few_scores_and_constant_ones_are_ranging(scores):
    assert RegimeDetector().detect(history(scores)) == "ranging"


def test_a_window_too_short_for_a_trend_is_refused():
    with pytest.raises(ConfigError, match="window must be at least 3, got 2"):
        RegimeDetector(window=2)
