import numpy as np
import pytest

from tensor_optix.backends.numpy_backend import Dense, HostMLP, NumpyOps, elu, leaky_relu, relu, sigmoid, tanh


@pytest.mark.parametrize(
    ("activate", "reference"),
    [
        (tanh, np.tanh),
        (relu, lambda x: np.maximum(x, 0)),
        (sigmoid, lambda x: 1 / (1 + np.exp(-x))),
        (lambda x: elu(x, 0.5), lambda x: np.where(x > 0, x, 0.5 * (np.exp(x) - 1))),
        (lambda x: leaky_relu(x, 0.1), lambda x: np.where(x > 0, x, 0.1 * x)),
    ],
)
def test_activations_overwrite_their_argument_with_the_function(activate, reference):
    x = np.linspace(-5, 5, 21, dtype=np.float32)
    expected = reference(x.astype(np.float64))
    activate(x)
    np.testing.assert_allclose(x, expected, rtol=1e-4, atol=1e-6)


def test_a_host_mlp_sees_changed_weights_and_returns_arrays_of_its_own():
    weight = np.eye(2, dtype=np.float32)
    mlp = HostMLP([Dense(weight, np.ones(2, np.float32))])
    first = mlp(np.array([[1.0, 2.0]], np.float32))
    weight *= 10
    second = mlp(np.array([[1.0, 2.0]], np.float32))
    assert first.tolist() == [[2.0, 3.0]]
    assert second.tolist() == [[11.0, 21.0]]
    assert mlp(np.ones((5, 2), np.float32)).shape == (5, 2)


def test_softplus_is_exact_where_the_naive_form_overflows():
    np.testing.assert_allclose(NumpyOps().softplus(np.array([-800.0, 0.0, 800.0])), [0.0, np.log(2), 800.0])
