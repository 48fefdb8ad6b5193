import pytest

from tensor_optix.algorithms.spaces import PPO_SPACE
from tensor_optix.errors import ConfigError


def test_the_tuner_sees_what_the_published_release_tuned():
    assert PPO_SPACE.tuner_bounds == {
        "learning_rate": (1e-4, 3e-3), "gamma": (0.95, 0.999), "clip_ratio": (0.1, 0.3), "entropy_coef": (0.001, 0.05),
    }  # fmt: skip
    assert PPO_SPACE.log_params == ["learning_rate"]


def test_defaults_are_the_published_ones_and_lie_within_their_limits():
    assert PPO_SPACE.defaults == {
        "learning_rate": 3e-4, "gamma": 0.99, "clip_ratio": 0.2, "entropy_coef": 0.01, "vf_coef": 0.5,
        "gae_lambda": 0.95, "n_epochs": 10, "minibatch_size": 64, "max_grad_norm": 0.5,
    }  # fmt: skip
    assert PPO_SPACE.checked(PPO_SPACE.defaults) == PPO_SPACE.defaults


@pytest.mark.parametrize(
    "bad", [{"gamma": 1.0}, {"learning_rate": 0.0}, {"n_epochs": 0}, {"gae_lambda": 1.1}, {"max_grad_norm": 0.0}]
)
def test_values_outside_the_hard_limits_are_refused(bad):
    with pytest.raises(ConfigError, match=next(iter(bad))):
        PPO_SPACE.checked(bad)
