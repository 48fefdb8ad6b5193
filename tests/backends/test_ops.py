"""The operations that losses are written in give what NumPy gives, on every backend."""

import os

import numpy as np
import pytest

from tensor_optix.backends.numpy_backend import NumpyOps
from tests.agents_of_backends import BACKENDS

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def ops_of(backend):
    """The operations, and what makes their arrays."""
    if backend == "torch":
        import torch

        from tensor_optix.backends.torch_backend import TorchOps

        return TorchOps(), torch.from_numpy
    if backend == "jax":
        import jax.numpy as jnp

        from tensor_optix.backends.flax_ops import FlaxOps

        return FlaxOps(), jnp.asarray
    from tensor_optix.backends.tf_import import tf
    from tensor_optix.backends.tf_ops import TFOps

    return TFOps(), tf.constant


ONE, TWO = ("exp", "tanh", "softplus", "abs", "square", "mean", "sum_last", "log_softmax", "argmax_last",
            "stop_gradient"), ("minimum", "maximum")  # fmt: skip


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("names", "n_arguments"), [(ONE, 1), (TWO, 2)], ids=["one argument", "two"])
def test_operations_agree_with_numpy(backend, names, n_arguments):
    ops, array = ops_of(backend)
    inputs = [np.random.default_rng(i).standard_normal((3, 4)).astype(np.float32) for i in range(n_arguments)]
    for name in names:
        expected = getattr(NumpyOps(), name)(*inputs)
        found = np.asarray(getattr(ops, name)(*map(array, inputs)))
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("backend", BACKENDS)
def test_operations_with_other_arguments_agree_with_numpy(backend):
    ops, array = ops_of(backend)
    x, index = np.random.default_rng(0).standard_normal((3, 4)).astype(np.float32), np.array([2, 0, 3])
    for one, a, i in ((NumpyOps(), x, index), (ops, array(x), array(index))):
        np.testing.assert_allclose(one.clip(a, -0.5, 0.5), np.clip(x, -0.5, 0.5))
        np.testing.assert_allclose(one.where(a > 0, a, 0.0), np.maximum(x, 0.0))
        np.testing.assert_allclose(one.take_last(a, i), x[[0, 1, 2], index])
        np.testing.assert_allclose(one.squeeze_last(a[:, :1]), x[:, 0])
        np.testing.assert_allclose(one.concat_last([a, a]), np.concatenate([x, x], -1))
