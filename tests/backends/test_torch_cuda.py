"""On CUDA, where there is a device: the same updates, snapshots that travel, memory that comes back."""

import numpy as np
import pytest
from loss_cases import batch_of

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.algorithms.dqn import dqn_update  # noqa: E402
from tensor_optix.backends.torch_backend import TorchLearner  # noqa: E402
from tensor_optix.backends.torch_modules import move_networks, target_of  # noqa: E402

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def learner_on(device, width=16):
    torch.manual_seed(0)
    q = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, 3))
    networks = {"q": q, "q_target": target_of(q)}
    move_networks(networks, torch.device(device))
    return TorchLearner(networks, {"optimizer": torch.optim.SGD(q.parameters(), lr=0.01, momentum=0.9)}, device)


def run(learner, n_updates=20):
    data = batch_of(np.random.default_rng(0), continuous=False, n_rows=32 * n_updates)
    rows = np.arange(32 * n_updates).reshape(1, n_updates, 32)
    return learner.run(dqn_update(True, False), data, rows, {"tau": 0.1}, max_grad_norm=10.0,
                       rng=np.random.default_rng(0))  # fmt: skip


def largest_difference(left, right):
    pairs = [(left["networks"][name][key], array) for name, layers in right["networks"].items()
             for key, array in layers.items()]  # fmt: skip
    return max(float(np.abs(a - b).max()) for a, b in pairs)


def test_updates_are_those_of_the_cpu():
    here, there = learner_on("cpu"), learner_on("cuda")
    assert run(here) == pytest.approx(run(there), rel=1e-3)
    assert largest_difference(here.state_dict(), there.state_dict()) < 1e-4


def test_a_state_goes_from_one_device_to_the_other_and_back():
    here, there, back = learner_on("cpu"), learner_on("cuda"), learner_on("cpu")
    run(there)
    here.load_state_dict(there.state_dict())
    back.load_state_dict(here.state_dict())
    assert largest_difference(here.state_dict(), there.state_dict()) == 0.0
    run(there)
    run(back)
    assert largest_difference(back.state_dict(), there.state_dict()) < 1e-4


def test_released_memory_comes_back_and_the_learner_still_works():
    before = torch.cuda.memory_allocated()
    learner = learner_on("cuda", width=4096)
    run(learner, 2)
    assert torch.cuda.memory_allocated() > before
    learner.release()
    assert torch.cuda.memory_allocated() == before
    run(learner, 2)
    assert learner.forward("q", np.zeros((1, 4), np.float32)).shape == (1, 3)
