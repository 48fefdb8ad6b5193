"""Every loss, its gradient, and two hundred updates of every algorithm: the same numbers on every backend.

The oracle of losses and gradients is NumPy (central differences in float64); that of updates is PyTorch.
"""

from __future__ import annotations

import os
from contextlib import nullcontext

import numpy as np
import pytest
from loss_cases import CASES, LossCase, numpy_loss, numpy_slopes

from tensor_optix.backends.base import Learner, Update
from tests.agents_of_backends import BACKENDS, backend_of, canonical, small_agent, weights_of, window_for

os.environ.setdefault("JAX_PLATFORMS", "cpu")

N_UPDATES = 256
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


def learner_of(backend: str, case: LossCase, rate: float = 0.05) -> Learner:
    """The networks of the case with its weights, and SGD for what its step trains."""
    at, trains = backend_of(backend), {case.step.optimizer: case.step.trains}
    networks = {name: _network_of(backend, layers) for name, layers in case.weights.items()}
    optimizer = {case.step.optimizer: at.optimizer("sgd", rate, [networks[name] for name in case.step.trains])}
    if backend == "torch":
        from tensor_optix.backends.torch_backend import TorchLearner

        for name in networks.keys() - set(case.step.trains):
            networks[name].requires_grad_(False)
        return TorchLearner(networks, optimizer)
    if backend == "jax":
        from tensor_optix.backends.flax_backend import FlaxLearner

        return FlaxLearner(networks, optimizer, trains=trains)
    from tensor_optix.backends.tf_backend import Compilation, TFLearner

    return TFLearner(networks, optimizer, trains=trains, compilation=Compilation.GRAPH)


def _network_of(backend, layers):
    if "value" in layers:
        if backend == "torch":
            from tensor_optix.backends.torch_modules import ScalarParameter
        elif backend == "jax":
            from tensor_optix.backends.flax_modules import ScalarParameter
        else:
            from tensor_optix.backends.tf_layers import ScalarParameter
        return ScalarParameter(float(layers["value"]))
    kernels = [layers[name].T for name in ("0.weight", "2.weight")]
    biases = [layers[name] for name in ("0.bias", "2.bias")]
    if backend == "torch":
        import torch
        from torch import nn

        network = nn.Sequential(nn.Linear(*kernels[0].shape), nn.Tanh(), nn.Linear(*kernels[1].shape))
        network.load_state_dict({name: torch.from_numpy(array) for name, array in layers.items()})
        return network
    if backend == "jax":
        from flax import nnx

        first, last = (nnx.Linear(*kernel.shape, rngs=nnx.Rngs(0)) for kernel in kernels)
        for layer, kernel, bias in zip((first, last), kernels, biases, strict=True):
            layer.kernel.set_value(kernel)
            layer.bias.set_value(bias)
        return nnx.Sequential(first, nnx.tanh, last)
    from tensor_optix.backends.tf_import import keras

    layer = keras.layers.Dense
    n_inputs, hidden = kernels[0].shape
    network = keras.Sequential([keras.layers.Input((n_inputs,)), layer(hidden, "tanh"), layer(kernels[1].shape[1])])
    network.set_weights([kernels[0], biases[0], kernels[1], biases[1]])
    return network


def uncompiled(backend):
    """JAX takes seconds to compile what is computed once here."""
    if backend != "jax":
        return nullcontext()
    import jax

    return jax.disable_jit()


@BACKEND
@CASE
def test_loss_and_gradient_agree_with_numpy(backend, case):
    with uncompiled(backend):
        loss, gradients = learner_of(backend, case).loss_and_gradients(case.step, case.batch, case.scalars)
    assert set(gradients) == set(case.step.trains)
    by_place = {name: canonical(arrays) for name, arrays in gradients.items()}
    assert all(np.abs(array).max() > 0 for arrays in by_place.values() for array in arrays)  # all of it is reached
    keys = {"0.weight": 0, "0.bias": 1, "2.weight": 2, "2.bias": 3, "value": 0}
    errors, slopes = [abs(loss - numpy_loss(case, case.weights))], list(numpy_slopes(case))
    for name, key, index, slope in slopes:
        array = by_place[name][keys[key]]
        errors.append(abs((array.T if key.endswith("weight") else array).reshape(-1)[index] - slope))
    print(f"{case.name}, {backend}: loss off by {errors[0]:.1e}, gradient by at most {max(errors[1:]):.1e}")
    assert max(errors) < 1e-5
    assert max(abs(slope) for *_, slope in slopes) > 1e-4  # there is something to agree about


@BACKEND
@CASE
def test_a_step_moves_what_it_trains_and_nothing_else(backend, case):
    """Gradients flow through the critics into SAC's actor, but its step does not move them; nor targets, nor α."""
    learner = learner_of(backend, case)
    before = learner.state_dict()["networks"]
    with uncompiled(backend):
        learner.run(Update((case.step,)), case.batch, np.arange(24).reshape(1, 1, 24), case.scalars,
                    max_grad_norm=10.0, rng=np.random.default_rng(0))  # fmt: skip
    after = learner.state_dict()["networks"]
    moved = {
        name for name in before if any(not np.array_equal(before[name][key], after[name][key]) for key in before[name])
    }
    assert moved == set(case.step.trains)


# 64 updates a window of 80 rows; DQN and SAC make none in the first, so that there is one size of bursts to compile
FOLLOWING = {
    "ppo": {"n_epochs": 16, "minibatch_size": 20},
    "gaussian_ppo": {"n_epochs": 16, "minibatch_size": 20},
    "dqn": {"updates_per_step": 0.8, "batch_size": 16, "learning_starts": 80, "target_tau": 0.1, "double": True,
            "huber": True, "n_step": 3, "per_alpha": 0.6},
    "sac": {"updates_per_step": 0.8, "batch_size": 16, "learning_starts": 80, "tau": 0.05},
    "a2c": {},
}  # fmt: skip


def trained(backend, algorithm):
    """After windows that the agent in PyTorch acted in."""
    n_windows = {"a2c": N_UPDATES, "dqn": 5, "sac": 5}.get(algorithm, 4)
    teacher, n_updates = small_agent("torch", algorithm, seed=1), 0
    agent = small_agent(backend, algorithm, FOLLOWING[algorithm], optimizer="sgd", rate=0.02)
    start = weights_of(agent)
    for seed in range(n_windows):
        n_updates += agent.learn(window_for(teacher, seed=seed))["n_updates"]
    return start, weights_of(agent), n_updates


@pytest.fixture(scope="module")
def in_torch():
    pytest.importorskip("torch")
    return {algorithm: trained("torch", algorithm) for algorithm in FOLLOWING}


@pytest.mark.parametrize("backend", BACKENDS[1:])
@pytest.mark.parametrize("algorithm", FOLLOWING)
def test_two_hundred_updates_of_an_agent_end_where_those_in_torch_end(backend, algorithm, in_torch):
    start, expected, n_updates = in_torch[algorithm]
    same_start, found, n_same = trained(backend, algorithm)
    assert n_updates == n_same >= 200
    errors, ways = [], []
    for name, arrays in expected.items():
        for place, array in enumerate(arrays):
            np.testing.assert_array_equal(start[name][place], same_start[name][place])
            errors.append(np.abs(found[name][place] - array).max())
            ways.append(np.abs(array - start[name][place]).max())
    print(f"{algorithm}, {backend}: after {n_updates} updates off by at most {max(errors):.1e}")
    assert max(errors) < 1e-4
    assert max(ways) > 1e-2
