"""Settings are checked at the border."""

import pytest

from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.errors import ConfigError
from tests.core.scripted import ScriptedAgent


class OffPolicy(ScriptedAgent):
    default_min_episodes_before_dormant = 60

    @property
    def is_on_policy(self):
        return False


def test_an_unknown_setting_is_refused_with_the_nearest_name():
    with pytest.raises(ConfigError, match=r"unknown setting 'max_episode'\. Did you mean 'max_episodes'\?"):
        LoopConfig.from_settings({"max_episode": 3})


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("max_episodes", -1, "max_episodes must be at least 0, got -1"),
        ("dormant_threshold", 0, "dormant_threshold must be at least 1, got 0"),
        ("dormant_threshold", 2.5, "dormant_threshold must be a whole number, got 2.5"),
        ("backoff_factor", 0.5, "backoff_factor must be at least 1, got 0.5"),
        ("noise_k", float("nan"), "noise_k must be a finite number, got nan"),
        ("max_steps", "many", "max_steps must be a finite number, got 'many'"),
        ("max_steps", float("inf"), "max_steps must be a finite number, got inf"),
        ("max_steps", True, "max_steps must be a finite number, got True"),
        ("plateau_threshold", None, "plateau_threshold must be a finite number, got None"),
    ],
)
def test_a_value_out_of_range_is_refused_by_name(name, value, message):
    with pytest.raises(ConfigError, match=message):
        LoopConfig(**{name: value})


def test_off_policy_agents_get_their_own_patience_where_the_user_left_it_alone():
    config = LoopConfig().adapted_to(OffPolicy())
    assert (config.dormant_threshold, config.min_episodes_before_dormant) == (15, 60)
    kept = LoopConfig(dormant_threshold=33, min_episodes_before_dormant=7).adapted_to(OffPolicy())
    assert (kept.dormant_threshold, kept.min_episodes_before_dormant) == (33, 7)


def test_only_another_threshold_than_the_default_implies_patience():
    assert not LoopConfig(dormant_threshold=20, score_window=5).chooses_patience
    assert LoopConfig(plateau_threshold=6).chooses_patience
    assert LoopConfig(convergence="patience").chooses_patience
