"""Every algorithm in TensorFlow: losses and gradients are those of the NumPy oracle, updates those of PyTorch."""

import numpy as np
import pytest
from loss_cases import CASES, batch_of, numpy_loss, numpy_slopes

pytest.importorskip("tensorflow")

from tensor_optix.algorithms.dqn import dqn_update
from tensor_optix.algorithms.sac import SAC_UPDATE
from tensor_optix.backends.tf_backend import TFLearner
from tensor_optix.backends.tf_import import keras
from tensor_optix.backends.tf_layers import ScalarParameter

N_UPDATES = 200


def network_of(layers):
    if "value" in layers:
        return ScalarParameter(float(layers["value"]))
    (hidden, n_in), (n_out, _) = layers["0.weight"].shape, layers["2.weight"].shape
    network = keras.Sequential(
        [keras.layers.Input((n_in,)), keras.layers.Dense(hidden, "tanh"), keras.layers.Dense(n_out)]
    )
    network.set_weights([array.T for array in layers.values()])
    return network


def learner_of(weights, trains):
    networks = {name: network_of(layers) for name, layers in weights.items()}
    optimizers = {name: keras.optimizers.SGD(0.02) for name in trains}
    return TFLearner(networks, optimizers, trains=trains)


def as_in_torch(arrays):
    """Keras' names and layout -> those of the cases."""
    layers, kinds = {"dense": "0", "dense_1": "2"}, {"kernel": "weight", "bias": "bias"}
    paths = {f"{layer}.{kind}": f"{layers[layer]}.{kinds[kind]}" for layer in layers for kind in kinds}
    return {paths.get(key, key): array.T for key, array in arrays.items()}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_loss_and_gradient_agree_with_numpy(case):
    learner = learner_of(case.weights, {case.step.optimizer: case.step.trains})
    loss, gradients = learner.loss_and_gradients(case.step, case.batch, case.scalars)
    assert loss == pytest.approx(numpy_loss(case, case.weights), abs=1e-5)
    assert set(gradients) == set(case.step.trains)
    slopes = list(numpy_slopes(case))
    for name, key, index, slope in slopes:
        gradient = as_in_torch(gradients[name])[key].reshape(-1)[index]
        assert gradient == pytest.approx(slope, abs=1e-5), (name, key)
    assert max(abs(slope) for *_, slope in slopes) > 1e-4  # there is something to agree about


@pytest.mark.parametrize(
    ("update", "first", "scalars"),
    [(dqn_update(True, True), "dqn", {"tau": 0.1}), (SAC_UPDATE, "sac", {"tau": 0.05, "target_entropy": -2.0})],
    ids=["DQN", "SAC"],
)
def test_two_hundred_updates_with_targets_end_where_torch_ends(update, first, scalars):
    torch = pytest.importorskip("torch")
    from test_torch_parity import modules_of

    from tensor_optix.backends.torch_backend import TorchLearner

    case = next(case for case in CASES if case.name.startswith(first))
    trains = {step.optimizer: step.trains for step in update.steps}
    data = batch_of(np.random.default_rng(9), continuous=first == "sac", n_rows=200)
    rows = np.random.default_rng(1).integers(0, 200, (1, N_UPDATES, 16))
    modules = modules_of(case)
    for name in update.targets:
        modules[name].requires_grad_(False)
    optimizers = {
        name: torch.optim.SGD([p for network in networks for p in modules[network].parameters()], lr=0.02)
        for name, networks in trains.items()
    }
    ours, theirs = learner_of(case.weights, trains), TorchLearner(modules, optimizers)
    results = [
        learner.run(update, data, rows, scalars, max_grad_norm=1.0, rng=np.random.default_rng(0))
        for learner in (ours, theirs)
    ]
    assert results[0] == pytest.approx(results[1], rel=1e-3, abs=1e-4)
    expected = theirs.state_dict()["networks"]
    for name, arrays in ours.state_dict()["networks"].items():
        for key, array in as_in_torch(arrays).items():
            np.testing.assert_allclose(array, expected[name][key], atol=1e-4, err_msg=f"{name}.{key}")
            if key == "2.weight":
                assert np.abs(array - case.weights[name][key]).max() > 1e-3  # it went somewhere
