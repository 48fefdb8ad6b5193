"""The evaluation interval as a table."""

import pytest

from tensor_optix.core.backoff_scheduler import Backoff
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.types import LoopState


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
