"""Two hundred thousand steps leave nothing behind."""

import gc
import resource
import sys
from pathlib import Path

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


def blocks_and_bytes(windows, replay, n_windows):
    """Small objects that are alive (array headers among them), and memory of the process; tracing costs too much."""
    for _ in range(n_windows):
        replay.add(next(windows))
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return sys.getallocatedblocks(), pages * resource.getpagesize()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
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
    early = blocks_and_bytes(windows, replay, N_WINDOWS // 10)
    late = blocks_and_bytes(windows, replay, N_WINDOWS - N_WINDOWS // 10)
    collecting.teardown()
    assert len(replay) == 5_000
    assert late[0] - early[0] < 500, f"{late[0] - early[0]} objects more after {N_WINDOWS * WINDOW_STEPS} steps"
    assert late[1] - early[1] < 4_000_000, f"{(late[1] - early[1]) / 1e6:.1f} MB more"
