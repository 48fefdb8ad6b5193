"""Windows of real pipelines, stored and drawn: with the true values, every target is the true value."""

import itertools

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.replay_buffer import ReplayBuffer
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.types import HyperparamSet
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.testing.toys import ConstantRewardChain, TruncatedWalk

GAMMA = 0.9


class Idle(BaseAgent):
    """Always action 0."""

    def act(self, observation):
        return 0

    def learn(self, episode_data):
        return {}

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams): ...
    def save_weights(self, path): ...
    def load_weights(self, path): ...


def vector(mode, window_size):
    return lambda make_env: VectorBatchPipeline(
        SyncVectorEnv([make_env] * 3, autoreset_mode=mode), Idle(), window_size
    )


PIPELINES = {
    "one environment": lambda make_env: BatchPipeline(make_env, Idle(), 7),
    "a window a step": lambda make_env: BatchPipeline(make_env, Idle(), 1),
    "three environments": lambda make_env: VectorBatchPipeline([make_env] * 3, Idle(), 7),
    "three environments, a window a step": lambda make_env: VectorBatchPipeline([make_env] * 3, Idle(), 1),
    **{f"vector {mode.value}, {size}": vector(mode, size) for mode in AutoresetMode for size in (1, 7)},
}


@pytest.mark.parametrize("name", PIPELINES)
@pytest.mark.parametrize("env", [ConstantRewardChain(5), ConstantRewardChain(9, truncate_after=4), TruncatedWalk(6)],
                         ids=["terminates", "truncates", "only truncates"])  # fmt: skip
def test_every_n_step_target_is_the_true_value(name, env):
    make_env = {ConstantRewardChain: lambda: ConstantRewardChain(env.length, env.truncate_after),
                TruncatedWalk: lambda: TruncatedWalk(env.limit)}[type(env)]  # fmt: skip
    pipeline, buffer, rng = PIPELINES[name](make_env), ReplayBuffer(40), np.random.default_rng(0)
    pipeline.seed(RandomStreams(0))
    for window in itertools.islice(pipeline.episodes(), 20):
        buffer.add(window)
        for n_step in (1, 3, 8):
            batch = buffer.sample(1, 64, rng=rng, n_step=n_step, gamma=GAMMA)
            target = batch["reward"] + batch["discount"] * env.value(batch["next_observation"], GAMMA)
            np.testing.assert_allclose(target, env.value(batch["observation"], GAMMA), rtol=1e-5)
    pipeline.teardown()


@pytest.mark.parametrize("name", PIPELINES)
def test_targets_go_on_across_windows(name):
    pipeline, buffer = PIPELINES[name](lambda: TruncatedWalk(1000)), ReplayBuffer(100)
    pipeline.seed(RandomStreams(0))
    for window in itertools.islice(pipeline.episodes(), 21):
        buffer.add(window)
    batch = buffer.sample(1, 500, rng=np.random.default_rng(0), n_step=5, gamma=GAMMA)
    newest = max(batch["next_observation"][:, 0])
    expected = np.minimum(5, newest - batch["observation"][:, 0])
    np.testing.assert_array_equal(batch["n_used"], expected)
