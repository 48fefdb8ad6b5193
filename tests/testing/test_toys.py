import gymnasium as gym
import numpy as np
import pytest

from tensor_optix.testing import (
    ConstantRewardChain,
    FailingEnv,
    OneStepBandit,
    SharedBufferEnv,
    TerminatingCorridor,
    TruncatedWalk,
)

GAMMA = 0.9


def play(env, action):
    """Rewards, successors and ends of one env episode under a constant action."""
    env.reset(seed=0)
    steps = []
    while not steps or not (steps[-1][2] or steps[-1][3]):
        steps.append(env.step(action))
    return steps


@pytest.mark.parametrize("env", [ConstantRewardChain(5), ConstantRewardChain(5, truncate_after=3), TruncatedWalk(4)])
def test_the_closed_form_value_solves_the_bellman_equation(env):
    observation = env.reset()[0]
    for successor, reward, terminated, _, _ in play(env, 0):
        bootstrap = 0.0 if terminated else GAMMA * env.value(successor, GAMMA)
        assert env.value(observation, GAMMA) == pytest.approx(reward + bootstrap)
        observation = successor


def test_the_chain_terminates_at_its_length_and_truncates_before():
    assert [step[2:4] for step in play(ConstantRewardChain(2), 0)] == [(False, False), (True, False)]
    assert [step[2:4] for step in play(ConstantRewardChain(9, truncate_after=2), 0)] == [(False, False), (False, True)]


def test_the_corridor_rewards_arrival_only():
    env = TerminatingCorridor(3)
    assert [step[1] for step in play(env, 1)] == [0.0, 0.0, 1.0]
    env.reset()
    assert env.step(0)[0].tolist() == [0.0]


def test_the_bandit_rewards_the_action_of_its_context():
    env = OneStepBandit(3)
    contexts = [int(env.reset(seed=seed)[0].argmax()) for seed in range(20)]
    assert set(contexts) == {0, 1, 2}
    env.reset(seed=0)
    assert env.step(contexts[0])[1:4] == (1.0, True, False)
    assert env.step((contexts[0] + 1) % 3)[1] == 0.0


def test_the_failing_env_fails_when_it_should():
    env = FailingEnv(2, error=KeyError)
    env.reset()
    env.step(0)
    with pytest.raises(KeyError):
        env.step(0)
    with pytest.raises(ValueError, match="out of order"):
        FailingEnv(0).reset()
    assert play(FailingEnv(3, limit=2), 0)[-1][3]


def test_the_shared_buffer_is_one_object():
    env = SharedBufferEnv(3)
    first = env.reset()[0]
    assert env.step(0)[0] is first
    assert first.tolist() == [1.0]


@pytest.mark.parametrize("env", [ConstantRewardChain(3), TerminatingCorridor(3), OneStepBandit(), SharedBufferEnv(3)])
def test_toys_keep_to_their_spaces(env):
    assert isinstance(env, gym.Env)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    assert env.step(env.action_space.sample())[0].dtype == np.float32
