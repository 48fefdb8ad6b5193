"""Distributions of actions: log-probabilities and entropies over ``ops``, sampling in NumPy on the host."""

from __future__ import annotations

import math

import numpy as np

from tensor_optix.backends.base import Ops, Tensor

LOG_STD_MIN, LOG_STD_MAX = -5.0, 2.0
"""Where log σ of a Gaussian policy is clipped."""

ACTION_MARGIN = 1e-6
"""Recorded actions are taken to be at least this far inside (-1, 1) before they are unsquashed."""

LOG_2, LOG_2_PI = math.log(2.0), math.log(2.0 * math.pi)


# -- discrete --------------------------------------------------------------------------------------------------------


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


def sample_epsilon_greedy(values: np.ndarray, epsilon: float, rng: np.random.Generator) -> np.ndarray:
    """Actions [N]: argmax_a values [N, A], or with probability epsilon one drawn uniformly."""
    actions: np.ndarray = values.argmax(axis=-1)
    explores = rng.random(len(actions)) < epsilon
    if explores.any():
        actions[explores] = rng.integers(values.shape[-1], size=np.count_nonzero(explores))
    return actions


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities [..., A] for logits [..., A]."""
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities: np.ndarray = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


# -- continuous: a = tanh(u), u ~ N(μ, σ²) ---------------------------------------------------------------------------


def gaussian_parameters(ops: Ops, head: Tensor) -> tuple[Tensor, Tensor]:
    """(μ, log σ) [B, D] each for a network's outputs [μ ‖ log σ] [B, 2D]; log σ is clipped."""
    n = head.shape[-1] // 2
    return head[..., :n], ops.clip(head[..., n:], LOG_STD_MIN, LOG_STD_MAX)


def gaussian_log_prob(ops: Ops, mean: Tensor, log_std: Tensor, u: Tensor) -> Tensor:
    """log N(u; μ, σ²) = -Σᵢ (zᵢ² / 2 + log σᵢ + log(2π) / 2), z = (u - μ) / σ; [B] for inputs [B, D]."""
    z = (u - mean) * ops.exp(-log_std)
    return -ops.sum_last(0.5 * ops.square(z) + log_std + 0.5 * LOG_2_PI)


def gaussian_entropy(ops: Ops, log_std: Tensor) -> Tensor:
    """H(N(μ, σ²)) = Σᵢ (log σᵢ + log(2πe) / 2) [B] for log_std [B, D]: of u, before it is squashed."""
    return ops.sum_last(log_std + 0.5 * (LOG_2_PI + 1.0))


def tanh_log_det(ops: Ops, u: Tensor) -> Tensor:
    """log |det ∂ tanh(u) / ∂u| = Σᵢ log(1 - tanh² uᵢ) [B] for u [B, D].

    As Σᵢ 2 (log 2 - uᵢ - softplus(-2uᵢ)), which is the same and exact where 1 - tanh² is 0 in float32.
    """
    return ops.sum_last(2.0 * (LOG_2 - u - ops.softplus(-2.0 * u)))


def squashed_log_prob(ops: Ops, head: Tensor, u: Tensor) -> Tensor:
    """log π(a|s) [B] of a = tanh(u) for the policy's outputs [B, 2D] and u [B, D] (Haarnoja et al. 2018, app. C)."""
    mean, log_std = gaussian_parameters(ops, head)
    return gaussian_log_prob(ops, mean, log_std, u) - tanh_log_det(ops, u)


def squashed_sample(ops: Ops, head: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """a = tanh(μ + σ ε) [B, D] and log π(a|s) [B], differentiable; head [B, 2D], noise ε ~ N(0, 1) [B, D]."""
    mean, log_std = gaussian_parameters(ops, head)
    u = mean + ops.exp(log_std) * noise
    return ops.tanh(u), gaussian_log_prob(ops, mean, log_std, u) - tanh_log_det(ops, u)


def sample_gaussian(head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """u = μ + σ ε [N, D] in float32 for outputs [N, 2D], before squashing."""
    n = head.shape[-1] // 2
    std = np.exp(np.clip(head[..., n:], LOG_STD_MIN, LOG_STD_MAX))
    drawn: np.ndarray = (head[..., :n] + std * rng.standard_normal(std.shape, dtype=np.float32)).astype(np.float32)
    return drawn


def unsquashed(actions: np.ndarray) -> np.ndarray:
    """u = atanh(a) for recorded actions in [-1, 1], which may have been rounded to the bounds."""
    limit = 1.0 - ACTION_MARGIN
    inside = np.clip(np.asarray(actions, dtype=np.float64), -limit, limit)
    u: np.ndarray = np.arctanh(inside).astype(np.float32)
    return u
