"""Every knob of the patience rule, the alarm and the diagnosis does what it says: turned, it changes the outcome."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tensor_optix import LoopConfig, RLOptimizer
from tensor_optix.core.backoff_scheduler import BackoffScheduler
from tensor_optix.core.diagnosis import Diagnosis
from tensor_optix.core.patience import PatienceRule
from tensor_optix.core.replay import first_end, judgements
from tensor_optix.core.types import LoopState
from tests.core.scripted import FirstReward, ScriptedAgent, ScriptedPipeline

RNG = np.random.default_rng(5)
LEARNED = [10.0 * min(k, 10) + RNG.normal() for k in range(120)]  # rises for ten scores, then noise of sd 1
CREEPING = [0.0, *(10.0 + 0.2 * k for k in range(100))]  # without noise
FALLEN = [*(10.0 * min(k, 10) + RNG.normal() for k in range(30)), *(60.0 + RNG.normal() for _ in range(30))]


def rule(**settings):
    return PatienceRule(LoopConfig(convergence="patience", **settings), is_guarded=False)


def ends(scores, **settings):
    return first_end(rule(**settings), scores).tick or math.inf


def first(scores, what, **settings):
    told = enumerate(judgements(rule(**settings), scores), start=1)
    return next((tick for tick, judgement in told if what(judgement)), math.inf)


def is_cooling(judgement):
    return judgement.state is LoopState.COOLING


def widest(scores, **settings):
    return max(judgement.interval for judgement in judgements(rule(**settings), scores))


def alarm(scores, **settings):
    return first(scores, lambda judgement: judgement.degraded, **settings)


# (what is measured, scores, the setting turned, how the measure changes)
KNOBS = [
    (ends, LEARNED, {"dormant_threshold": 5}, "less"),
    (ends, LEARNED, {"min_episodes_before_dormant": 90}, "more"),
    (ends, CREEPING, {"improvement_margin": 1000.0}, "less"),
    (ends, [*LEARNED, *(120 + 0.5 * k for k in range(200))], {"noise_k": 0.0, "dormant_threshold": 25}, "more"),
    (lambda s, **k: first(s, is_cooling, **k), LEARNED, {"plateau_threshold": 2}, "less"),
    (widest, LEARNED, {"max_interval_episodes": 7}, "less"),
    (widest, LEARNED[:14], {"backoff_factor": 3.0}, "more"),
    (lambda s, **k: next(iter(judgements(rule(**k), s))).interval, LEARNED, {"base_interval": 3}, "more"),
    (alarm, FALLEN, {"degradation_threshold": 0.5}, "more"),
    (alarm, FALLEN, {"min_degradation_drop": 1000.0}, "more"),
    (alarm, [*FALLEN[:8], *(0.0 for _ in range(40))], {"min_episodes_before_degradation": 30}, "more"),
]


@pytest.mark.parametrize(("measure", "scores", "turned", "change"), KNOBS, ids=[next(iter(k[2])) for k in KNOBS])
def test_a_knob_of_the_patience_rule_does_what_it_says(measure, scores, turned, change):
    before, after = measure(scores), measure(scores, **turned)
    assert after < before if change == "less" else after > before


def test_the_noise_is_that_of_the_last_score_window_scores():
    quiet_after_noise = [*(5 * RNG.normal() for _ in range(40)), *(0.01 * RNG.normal() for _ in range(12))]
    few, many = (list(judgements(rule(score_window=n), quiet_after_noise))[-1].evidence["noise"] for n in (8, 52))
    assert few < 0.1 < many


@pytest.mark.parametrize(("smoothing", "smoothed"), [(1, 9.0), (3, 6.0)])
def test_score_smoothing_scores_are_averaged(tmp_path, smoothing, smoothed):
    opt = RLOptimizer(ScriptedAgent(), ScriptedPipeline([3.0, 6.0, 9.0]), FirstReward(), checkpoint_dir=tmp_path,
                      score_smoothing=smoothing, max_episodes=3, evaluation_episodes=0)  # fmt: skip
    opt.run()
    assert opt._controller._tracker.smoothed == smoothed


def test_the_trend_is_that_of_the_last_trend_window_scores():
    schedulers = [BackoffScheduler(trend_window=window) for window in (4, 16)]
    for scheduler in schedulers:
        for score in (*range(0, 120, 10), 109.0, 108.0, 107.0, 106.0):
            scheduler.record_score(score)
    assert [scheduler.is_improving() for scheduler in schedulers] == [False, True]


HEALTHY = {"loss": 1.0, "entropy": 0.5, "approx_kl": 0.01}


class Discrete(ScriptedAgent):
    def __init__(self):
        super().__init__()
        self.params = {"learning_rate": 0.1, "entropy_coef": 0.01, "epsilon": 0.05, "epsilon_min": 0.05}

    def action_probs(self, observation):
        return np.array([0.5, 0.5])


def treated(symptom, *, windows=1, **settings):
    """(window, rule) of everything done, and the agent, after ten healthy windows and then ill ones."""
    agent, diagnosis = Discrete(), Diagnosis.chosen_by(LoopConfig(**settings))
    told = []
    for window in range(10 + windows):
        diagnostics = HEALTHY | (symptom if window >= 10 else {})
        told += [(window, name) for name, _ in diagnosis.after(window, agent, diagnostics)]
    return told, agent


@pytest.mark.parametrize(
    ("symptom", "rule_name", "turned"),
    [
        ({"loss": 6.0}, "LOSS_SPIKE", {"diag_loss_spike_factor": 10.0}),
        ({"entropy": 0.01}, "ENTROPY_COLLAPSE", {"diag_entropy_floor": 0.005}),
        ({"approx_kl": 0.05}, "KL_TOO_HIGH", {"diag_target_kl": 0.1}),
        ({"approx_kl": 0.05}, "KL_TOO_HIGH", {"diag_min_episodes": 20}),
        ({"approx_kl": 0.05}, "KL_TOO_HIGH", {"diagnostics": False}),
    ],
)
def test_a_threshold_of_the_diagnosis_does_what_it_says(symptom, rule_name, turned):
    assert treated(symptom)[0] == [(10, rule_name)]
    assert treated(symptom, **turned)[0] == []


@pytest.mark.parametrize(
    ("settings", "first_window", "epsilon"),
    [
        ({"diag_epsilon_patience": 5}, 14, 0.3),
        ({"diag_epsilon_patience": 8}, 17, 0.3),
        ({"diag_epsilon_patience": 5, "diag_epsilon_reset_value": 0.6}, 14, 0.6),
        ({"diag_epsilon_patience": 5, "diag_epsilon_score_threshold": 1.0}, None, 0.05),
    ],
)
def test_exploration_is_raised_as_the_settings_say(settings, first_window, epsilon):
    told, agent = treated({"episode_reward": 10.0}, windows=8, **settings)
    assert [window for window, _ in told][:1] == ([] if first_window is None else [first_window])
    assert agent.params["epsilon"] == epsilon
