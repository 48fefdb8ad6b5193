"""The evaluation interval as a table, and the published scheduler over it."""

import numpy as np
import pytest

from tensor_optix.core.backoff_scheduler import Backoff, BackoffScheduler
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.types import LoopState
from tensor_optix.errors import ConfigError


def test_the_interval_doubles_until_its_limit():
    state, intervals = Backoff(1), []
    for _ in range(5):
        state = state.after(False, LoopConfig(max_interval_episodes=10))
        intervals.append(state.interval)
    assert intervals == [2, 4, 8, 10, 10]


def test_the_interval_returns_to_base_after_an_improvement():
    assert Backoff(interval=32, misses=5).after(True, LoopConfig(base_interval=3)) == Backoff(3)


def test_a_factor_below_two_still_moves_the_interval_on():
    assert Backoff(1).after(False, LoopConfig(backoff_factor=1.1)).interval == 2


@pytest.mark.parametrize(
    ("misses", "state"),
    [(0, LoopState.ACTIVE), (4, LoopState.ACTIVE), (5, LoopState.COOLING), (19, LoopState.COOLING),
     (20, LoopState.DORMANT)],
)  # fmt: skip
def test_the_state_follows_from_the_misses(misses, state):
    assert Backoff(misses=misses).state(LoopConfig()) is state


# -- the published class ---------------------------------------------------------------------------------------------


def tired(n, **settings):
    """A scheduler with one improvement and ``n`` evaluations without."""
    scheduler = BackoffScheduler(**settings)
    scheduler.record_score(10.0)
    scheduler.record_improvement(10.0)
    for _ in range(n):
        scheduler.record_score(10.0)
        scheduler.record_non_improvement()
    return scheduler


@pytest.mark.parametrize(
    ("misses", "state", "interval"),
    [(0, LoopState.ACTIVE, 1), (3, LoopState.ACTIVE, 8), (5, LoopState.COOLING, 32), (8, LoopState.COOLING, 100),
     (20, LoopState.DORMANT, 100)],
)  # fmt: skip
def test_it_backs_off_cools_and_goes_dormant(misses, state, interval):
    scheduler = tired(misses)
    assert (scheduler.current_state, scheduler.current_interval) == (state, interval)
    assert scheduler.consecutive_non_improvements == misses
    assert scheduler.total_episodes == misses + 1


def test_an_improvement_or_a_restart_makes_it_active_again():
    scheduler = tired(19)
    scheduler.record_improvement(11.0)
    assert (scheduler.current_state, scheduler.current_interval, scheduler.best_score) == (LoopState.ACTIVE, 1, 11.0)
    scheduler = tired(20)
    scheduler.record_restart()
    assert (scheduler.current_state, scheduler.current_interval, scheduler.best_score) == (LoopState.ACTIVE, 1, 10.0)
    assert scheduler.consecutive_non_improvements == 0


def test_the_best_score_never_falls():
    scheduler = tired(2)
    scheduler.record_improvement(3.0)
    assert scheduler.best_score == 10.0


def test_a_degradation_looks_closely_but_forgets_no_waiting():
    scheduler = tired(10)
    scheduler.record_degradation()
    assert (scheduler.current_state, scheduler.current_interval) == (LoopState.ACTIVE, 1)
    assert scheduler.consecutive_non_improvements == 10


def test_it_is_not_dormant_before_the_floor():
    assert tired(20, min_episodes_before_dormant=30).current_state is LoopState.COOLING
    assert tired(29, min_episodes_before_dormant=30).current_state is LoopState.DORMANT


def test_a_score_is_counted_once_whether_or_not_it_is_recorded_first():
    scheduler = BackoffScheduler()
    scheduler.record_improvement(1.0)
    scheduler.record_non_improvement()
    scheduler.record_score(1.0)
    scheduler.record_non_improvement()
    assert scheduler.total_episodes == 3


def scored(scores, **settings):
    scheduler = BackoffScheduler(**settings)
    for score in scores:
        scheduler.record_score(float(score))
    return scheduler


def test_a_slow_trend_above_the_noise_is_seen():
    """Twenty scores that rise by one have a standard deviation of 5.8: no margin made of that would ever be beaten."""
    rng = np.random.default_rng(0)
    rising = np.arange(20) + 0.5 * rng.normal(size=20)
    assert scored(rising).is_improving()
    assert scored(-rising).is_degrading()
    assert not scored(-rising).is_improving()


def test_noise_is_no_trend():
    rng = np.random.default_rng(1)
    flat = [scored(rng.normal(size=20)) for _ in range(100)]
    assert sum(scheduler.is_improving() or scheduler.is_degrading() for scheduler in flat) <= 15


def test_with_two_scores_the_last_must_beat_the_best():
    scheduler = BackoffScheduler()
    scheduler.record_improvement(5.0)
    scheduler.record_score(6.0)
    assert scheduler.is_improving()
    scheduler = BackoffScheduler()
    scheduler.record_improvement(5.0)
    scheduler.record_score(5.0)
    assert not scheduler.is_improving()


def test_a_larger_noise_k_asks_for_more():
    rng = np.random.default_rng(0)
    rising = np.arange(20) + 2.0 * rng.normal(size=20)
    assert scored(rising, noise_k=0.5).is_improving()
    assert not scored(rising, noise_k=20.0).is_improving()


@pytest.mark.parametrize("sign", [1.0, -1.0], ids=["positive scores", "negative scores"])
def test_a_collapse_is_told_once_at_any_sign_of_the_scores(sign):
    rng = np.random.default_rng(0)
    scheduler, told = BackoffScheduler(), []
    for i in range(60):
        score = 100 * sign + rng.normal() - (50 if i >= 40 else 0)
        told.append(scheduler.check_degradation(score))
        scheduler.record_score(score)
        if i < 40:
            scheduler.record_improvement(score) if i == 0 else scheduler.record_non_improvement()
    assert [i for i, is_told in enumerate(told) if is_told] in ([42], [43], [44])


def test_an_evaluation_is_due_at_multiples_of_the_interval():
    scheduler = tired(2)
    assert [n for n in range(1, 13) if scheduler.should_adapt(n)] == [4, 8, 12]


def test_it_goes_on_as_if_it_had_not_been_saved():
    first, second = tired(7), BackoffScheduler()
    second.load_state_dict(first.state_dict())
    for scheduler in (first, second):
        scheduler.record_score(12.0)
        scheduler.record_non_improvement()
    assert str(second.state_dict()) == str(first.state_dict())


def test_settings_that_cannot_work_are_refused():
    with pytest.raises(ConfigError, match=r"backoff_factor must be at least 1, got 0\.5"):
        BackoffScheduler(backoff_factor=0.5)
