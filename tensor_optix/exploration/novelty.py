"""How new is an observation? As new as a network, trained on all others, fails to predict another one there.

Random network distillation (Burda et al. 2019, "Exploration by random network distillation"), in NumPy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.normalizers import RunningMeanStd
from tensor_optix.errors import ConfigError

HIDDEN, MINIBATCH, OBSERVATION_CLIP = 64, 256, 5.0
BETA_1, BETA_2, ADAM_EPS = 0.9, 0.999, 1e-8

Parameters = dict[str, np.ndarray]


def embed(parameters: Parameters, x: np.ndarray) -> np.ndarray:
    """f(x) = relu(x W_1 + b_1) W_2 + b_2; x: [B, D], result: [B, E]."""
    hidden = np.maximum(x @ parameters["W_1"] + parameters["b_1"], 0.0)
    result: np.ndarray = hidden @ parameters["W_2"] + parameters["b_2"]
    return result


def distillation_gradient(predictor: Parameters, x: np.ndarray, target: np.ndarray) -> Parameters:
    """∂/∂θ of mean_B mean_E (f_θ(x) - target)²; x: [B, D], target: [B, E]."""
    hidden = np.maximum(x @ predictor["W_1"] + predictor["b_1"], 0.0)                                 # [B, H]
    error = hidden @ predictor["W_2"] + predictor["b_2"] - target                                     # [B, E]
    d_output = 2.0 * error / error.size
    d_hidden = (d_output @ predictor["W_2"].T) * (hidden > 0.0)
    return {
        "W_1": x.T @ d_hidden,
        "b_1": d_hidden.sum(axis=0),
        "W_2": hidden.T @ d_output,
        "b_2": d_output.sum(axis=0),
    }


def random_network(n_inputs: int, n_outputs: int, rng: np.random.Generator) -> Parameters:
    """Weights that keep the scale of what passes through them (He et al. 2015), biases 0."""
    return {
        "W_1": rng.normal(size=(n_inputs, HIDDEN)) * np.sqrt(2.0 / n_inputs),
        "b_1": np.zeros(HIDDEN),
        "W_2": rng.normal(size=(HIDDEN, n_outputs)) * np.sqrt(2.0 / HIDDEN),
        "b_2": np.zeros(n_outputs),
    }


class Novelty:
    """Measures observations [T, D], then learns them, so that they are less new the next time.

    The measure is r = mean (predictor - target)² over sqrt(E[r²]), the mean over everything measured so far: about 1
    at first, whatever the environment, and never blown up where all observations are equally new.
    """

    def __init__(
        self, obs_dim: int, embedding_dim: int, *, learning_rate: float, eps: float, rng: np.random.Generator
    ) -> None:
        self._learning_rate, self._eps = learning_rate, eps
        self._target = random_network(obs_dim, embedding_dim, rng)
        self._predictor = random_network(obs_dim, embedding_dim, rng)
        self._moments = [{name: np.zeros_like(array) for name, array in self._predictor.items()} for _ in range(2)]
        self._updates = 0
        self._observations = RunningMeanStd(obs_dim)
        self._errors = RunningMeanStd()

    def measure(self, observations: np.ndarray) -> np.ndarray:
        """How new each observation is, [T]; those measured before, and these, are the scale."""
        self._observations.update(observations)
        x = self._scaled(observations)
        error = np.square(embed(self._predictor, x) - embed(self._target, x)).mean(axis=1)
        self._errors.update(error)
        scale = np.sqrt(self._errors.var + self._errors.mean**2) + self._eps
        novelty: np.ndarray = error / scale
        return novelty

    def learn(self, observations: np.ndarray) -> None:
        """One pass of Adam over the observations; every minibatch is spread over all of them."""
        x = self._scaled(observations)
        n_minibatches = -(-len(x) // MINIBATCH)
        for first in range(n_minibatches):
            rows = x[first::n_minibatches]
            self._step(distillation_gradient(self._predictor, rows, embed(self._target, rows)))

    def state_dict(self) -> dict[str, Any]:
        """Both networks, the moments of Adam and the scales; the arrays are never written to."""
        return {
            "target": dict(self._target), "predictor": dict(self._predictor),
            "moments": [dict(moment) for moment in self._moments], "updates": self._updates,
            "observations": self._observations.state_dict(), "errors": self._errors.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken. Raises ConfigError for networks of other shapes."""
        networks = [state["target"], state["predictor"], *state["moments"]]
        for network in networks:
            for name, array in self._target.items():
                if np.shape(network[name]) != array.shape:
                    raise ConfigError(f"stored {name} has shape {np.shape(network[name])}, this network {array.shape}")
        self._observations.load_state_dict(state["observations"])
        self._errors.load_state_dict(state["errors"])
        copies = [{name: np.array(network[name]) for name in self._target} for network in networks]
        self._target, self._predictor, self._moments = copies[0], copies[1], copies[2:]
        self._updates = state["updates"]

    def _scaled(self, observations: np.ndarray) -> np.ndarray:
        return self._observations.normalize(observations, OBSERVATION_CLIP).astype(np.float64)

    def _step(self, gradient: Parameters) -> None:
        """Adam (Kingma & Ba 2015, algorithm 1), with arrays that replace the former ones."""
        self._updates += 1
        first, second = self._moments
        first = {name: BETA_1 * first[name] + (1 - BETA_1) * g for name, g in gradient.items()}
        second = {name: BETA_2 * second[name] + (1 - BETA_2) * g**2 for name, g in gradient.items()}
        rate = self._learning_rate * np.sqrt(1 - BETA_2**self._updates) / (1 - BETA_1**self._updates)
        self._moments = [first, second]
        self._predictor = {
            name: array - rate * first[name] / (np.sqrt(second[name]) + ADAM_EPS)
            for name, array in self._predictor.items()
        }
