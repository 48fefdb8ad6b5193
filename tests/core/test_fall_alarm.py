"""The alarm: soon after a collapse, hardly ever without one."""

import numpy as np
import pytest

from tensor_optix.core.fall_alarm import BestLevel, FallAlarm
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.testing.learning_curves import NOISES, noise


def alarms(scores, sd, config=None):
    """The positions at which a fall is told, with a known sd."""
    level, alarm, told = BestLevel(), FallAlarm(), []
    for i, score in enumerate(scores):
        if level.value is not None:
            alarm = alarm.heard(level.value, score, sd, config or LoopConfig())
            if alarm.is_news:
                told.append(i)
        level = level.after(score)
    return told


@pytest.mark.parametrize("kind", NOISES)
def test_a_fall_of_three_sd_is_told_within_six_scores_and_a_larger_one_within_four(kind):
    delays = {3: [], 6: []}
    for seed in range(60):
        y = noise(kind, np.random.default_rng(seed), 80)
        for drop, seen in delays.items():
            fallen = y.copy()
            fallen[60:] -= drop
            seen.append(next((i - 59 for i in alarms(fallen, 1.0) if i >= 60), 99))
    assert np.median(delays[3]) <= 6
    assert np.quantile(delays[6], 0.9) <= 4


@pytest.mark.parametrize("kind", NOISES)
def test_without_a_fall_there_is_less_than_one_alarm_in_500_scores(kind):
    n_alarms = sum(len(alarms(noise(kind, np.random.default_rng(s), 500), 1.0)) for s in range(60))
    assert n_alarms < 60


def test_one_wild_score_alone_is_no_alarm():
    assert alarms([10.0] * 20 + [-1e9] + [10.0] * 20, 1.0) == []


def test_a_fall_is_told_once_and_again_only_after_a_recovery():
    scores = [10.0] * 20 + [0.0] * 20 + [10.0] * 60 + [0.0] * 20
    assert alarms(scores, 1.0) == [23, 103]


@pytest.mark.parametrize(("level", "fine", "fallen"), [(100.0, 81.0, 79.0), (-100.0, -119.0, -121.0)])
def test_a_threshold_of_the_users_own_means_what_it_says(level, fine, fallen):
    config = LoopConfig(degradation_threshold=0.8)
    assert alarms([level] * 10 + [fine] * 10, 1e9, config) == []
    assert alarms([level] * 10 + [fallen] * 10, 1e9, config) == [10]


def test_falls_up_to_a_given_smallest_drop_are_none():
    scores = [10.0] * 20 + [5.0] * 20
    assert alarms(scores, 0.1, LoopConfig(min_degradation_drop=6.0)) == []
    assert alarms(scores, 0.1, LoopConfig(min_degradation_drop=4.0)) != []


def test_with_unknown_noise_nothing_is_said():
    assert alarms([10.0] * 10 + [0.0] * 10, 0.0) == []


def test_the_best_level_is_the_best_mean_of_eight():
    level = BestLevel()
    for score in [0.0] * 7:
        level = level.after(score)
    assert level.value is None
    for score in [8.0, 8.0, -80.0]:
        level = level.after(score)
    assert level.value == 2.0
    assert BestLevel.from_state(level.state_dict()) == level
