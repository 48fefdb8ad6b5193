"""How do the wishes of several policies become one action? Pure functions; action ids are never averaged.

Shapes: M members, N observations, A actions or D action dimensions. weights [M], not negative.
"""

from __future__ import annotations

import numpy as np

from tensor_optix.core.statistics import Floats

SMALLEST_PROBABILITY = 1e-8  # one member that is certain does not forbid what all the others want


def product_of_policies(probabilities: Floats, weights: Floats) -> Floats:
    """π(a|s) ∝ Π_i π_i(a|s)^{w_i}, Σ w_i = 1: Boltzmann multiplication (Wiering & van Hasselt 2008).

    probabilities: [M, N, A]. Returns [N, A].
    """
    logs = np.log(np.maximum(probabilities, SMALLEST_PROBABILITY))
    return softmax(np.tensordot(_shares(weights), logs, axes=1))


def boltzmann(q_values: Floats) -> Floats:
    """softmax((Q - max Q) / T), T = mean over the batch of the sd of Q over actions. [N, A] -> [N, A]."""
    temperature = float(np.mean(np.std(q_values, axis=-1)))
    return softmax(q_values / temperature) if temperature > 0 else softmax(np.zeros_like(q_values))


def weighted_vote(actions: np.ndarray, weights: Floats) -> np.ndarray:
    """The action with the most weight behind it; of equals the first member's. [M, N] -> [N]."""
    support = np.einsum("j,ijn->in", weights, actions[:, None] == actions[None])
    winner: np.ndarray = np.take_along_axis(actions, support.argmax(axis=0)[None], axis=0)[0]
    return winner


def weighted_mean(actions: np.ndarray, weights: Floats) -> np.ndarray:
    """a = Σ w_i a_i / Σ w_i. [M, N, ...] -> [N, ...]."""
    mean: np.ndarray = np.tensordot(_shares(weights), actions, axes=1)
    return mean


def medoid(actions: np.ndarray, weights: Floats) -> np.ndarray:
    """The member's action with the least weighted distance to all others: a mean of two modes may be neither.

        a = a_i,  i = argmin_i Σ_j w_j ‖a_i - a_j‖                           [M, N, D] -> [N, D]
    """
    wide = actions.astype(float).reshape(len(actions), actions.shape[1], -1)
    distances = np.linalg.norm(wide[:, None] - wide[None], axis=-1)                                 # [M, M, N]
    winner = np.einsum("j,ijn->in", weights, distances).argmin(axis=0)                              # [N]
    chosen: np.ndarray = actions[winner, np.arange(actions.shape[1])]
    return chosen


def sample(probabilities: Floats, rng: np.random.Generator) -> np.ndarray:
    """One action id per row. [N, A] -> [N]."""
    below = np.cumsum(probabilities, axis=-1) < rng.random(len(probabilities))[:, None]
    ids: np.ndarray = np.minimum(below.sum(axis=-1), probabilities.shape[-1] - 1)
    return ids


def softmax(logits: Floats) -> Floats:
    """Over the last axis."""
    exponentials = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: Floats = exponentials / exponentials.sum(axis=-1, keepdims=True)
    return probabilities


def _shares(weights: Floats) -> Floats:
    total = float(np.sum(weights))
    shares: Floats = weights / total if total > 0 else np.full(len(weights), 1 / len(weights))
    return shares
