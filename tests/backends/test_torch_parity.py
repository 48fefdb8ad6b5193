"""Losses and gradients of every algorithm in PyTorch are those of the NumPy oracle."""

import numpy as np
import pytest
from loss_cases import CASES, numpy_loss, numpy_slopes

torch = pytest.importorskip("torch")
from torch import nn  # noqa: E402

from tensor_optix.backends.torch_backend import TorchLearner  # noqa: E402
from tensor_optix.backends.torch_modules import ScalarParameter  # noqa: E402

torch.set_num_threads(1)


def modules_of(case):
    """Networks of the case with its weights."""
    found = {}
    for name, layers in case.weights.items():
        if "value" in layers:
            found[name] = ScalarParameter(float(layers["value"]))
            continue
        (hidden, n_in), (n_out, _) = layers["0.weight"].shape, layers["2.weight"].shape
        found[name] = nn.Sequential(nn.Linear(n_in, hidden), nn.Tanh(), nn.Linear(hidden, n_out))
        found[name].load_state_dict({key: torch.from_numpy(array) for key, array in layers.items()})
    return found


def learner_of(case):
    networks = modules_of(case)
    for name in networks.keys() - set(case.step.trains):
        networks[name].requires_grad_(False)
    trained = [p for name in case.step.trains for p in networks[name].parameters()]
    return TorchLearner(networks, {case.step.optimizer: torch.optim.SGD(trained, lr=0.1)})


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_agree_with_numpy(case):
    loss, gradients = learner_of(case).loss_and_gradients(case.step, case.batch, case.scalars)
    assert loss == pytest.approx(numpy_loss(case, case.weights), abs=1e-5)
    assert set(gradients) == set(case.step.trains)
    slopes = list(numpy_slopes(case))
    for name, key, index, slope in slopes:
        assert gradients[name][key].reshape(-1)[index] == pytest.approx(slope, abs=1e-5), (name, key)
    assert max(abs(slope) for *_, slope in slopes) > 1e-4  # there is something to agree about


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_loss_reaches_everything_that_it_trains(case):
    _, gradients = learner_of(case).loss_and_gradients(case.step, case.batch, case.scalars)
    assert all(np.abs(array).max() > 0 for layers in gradients.values() for array in layers.values())
