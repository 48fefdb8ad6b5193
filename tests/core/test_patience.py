"""The patience rule: when the run ends, and when it must not."""

import numpy as np
import pytest

from tensor_optix.core.convergence import EndedEpisode, Tick
from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.patience import PatienceRule, has_learned
from tensor_optix.core.replay import judgements
from tensor_optix.core.types import LoopState, Verdict


def judge_all(scores, config=None, episodes=()):
    config = config or LoopConfig()
    rule = PatienceRule(config, is_guarded=not config.chooses_patience)
    judgements = []
    for i, score in enumerate(scores):
        smoothed = float(np.mean(scores[max(0, i - 1) : i + 1]))
        judgements.append(rule.judge(Tick(score, smoothed, episodes[i] if len(episodes) else ())))
        if judgements[-1].state is LoopState.DORMANT:
            break
    return judgements


def learning_curve(n, *, ticks_to_95_percent=15, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return (1 - np.exp(-3 * np.arange(n) / ticks_to_95_percent) + noise * rng.normal(size=n)).tolist()


def test_a_curve_that_has_flattened_is_converged():
    last = judge_all(learning_curve(200))[-1]
    assert (last.state, last.verdict) == (LoopState.DORMANT, Verdict.CONVERGED)


def test_it_cools_before_it_is_dormant():
    states = [judgement.state for judgement in judge_all(learning_curve(200))]
    assert states[0] is LoopState.ACTIVE
    assert states[-2:] == [LoopState.COOLING, LoopState.DORMANT]


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("shift", [-1e4, 0.0, 1e4])
def test_scaling_and_shifting_the_scores_changes_no_decision(scale, shift):
    curve = learning_curve(200, seed=3)
    there = [(j.state, j.verdict, j.improved, j.degraded) for j in judge_all([scale * y + shift for y in curve])]
    assert there == [(j.state, j.verdict, j.improved, j.degraded) for j in judge_all(curve)]


def test_flat_noise_is_never_converged_within_300_ticks():
    rng = np.random.default_rng(0)
    verdicts = [judge_all(rng.normal(size=300).tolist())[-1].verdict for _ in range(15)]
    assert verdicts.count(Verdict.STUCK) == 15


def test_constant_scores_are_stuck_after_the_limit():
    judgements = judge_all([-200.0] * 400, LoopConfig(stuck_after=120))
    assert (len(judgements), judgements[-1].verdict) == (120, Verdict.STUCK)


def test_min_episodes_before_dormant_is_a_floor():
    config = LoopConfig(dormant_threshold=3, min_episodes_before_dormant=50)
    assert len(judge_all([1.0] * 100, config)) == 50


def test_an_improvement_must_beat_the_noise():
    rng = np.random.default_rng(1)
    flat = [100 + rng.normal() for _ in range(30)]
    improved = [judgement.improved for judgement in judge_all([*flat, 100.5, 100.5, 130.0, 130.0])]
    assert not improved[31]
    assert improved[32] or improved[33]


def test_the_interval_doubles_without_improvement_and_returns_to_the_base():
    intervals = [judgement.interval for judgement in judge_all([0, 10, 10, 10, 10, 500])]
    assert intervals == [1, 1, 1, 2, 4, 1]  # smoothed: 0, 5, 10, 10, 10, 255


def test_a_learned_policy_at_the_ceiling_ends_the_run_at_once():
    scores = [20.0, 60.0, 150.0, 300.0, 450.0, 500.0, 500.0, 500.0, 500.0, 500.0]
    episodes = [[EndedEpisode(score, truncated=score == 500.0)] * 10 for score in scores]
    judgements = judge_all(scores, episodes=episodes)
    assert judgements[-1].verdict is Verdict.CEILING
    assert len(judgements) == 8


@pytest.mark.parametrize("episode_return", [-200.0, -500.0], ids=["MountainCar", "Acrobot"])
def test_identical_truncated_returns_from_the_start_are_no_ceiling(episode_return):
    episodes = [[EndedEpisode(episode_return, truncated=True)] * 10] * 300
    last = judge_all([episode_return] * 300, episodes=episodes)[-1]
    assert last.verdict is Verdict.STUCK


def test_a_rare_success_is_not_learning_yet():
    scores = [0.0] * 40
    scores[7] = scores[23] = 0.2
    assert not has_learned(scores)


def test_a_collapse_is_told_once_and_soon():
    rng = np.random.default_rng(2)
    scores = [*(100 + 5 * rng.normal(size=40)), *(20 + 5 * rng.normal(size=15))]
    told = [i for i, j in enumerate(judge_all(scores, LoopConfig(dormant_threshold=99))) if j.degraded]
    assert len(told) == 1
    assert 40 <= told[0] <= 43


def test_a_restart_forgets_the_clock_but_not_that_learning_was_seen():
    rule = PatienceRule(LoopConfig())
    for score in learning_curve(30, noise=0.01):
        rule.judge(Tick(score, score))
    rule.restart(is_new_agent=False)
    judgements = [rule.judge(Tick(1.0, 1.0)) for _ in range(21)]
    assert judgements[0].evidence["misses"] == 0
    assert judgements[-1].verdict is Verdict.CONVERGED


@pytest.mark.parametrize("rule", [PatienceRule, EvidenceRule])
def test_flat_noise_hardly_ever_raises_an_alarm(rule):
    rng = np.random.default_rng(4)
    config = LoopConfig(stuck_after=10**6, dormant_threshold=10**6)
    runs = [judgements(rule(config), rng.normal(size=300).tolist()) for _ in range(20)]
    assert sum(judgement.degraded for run in runs for judgement in run) <= 6000 / 500



def test_after_a_restart_the_ceiling_must_hold_at_two_ticks_again():
    rule = PatienceRule(LoopConfig())
    for score in [20.0, 60.0, 150.0, 300.0, 450.0, 500.0]:
        rule.judge(Tick(score, score))
    at_the_top = Tick(500.0, 500.0, [EndedEpisode(500.0, truncated=True)] * 20)
    rule.judge(at_the_top)
    rule.restart(is_new_agent=False)
    assert rule.judge(at_the_top).verdict is not Verdict.CEILING
    assert rule.judge(at_the_top).evidence["ceiling_streak"] == 2
