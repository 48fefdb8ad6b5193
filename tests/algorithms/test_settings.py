"""Base values and schedules."""

import pytest

from tensor_optix.algorithms.replay_agent import burst_sizes, largest_burst
from tensor_optix.algorithms.settings import Settings, stored_settings
from tensor_optix.core.hyperparams import LinearSchedule

FALLING = LinearSchedule(1.0, 0.0, 10)


def test_a_scheduled_value_goes_with_the_steps_and_its_base_is_the_start():
    settings = Settings({"rate": 0.5, "gamma": 0.9}).updated({"rate": FALLING})
    assert settings.base == {"rate": 1.0, "gamma": 0.9}
    assert [settings.at(step)["rate"] for step in (0, 5, 10, 99)] == [1.0, 0.5, 0.0, 0.0]
    assert settings.at(5)["gamma"] == 0.9


def test_the_base_value_given_back_leaves_a_schedule_and_another_ends_it():
    settings = Settings({"rate": 0.5}).updated({"rate": FALLING})
    assert settings.updated({"rate": 1.0}).at(5) == {"rate": 0.5}
    assert settings.updated({"rate": 0.7}).at(5) == {"rate": 0.7}
    assert settings.at(5) == {"rate": 0.5}  # a value: whoever holds it sees no change


def test_stored_and_read_it_is_the_same():
    settings = Settings({"rate": 0.5, "gamma": 0.9}).updated({"rate": FALLING})
    assert Settings({}).updated(stored_settings(settings.state_dict())) == settings


@pytest.mark.parametrize(
    ("n", "largest", "expected"), [(0, 64, []), (1, 64, [1]), (100, 64, [64, 32, 4]), (131, 64, [64, 64, 2, 1])]
)
def test_bursts_are_powers_of_two(n, largest, expected):
    assert burst_sizes(n, largest) == expected


def test_bursts_of_images_are_smaller():
    assert largest_burst(4, 64) == 64
    assert largest_burst(84 * 84 * 4, 32) == 8
    assert largest_burst(10**9, 32) == 1
