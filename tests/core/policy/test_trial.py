"""The steps of a trial, as a table."""

from hypothesis import given
from hypothesis import strategies as st

from tensor_optix.core.policy.trial import COMPARISON, CONTROL, VARIANT, affords_a_pair, plan_trial


def test_a_trial_takes_a_quarter_and_keeps_two_fifths_of_it_for_the_comparison():
    trial = plan_trial(1, 0.1, env_steps=4000, windows=100, episode_steps=0)
    assert trial is not None
    assert trial.limit == 5000
    assert trial.fork_steps == (1000 - 400) // 2 - 40 + 1


def test_long_episodes_get_more_of_it():
    short = plan_trial(1, 0.1, env_steps=40000, windows=100, episode_steps=0)
    long = plan_trial(1, 0.1, env_steps=40000, windows=100, episode_steps=300)
    assert short is not None
    assert long is not None
    assert long.fork_steps < short.fork_steps


def test_there_is_no_trial_where_a_fork_would_get_no_window():
    assert plan_trial(1, 0.1, env_steps=400, windows=10, episode_steps=0) is None
    assert plan_trial(1, 0.1, env_steps=0, windows=0, episode_steps=0) is None


def test_the_control_gets_exactly_what_the_variant_has_used():
    trial = plan_trial(1, 0.1, env_steps=4000, windows=100, episode_steps=0)
    assert trial is not None
    assert trial.phase == VARIANT
    assert trial.remaining(4100) == trial.fork_steps - 100
    control = trial.after_fork(4280)
    assert (control.phase, control.fork_steps, control.variant_steps) == (CONTROL, 280, 280)
    over = control.after_fork(4560)
    assert (over.phase, over.control_steps) == (COMPARISON, 280)


@given(window=st.integers(1, 5000), windows=st.integers(1, 500), episode=st.integers(0, 3000))
def test_no_trial_ever_uses_more_than_a_quarter(window, windows, episode):
    start = window * windows
    trial = plan_trial(1, 0.1, env_steps=start, windows=windows, episode_steps=episode)
    if trial is None:
        return
    now = start
    while trial.phase != COMPARISON:
        while trial.remaining(now):
            now += window
        trial = trial.after_fork(now)
    while affords_a_pair(trial, now, episode):
        now += 2 * max(1, episode)
    assert trial.variant_steps == trial.control_steps > 0
    assert now - start <= 0.25 * start
