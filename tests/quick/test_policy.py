"""What a trained policy does with raw observations."""

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.spaces import Box, Discrete

pytest.importorskip("torch")

from tensor_optix import NumpyPolicy, export_policy, quick


def short_run(tmp_path, env_id, **settings):
    return quick.train(env_id, seed=1, out=tmp_path, verbose=False, evaluation_episodes=1, **settings)


@pytest.fixture(scope="module")
def cartpole(tmp_path_factory):
    return short_run(tmp_path_factory.mktemp("runs"), "CartPole-v1", max_steps=1024, n_envs=2, frame_stack=2)


@pytest.fixture(scope="module")
def pendulum(tmp_path_factory):
    return short_run(tmp_path_factory.mktemp("runs"), "Pendulum-v1", algorithm="ppo", max_steps=400, n_envs=2,
                     window_size=200, hidden="8")  # fmt: skip


def seen_in_training(run, seed, n):
    """Observations of the first steps of an env episode in the wrapped environment, and the agent's actions."""
    from tensor_optix.quick.environments import env_factory

    build = run.recipe.build
    env = env_factory(build.env_id, build.frame_stack)()
    observation, _ = env.reset(seed=seed)
    actions = []
    for _ in range(n):
        action = run.agent.act(observation, deterministic=True)
        actions.append(action)
        env_action = 2.0 * np.asarray(action) if isinstance(env.action_space, Box) else action
        observation, *_ = env.step(env_action)
    env.close()
    return actions


def played(act, reset, run, seed, n):
    env = run.make_env()
    observation, _ = env.reset(seed=seed)
    reset()
    actions = []
    for _ in range(n):
        actions.append(act(observation))
        observation, *_ = env.step(actions[-1])
    env.close()
    return actions


def test_on_raw_observations_it_acts_as_the_agent_did_on_stacked_ones(cartpole):
    policy = cartpole.policy
    assert played(policy, policy.reset, cartpole, 7, 8) == seen_in_training(cartpole, 7, 8)


def test_its_exported_file_stacks_frames_as_well(cartpole, tmp_path):
    policy = NumpyPolicy.load(export_policy(cartpole, tmp_path / "policy"))
    player = policy.player()
    assert policy.frame_stack == 2
    for seed in (7, 8):  # a second env episode sees nothing of the first
        assert played(player, player.reset, cartpole, seed, 8) == seen_in_training(cartpole, seed, 8)


def test_its_actions_are_in_the_units_of_the_environment(pendulum):
    policy = pendulum.policy
    actions = played(policy, policy.reset, pendulum, 7, 5)
    np.testing.assert_allclose(actions, 2.0 * np.array(seen_in_training(pendulum, 7, 5)), rtol=1e-5)
    assert all(pendulum.make_env().action_space.contains(action) for action in actions)


class Corner(gym.Env):
    """Bytes [6, 7, 3] with one lit pixel; the action that names its side is worth 1."""

    observation_space = Box(0, 255, (6, 7, 3), np.uint8)
    action_space = Discrete(2)

    def _picture(self):
        self._side = int(self.np_random.integers(2))
        picture = np.zeros((6, 7, 3), np.uint8)
        picture[3, 6 * self._side] = 255
        return picture

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self._steps = 0
        return self._picture(), {}

    def step(self, action):
        reward, self._steps = float(action == self._side), self._steps + 1
        return self._picture(), reward, self._steps >= 8, False, {}


@pytest.fixture
def corner():
    gym.register("Corner-v0", Corner)
    yield "Corner-v0"
    del gym.registry["Corner-v0"]


def test_images_are_learned_from_and_acted_on(corner, tmp_path):
    run = short_run(tmp_path, corner, hidden="32", n_envs=2, window_size=64, minibatch_size=64, n_epochs=10,
                    max_steps=1280, learning_rate=2e-3)  # fmt: skip
    assert run.recipe.build.is_image
    assert run.best_score == 8.0


def test_stacked_images_become_channels(corner):
    from tensor_optix.quick.environments import env_factory

    env = env_factory(corner, 3)()
    first, _ = env.reset(seed=1)
    assert env.observation_space.shape == first.shape == (6, 7, 9)
    second, *_ = env.step(0)
    np.testing.assert_array_equal(first[..., :3], first[..., 6:])  # nothing was before it
    np.testing.assert_array_equal(second[..., :6], first[..., 3:])


def test_discrete_observations_become_one_hot_vectors(tmp_path):
    run = short_run(tmp_path, "FrozenLake-v1", max_steps=64, n_envs=2, window_size=32)
    assert run.agent.actor[0].in_features == 16
    assert run.policy(3) in range(4)
