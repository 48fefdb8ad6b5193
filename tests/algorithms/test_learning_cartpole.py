"""Do the agents that ``make_agent`` gives learn a task of others' in seconds? (Many seeds: tests/long/learning.py.)"""

import numpy as np
import pytest

gym = pytest.importorskip("gymnasium")
torch = pytest.importorskip("torch")

from tensor_optix.core.rng import RandomStreams  # noqa: E402
from tensor_optix.pipeline.batch_pipeline import BatchPipeline  # noqa: E402
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline  # noqa: E402
from tensor_optix.quick.agents import make_agent  # noqa: E402

torch.set_num_threads(1)
BALANCED = 195.0  # mean return at which the environment's authors call it solved; random actions reach about 23


def score_after(steps, pipeline, agent):
    """The mean return of ten deterministic episodes after so many env steps of training."""
    agent.seed(np.random.default_rng(0))
    pipeline.set_agent(agent)
    pipeline.seed(RandomStreams(0))
    pipeline.setup()
    trained = 0
    for window in pipeline.episodes():
        agent.learn(window)
        trained += window.length
        if trained >= steps:
            break
    data = pipeline.evaluate(agent, seeds=range(10))
    pipeline.teardown()
    return np.mean(data.episode_returns)


def test_ppo_balances_a_pole():
    agent = make_agent(gym.make("CartPole-v1"), "ppo", "torch", seed=0)
    pipeline = VectorBatchPipeline(env_id="CartPole-v1", n_envs=8, window_size=256)
    assert score_after(25_000, pipeline, agent) >= BALANCED


def test_dqn_balances_a_pole():
    agent = make_agent(gym.make("CartPole-v1"), "dqn", "torch", seed=0, hidden=(64, 64), epsilon_decay_steps=3_000)
    pipeline = BatchPipeline(env_id="CartPole-v1", window_size=64)
    assert score_after(16_000, pipeline, agent) >= BALANCED  # about 400; at 10,000 steps seeds lie between 110 and 280
