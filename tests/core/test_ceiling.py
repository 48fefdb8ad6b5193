"""When returns cannot rise any further."""

import pytest

from tensor_optix.core.ceiling import Ceiling
from tensor_optix.core.convergence import EndedEpisode

TOP = EndedEpisode(500.0, truncated=True)
LOWER = EndedEpisode(30.0, truncated=False)


def test_the_ceiling_needs_twenty_episodes_at_two_ticks_in_a_row():
    state = Ceiling().after([LOWER] * 3)
    state = state.after([TOP] * 19)
    assert state.streak == 0
    state = state.after([TOP])
    assert not state.is_reached
    assert state.after([TOP]).is_reached
    assert not state.after([LOWER]).is_reached


@pytest.mark.parametrize(
    "episodes",
    [
        [EndedEpisode(500.0, truncated=False)] * 30,
        [EndedEpisode(float(i % 2), truncated=True) for i in range(30)],
        [EndedEpisode(900.0, truncated=True), *[TOP] * 30],
    ],
    ids=["terminated", "different returns", "not the best seen"],
)
def test_no_ceiling_where_something_may_be_left_to_gain(episodes):
    state = Ceiling().after(episodes)
    assert not state.after([episodes[-1]] * 5).is_reached


def test_its_state_survives_saving():
    state = Ceiling().after([LOWER] * 3).after([TOP] * 20)
    assert Ceiling.from_state(state.state_dict()) == state
    assert Ceiling.from_state(state.state_dict()).after([TOP]).is_reached
