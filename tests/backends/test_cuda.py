"""On CUDA, where there is a device: the same updates, snapshots that travel, memory that comes back, a rate to see."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from tests.agents_of_backends import BACKENDS, CONTINUOUS, N_ACTIONS, small_agent, weights_of, window_for

BACKEND = pytest.mark.parametrize("backend", BACKENDS)
ALGORITHM = pytest.mark.parametrize("algorithm", ["ppo", "gaussian_ppo", "dqn", "sac"])
SGD = {"optimizer": "sgd", "rate": 0.02}


@pytest.fixture(autouse=True)
def device(request):
    """Asked of the system first: importing three frameworks to hear that there is none takes a minute."""
    if not Path("/dev/nvidia0").exists():
        pytest.skip("no CUDA device here")
    backend = request.node.callspec.params.get("backend", "torch")
    if backend == "torch":
        import torch

        found = torch.cuda.is_available()
    elif backend == "jax":
        import jax

        found = any(one.platform == "gpu" for one in jax.devices())
    else:
        from tensor_optix.backends.tf_import import tf

        found = bool(tf.config.list_physical_devices("GPU"))
    if not found:
        pytest.skip(f"{backend} sees no CUDA device here")


def largest_difference(left, right):
    pairs = [(a, b) for name, arrays in weights_of(left).items()
             for a, b in zip(arrays, weights_of(right)[name], strict=True)]  # fmt: skip
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def on(device, backend, algorithm, **keywords):
    return small_agent(backend, algorithm, device=device, **{**SGD, **keywords})


@BACKEND
@ALGORITHM
def test_updates_are_those_of_the_cpu(backend, algorithm):
    here, there = (on(device, backend, algorithm) for device in ("cpu", "cuda"))
    for seed in range(3):
        window = window_for(here, seed=seed)
        found = [agent.learn(window) for agent in (here, there)]
        assert found[0] == pytest.approx(found[1], rel=1e-2, abs=1e-4)
    assert largest_difference(here, there) < 1e-4


@BACKEND
@ALGORITHM
def test_a_state_goes_from_the_cpu_to_the_device_and_back(backend, algorithm):
    start, there, back = (on(device, backend, algorithm, optimizer="adam") for device in ("cpu", "cuda", "cpu"))
    start.learn(window_for(start))
    there.load_state_dict(start.state_dict())
    back.load_state_dict(there.state_dict())
    assert largest_difference(start, back) == 0.0
    window = window_for(start, seed=1)
    assert start.learn(window) == back.learn(window)  # to the bit: moments and streams came along
    there.learn(window)
    assert largest_difference(there, back) < 1e-3


def test_memory_comes_back_after_teardown_and_the_agent_still_works():
    import torch

    before = torch.cuda.memory_allocated()
    agent = on("cuda", "torch", "dqn", hidden=(4096,))
    agent.learn(window_for(agent))
    assert torch.cuda.memory_allocated() > before
    agent.teardown()
    assert torch.cuda.memory_allocated() == before
    agent.learn(window_for(agent, seed=1))
    assert 0 <= agent.act(np.zeros(4)) < N_ACTIONS


@BACKEND
@ALGORITHM
def test_how_many_updates_a_second(backend, algorithm):
    """Printed, not asserted (``pytest -rP``)."""
    rates = {}
    for device in ("cpu", "cuda"):
        params = {"batch_size": 256, "updates_per_step": 1.0} if algorithm in ("dqn", "sac") else {}
        agent = on(device, backend, algorithm, params=params, hidden=(256, 256))
        windows = [window_for(agent, n_rows=512, seed=seed) for seed in range(3)]
        agent.learn(windows[0])
        start = time.perf_counter()
        n_updates = sum(agent.learn(window)["n_updates"] for window in windows[1:])
        rates[device] = n_updates / (time.perf_counter() - start)
    told = ", ".join(f"{rate:,.0f} updates/s on {device}" for device, rate in rates.items())
    print(f"{algorithm}, {backend}, 256-256, {'continuous' if algorithm in CONTINUOUS else 'discrete'}: {told}")
    assert min(rates.values()) > 0
