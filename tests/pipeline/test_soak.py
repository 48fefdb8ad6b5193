"""Two hundred thousand steps leave nothing behind."""

import gc
import tracemalloc

import pytest

from tensor_optix.core.replay_buffer import ReplayBuffer
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.batch_pipeline import BatchPipeline
from tensor_optix.pipeline.vector_pipeline import VectorBatchPipeline
from tensor_optix.testing.random_acting import RandomActing
from tensor_optix.testing.toys import LabelledEnv

WINDOW_STEPS, N_WINDOWS = 2_000, 100


def env():
    return LabelledEnv(1, (7, 40, 200), truncate_after=150)


def memory_after(windows, replay, n_windows):
    for _ in range(n_windows):
        replay.add(next(windows))
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


@pytest.mark.parametrize("pipeline", [
    lambda: BatchPipeline(env(), window_size=WINDOW_STEPS),
    lambda: VectorBatchPipeline(env_fns=[env] * 4, window_size=WINDOW_STEPS // 4),
], ids=["one environment", "four environments"])  # fmt: skip
def test_memory_is_flat_over_200_000_steps(pipeline):
    collecting = pipeline()
    collecting.seed(RandomStreams(0))
    collecting.set_agent(RandomActing(env().action_space))
    collecting.setup()
    windows, replay = collecting.episodes(), ReplayBuffer(5_000)
    tracemalloc.start()
    try:
        early = memory_after(windows, replay, N_WINDOWS // 10)
        late = memory_after(windows, replay, N_WINDOWS - N_WINDOWS // 10)
    finally:
        tracemalloc.stop()
        collecting.teardown()
    assert len(replay) == 5_000
    assert late - early < 200_000, f"{(late - early) / 1000:.0f} kB more after {N_WINDOWS * WINDOW_STEPS} steps"
