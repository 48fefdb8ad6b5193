"""Networks for an environment, before any framework makes them."""

import numpy as np
import pytest

from tensor_optix.algorithms.designs import (
    FIRST_POLICY_GAIN,
    HIDDEN_GAIN,
    Body,
    ImageLayout,
    networks_for,
    orthogonal,
)
from tensor_optix.errors import ConfigError

FLAT = Body((4,), False, (64, 32), "tanh", {"actor": 1, "critic": 2})


@pytest.mark.parametrize(("n", "m"), [(8, 3), (3, 8), (5, 5)])
def test_orthogonal_weights_have_orthonormal_rows_or_columns_times_the_gain(n, m):
    w = orthogonal(np.random.default_rng(0), n, m, 2.0).astype(np.float64)
    gram = w.T @ w if n >= m else w @ w.T
    np.testing.assert_allclose(gram, 4.0 * np.eye(min(n, m)), atol=1e-5)


def test_a_policy_ends_in_a_small_layer_and_a_critic_in_one_of_gain_one():
    networks = networks_for("ppo", FLAT, 2)
    assert [(dense.n_inputs, dense.n_outputs) for dense in networks["actor"].denses] == [(4, 64), (64, 32), (32, 2)]
    assert [dense.gain for dense in networks["actor"].denses] == [HIDDEN_GAIN, HIDDEN_GAIN, FIRST_POLICY_GAIN]
    assert networks["critic"].denses[-1].gain == 1.0
    assert networks["critic"].denses[-1].n_outputs == 1


def test_continuous_actions_need_a_mean_and_a_deviation_each():
    assert networks_for("gaussian_ppo", FLAT, 3)["actor"].denses[-1].n_outputs == 6


def test_critics_of_sac_see_the_action_too_and_are_layer_normalised():
    networks = networks_for("sac", FLAT, 3)
    assert networks["critic1"].denses[0].n_inputs == 4 + 3
    assert [dense.has_layer_norm for dense in networks["critic2"].denses] == [True, True, False]
    assert not any(dense.has_layer_norm for dense in networks["actor"].denses)


def test_networks_of_one_agent_start_from_seeds_of_their_own():
    networks = networks_for("ppo", FLAT, 1)
    assert not np.array_equal(networks["actor"].weights()[0], networks["critic"].weights()[0])
    np.testing.assert_array_equal(networks["actor"].weights()[0], networks["actor"].weights()[0])


@pytest.mark.parametrize(
    ("shape", "layout"),
    [((84, 96), (84, 96, 1, "HW")), ((84, 96, 3), (84, 96, 3, "HWC")), ((4, 84, 96), (84, 96, 4, "CHW")),
     ((10, 10, 10), (10, 10, 10, "HWC"))],
)  # fmt: skip
def test_the_smallest_axis_of_an_image_is_its_channels(shape, layout):
    assert ImageLayout.of(shape) == ImageLayout(*layout)


def test_large_images_get_three_convolutions_and_small_ones_two():
    large = networks_for("dqn", Body((4, 84, 84), True, (512,), "relu"), 6)["q_network"]
    small = networks_for("dqn", Body((10, 10, 4), True, (64,), "relu"), 6)["q_network"]
    assert [(conv.kernel, conv.stride) for conv in large.convs] == [(8, 4), (4, 2), (3, 1)]
    assert large.denses[0].n_inputs == 7 * 7 * 64  # Mnih et al. 2015
    assert small.denses[0].n_inputs == 6 * 6 * 64


def test_images_that_do_not_work_are_refused_in_words():
    with pytest.raises(ConfigError, match="images of 4 x 9 pixels are too small"):
        networks_for("dqn", Body((4, 9, 3), True, (8,), "relu"), 2)


def test_critics_of_images_see_one_row_of_pixels_and_the_action():
    networks = networks_for("sac", Body((10, 10, 4), True, (64,), "relu"), 2)
    critic = networks["critic1"]
    assert (critic.input_shape, critic.image_shape, critic.n_beside) == ((402,), (10, 10, 4), 2)
    assert critic.denses[0].n_inputs == 6 * 6 * 64 + 2
    assert networks["actor"].input_shape == (10, 10, 4)
    assert networks["actor"].denses[-1].n_outputs == 4
