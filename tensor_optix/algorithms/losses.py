"""The losses, as pure functions over ``ops``: the paper's names, shapes in brackets."""

from __future__ import annotations

from typing import Any

from tensor_optix.algorithms.distributions import categorical_entropy, categorical_log_prob
from tensor_optix.backends.base import Batch, Networks, Ops, Scalars, Tensor


def ppo_surrogate(ops: Ops, log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip_ratio: Any) -> Tensor:
    """Clipped surrogate to minimise (Schulman et al. 2017, eq. 7).

        r = π(a|s) / π_old(a|s)      L = -E[min(r A, clip(r, 1-ε, 1+ε) A)]

    log_prob, old_log_prob, advantage: [B]; clip_ratio: ε. Returns a scalar.
    """
    ratio = ops.exp(log_prob - old_log_prob)                                    # [B]
    clipped = ops.clip(ratio, 1 - clip_ratio, 1 + clip_ratio)
    return -ops.mean(ops.minimum(ratio * advantage, clipped * advantage))


def squared_error(ops: Ops, value: Tensor, target: Tensor) -> Tensor:
    """Value loss E[(V(s) - R)²]; value, target: [B]. Returns a scalar."""
    return ops.mean(ops.square(value - target))


def policy_change(ops: Ops, log_prob: Tensor, old_log_prob: Tensor, clip_ratio: Any) -> dict[str, Tensor]:
    """How far the policy moved from the one that collected the data; metrics only, without gradient.

    approx_kl: E[(r - 1) - log r], the low-variance estimate of KL(π_old ‖ π) (Schulman 2020, "Approximating KL
    divergence"). clip_fraction: the share of rows with |r - 1| > ε. Both inputs: [B].
    """
    log_ratio = ops.stop_gradient(log_prob) - old_log_prob
    excess = ops.exp(log_ratio) - 1
    is_clipped = ops.where(ops.abs(excess) > clip_ratio, 1.0, 0.0)
    return {"approx_kl": ops.mean(excess - log_ratio), "clip_fraction": ops.mean(is_clipped)}


def ppo_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, dict[str, Tensor]]:
    """PPO for discrete actions: L = L_clip + c₁ L_vf - c₂ H (Schulman et al. 2017, eq. 9).

    batch: observation [B, ...], action [B], log_prob [B] (of the policy that collected), advantage [B], return [B].
    scalars: clip_ratio, vf_coef (c₁), entropy_coef (c₂).
    """
    log_p = ops.log_softmax(networks["actor"](batch["observation"]))            # [B, A]
    value = ops.squeeze_last(networks["critic"](batch["observation"]))          # [B]
    log_prob = categorical_log_prob(ops, log_p, batch["action"])                # [B]
    policy_loss = ppo_surrogate(ops, log_prob, batch["log_prob"], batch["advantage"], scalars["clip_ratio"])
    value_loss = squared_error(ops, value, batch["return"])
    entropy = ops.mean(categorical_entropy(ops, log_p))
    loss = policy_loss + scalars["vf_coef"] * value_loss - scalars["entropy_coef"] * entropy
    change = policy_change(ops, log_prob, batch["log_prob"], scalars["clip_ratio"])
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": entropy, **change}


def ppo_estimates(ops: Ops, networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """What the collecting policy thought of its window: log_prob = log π(a|s) [T] and value = V(s) [T]."""
    log_p = ops.log_softmax(networks["actor"](batch["observation"]))
    return {
        "log_prob": categorical_log_prob(ops, log_p, batch["action"]),
        "value": ops.squeeze_last(networks["critic"](batch["observation"])),
    }
