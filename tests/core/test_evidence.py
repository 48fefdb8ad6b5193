"""The evidence rule on single series: what it says, and that saving, scale and restarts change nothing."""

from dataclasses import replace

import numpy as np
import pytest

from tensor_optix.core.check import DOUBT_LEFT, FIRST_CHECK, Evidence, next_check, weigh
from tensor_optix.core.convergence import ConvergenceRule, EndedEpisode, Tick
from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.replay import first_end, judgements
from tensor_optix.core.types import LoopState, Verdict


def curve(n=400, *, ticks_to_95=30, noise=0.05, seed=0):
    rng = np.random.default_rng(seed)
    return (1 - np.exp(-3 * np.arange(1, n + 1) / ticks_to_95) + noise * rng.normal(size=n)).tolist()


def decisions(scores, **settings):
    rule = EvidenceRule(LoopConfig(**settings), cools_down=True)
    return [(j.state, j.verdict, j.improved, j.degraded, j.interval, j.cooldown) for j in judgements(rule, scores)]


def test_a_plateau_is_called_converged_with_the_numbers_behind_it():
    end = first_end(EvidenceRule(LoopConfig()), curve())
    assert end.last.verdict is Verdict.CONVERGED
    assert 30 < end.tick < 120
    assert end.last.evidence["p_done"] >= 0.9
    assert end.last.evidence["bound"] < end.last.evidence["tolerance"]
    assert end.last.explanation.startswith("probability 0.9")


def test_a_curve_in_mid_rise_is_improving():
    *_, last = judgements(EvidenceRule(LoopConfig()), curve(25, noise=0.01))
    assert (last.state, last.verdict) == (LoopState.ACTIVE, Verdict.IMPROVING)


def test_checks_lie_five_percent_apart_and_begin_at_ten():
    checks = [FIRST_CHECK]
    while checks[-1] < 100:
        checks.append(next_check(checks[-1]))
    assert checks[:4] == [10, 11, 12, 13]
    assert checks[-3:] == [92, 97, 102]


def test_the_cool_down_comes_before_the_end():
    states = [decision[0] for decision in decisions(curve())]
    begin, end = states.index(LoopState.COOLING), states.index(LoopState.DORMANT)
    assert LoopState.DORMANT not in states[:begin]
    assert set(states[begin:end]) == {LoopState.COOLING}
    assert end - begin == pytest.approx(0.2 * begin, abs=2)


def test_a_gain_in_the_cool_down_that_stays_revokes_it():
    plateau = curve(200, noise=0.01)
    states = [decision[0] for decision in decisions([*plateau[:85], *(y + 1 for y in plateau[85:])])]
    begin = states.index(LoopState.COOLING)
    assert begin < 85
    again = states.index(LoopState.ACTIVE, begin)
    assert set(states[begin:again]) == {LoopState.COOLING}
    assert again - begin >= 2 * 0.2 * begin  # annealed, and then watched at the full learning rate


def test_a_fall_in_the_cool_down_gives_it_up():
    plateau = curve(200, noise=0.01)
    states = [decision[0] for decision in decisions([*plateau[:85], *(y - 0.8 for y in plateau[85:120])])]
    begin = states.index(LoopState.COOLING)
    assert begin < 85
    assert states.index(LoopState.ACTIVE, begin) <= 85 + 6
    assert LoopState.DORMANT not in states


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("scale", "shift"), [(1024.0, 0.0), (2.0**-20, 0.0), (1.0, -4096.0), (1e3, 1e4)])
def test_scaling_and_shifting_the_scores_changes_no_decision(scale, shift, seed):
    y = np.round(np.array(curve(200, noise=0.1, seed=seed)) * 2**20) / 2**20
    assert decisions((scale * y + shift).tolist()) == decisions(y.tolist())


def test_constant_scores_are_stuck_after_the_limit():
    end = first_end(EvidenceRule(LoopConfig(stuck_after=120)), [-200.0] * 400)
    assert (end.tick, end.last.verdict) == (120, Verdict.STUCK)


def test_a_run_that_falls_and_stays_down_has_collapsed():
    rng = np.random.default_rng(0)
    y = [*curve(40, noise=0.02), *(0.02 * rng.normal(size=300))]
    rule = EvidenceRule(LoopConfig())
    last = list(judgements(rule, y[:90]))[-1]
    assert last.state is LoopState.ACTIVE
    end = first_end(EvidenceRule(LoopConfig()), y)
    assert end.last.verdict is Verdict.COLLAPSED
    assert 100 < end.tick < 115  # fell after 40 to 45 scores, and stayed down half as long again


@pytest.mark.parametrize("settings", [{"min_episodes_before_dormant": 150}, {"improvement_margin": 0.5}])
def test_the_floors_hold_here_too(settings):
    plain, floored = (first_end(EvidenceRule(LoopConfig(**s)), curve()) for s in ({}, settings))
    if "improvement_margin" in settings:
        assert floored.tick <= plain.tick  # what is not worth having does not keep the run going
        assert floored.last.evidence["tolerance"] == 0.5
    else:
        assert 150 <= floored.tick <= 150 * 1.05 + 1  # at the first check from there on


def test_a_learned_policy_at_the_ceiling_ends_the_run_at_once():
    scores = [20.0, 30.0, 60.0, 90.0, 150.0, 220.0, 300.0, 380.0, 450.0, *[500.0] * 10]
    episodes = [[EndedEpisode(score, truncated=score == 500.0)] * 10 for score in scores]
    said = list(judgements(EvidenceRule(LoopConfig()), scores, episodes=episodes))
    first = next(i for i, judgement in enumerate(said) if judgement.state is LoopState.DORMANT)
    assert said[first].verdict is Verdict.CEILING
    assert first <= 12


@pytest.mark.parametrize("episode_return", [-200.0, -500.0], ids=["MountainCar", "Acrobot"])
def test_identical_truncated_returns_from_the_start_are_no_ceiling(episode_return):
    episodes = [[EndedEpisode(episode_return, truncated=True)] * 10] * 300
    *_, last = judgements(EvidenceRule(LoopConfig()), [episode_return] * 300, episodes=episodes)
    assert last.verdict is Verdict.STUCK


def test_a_continuation_must_be_flat_anew_but_is_known_to_have_learned():
    rule, y = EvidenceRule(LoopConfig()), curve()
    end = first_end(rule, y)
    rule.restart(is_new_agent=False)
    said = list(judgements(rule, y[end.tick :]))
    wait = next(i for i, judgement in enumerate(said) if judgement.state is LoopState.DORMANT)
    assert said[0].state is LoopState.ACTIVE
    assert said[wait].verdict is Verdict.CONVERGED
    assert 0.2 * end.tick - 1 <= wait < 0.5 * end.tick


def test_another_agent_starts_from_nothing():
    rule = EvidenceRule(LoopConfig())
    first_end(rule, curve())
    rule.restart(is_new_agent=True)
    assert list(judgements(rule, curve())) == list(judgements(EvidenceRule(LoopConfig()), curve()))


def test_a_rule_that_was_saved_goes_on_as_if_nothing_had_happened():
    """Saved before and after each decision: alarm, recovery, cool-down, end."""
    y = curve(noise=0.05)
    y[40:45] = [score - 1.0 for score in y[40:45]]
    ticks = [Tick(score, score, [EndedEpisode(score, truncated=False)]) for score in y]
    unbroken = EvidenceRule(LoopConfig(), cools_down=True)
    expected = [unbroken.judge(tick) for tick in ticks]
    cooling, dormant = (
        next(i for i, judgement in enumerate(expected) if judgement.state is state)
        for state in (LoopState.COOLING, LoopState.DORMANT)
    )
    for stop in (3, 12, 41, 42, 46, 55, cooling - 1, cooling + 5, dormant - 1, dormant + 1):
        first = EvidenceRule(LoopConfig(), cools_down=True)
        for tick in ticks[:stop]:
            first.judge(tick)
        second: ConvergenceRule = EvidenceRule(LoopConfig(), cools_down=True)
        second.load_state_dict(first.state_dict())
        assert [second.judge(tick) for tick in ticks[stop:]] == expected[stop:], stop


ENOUGH = Evidence(
    p_done=0.95, log_evidence=20.0, range=1.0, error=0.05, noise=0.05, gain=0.0, bound=0.03, tolerance=0.05
)


@pytest.mark.parametrize(
    "missing",
    [{"p_done": 0.82}, {"log_evidence": 5.0}, {"error": 0.3}, {"bound": 0.06}, {"gain": -0.04}],
    ids=["the curve may go on", "no learning", "the range may be chance", "a gain may have been missed", "in a dip"],
)
def test_all_of_the_evidence_must_come_together(missing):
    assert ENOUGH.is_done
    assert not replace(ENOUGH, **missing).is_done


def test_doubts_multiply_over_checks_in_a_row_and_one_check_that_is_not_done_brings_all_of_it_back():
    sure, very_sure, unsure = (replace(ENOUGH, p_done=p) for p in (0.92, 0.995, 0.5))
    assert sure.doubt_after(1.0) > DOUBT_LEFT > sure.doubt_after(sure.doubt_after(1.0))
    assert very_sure.doubt_after(1.0) < DOUBT_LEFT
    assert unsure.doubt_after(0.1) == 1.0


def test_scores_in_a_dip_are_no_plateau():
    plateau = curve(60, noise=0.02)
    dip = [*plateau, *(y - 0.15 for y in curve(20, noise=0.02, seed=1, ticks_to_95=1))]
    assert first_end(EvidenceRule(LoopConfig()), curve(200, noise=0.02)).tick < 80
    assert weigh(plateau).is_flat
    assert weigh(dip).has_dipped
    assert not weigh(dip).is_done


def test_more_noise_leaves_more_room_for_a_gain():
    quiet, loud = (weigh(curve(100, noise=sd)) for sd in (0.02, 0.1))
    assert loud.bound - loud.gain > 3 * (quiet.bound - quiet.gain)
    assert quiet.tolerance == pytest.approx(0.05 * quiet.range)
    assert loud.tolerance == pytest.approx(loud.noise)


def test_one_catastrophic_score_at_the_start_does_not_hide_the_rise():
    y = curve(60, noise=0.02)
    y[2] = -1e6
    early = weigh(y[:15])
    assert 0.5 < early.range < 1.0
    assert early.log_evidence > 4
    assert not early.is_done


def test_the_same_scores_give_the_same_decisions_every_time():
    assert decisions(curve(noise=0.2)) == decisions(curve(noise=0.2))
