"""Distributions of actions: log-probabilities and entropies over ``ops``, sampling in NumPy on the host."""

from __future__ import annotations

import numpy as np

from tensor_optix.backends.base import Ops, Tensor


def categorical_log_prob(ops: Ops, log_p: Tensor, action: Tensor) -> Tensor:
    """log π(a|s) [B] for log_p = log π(·|s) [B, A] and integer actions [B]."""
    return ops.take_last(log_p, action)


def categorical_entropy(ops: Ops, log_p: Tensor) -> Tensor:
    """H(π(·|s)) = -Σ_a π(a|s) log π(a|s) [B] for log_p = log π(·|s) [B, A]."""
    return -ops.sum_last(ops.exp(log_p) * log_p)


def sample_categorical(logits: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Actions [N] drawn with probability softmax(logits [N, A]), by the Gumbel-max trick: argmax_a logit_a + G_a."""
    actions: np.ndarray = (logits + rng.gumbel(size=logits.shape)).argmax(axis=-1)
    return actions


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [..., A] for logits [..., A]."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities
