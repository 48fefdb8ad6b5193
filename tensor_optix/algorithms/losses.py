"""The losses, as pure functions over ``ops``: the paper's names, shapes in brackets.

Columns of a batch: observation [B, ...], action [B] or [B, D], and what each loss names. Off-policy batches hold the
n-step ``reward`` [B], ``next_observation`` [B, ...], ``discount`` = γⁿ (1 - terminated) [B] and the importance weight
``weight`` [B] (1 for uniform replay).
"""

from __future__ import annotations

from functools import cache
from typing import Any

from tensor_optix.algorithms.distributions import (
    categorical_entropy,
    categorical_log_prob,
    gaussian_entropy,
    gaussian_parameters,
    squashed_log_prob,
    squashed_sample,
)
from tensor_optix.backends.base import Batch, Estimate, Loss, Networks, Ops, Scalars, Tensor

Metrics = dict[str, Tensor]

# -- proximal policy optimization ------------------------------------------------------------------------------------


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


def ppo_terms(
    ops: Ops, log_prob: Tensor, value: Tensor, entropy: Tensor, batch: Batch, scalars: Scalars
) -> tuple[Tensor, Metrics]:
    """L = L_clip + c₁ L_vf - c₂ H (Schulman et al. 2017, eq. 9), and metrics.

    log_prob, value, entropy: [B], of the policy in training. batch: log_prob (of the policy that collected),
    advantage, return. scalars: clip_ratio, vf_coef (c₁), entropy_coef (c₂).
    """
    policy_loss = ppo_surrogate(ops, log_prob, batch["log_prob"], batch["advantage"], scalars["clip_ratio"])
    value_loss = squared_error(ops, value, batch["return"])
    mean_entropy = ops.mean(entropy)
    loss = policy_loss + scalars["vf_coef"] * value_loss - scalars["entropy_coef"] * mean_entropy
    change = policy_change(ops, log_prob, batch["log_prob"], scalars["clip_ratio"])
    return loss, {"policy_loss": policy_loss, "value_loss": value_loss, "entropy": mean_entropy, **change}


def ppo_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """PPO for discrete actions: ``ppo_terms`` with π = softmax of the actor's logits; integer action [B]."""
    log_p = ops.log_softmax(networks["actor"](batch["observation"]))            # [B, A]
    value = ops.squeeze_last(networks["critic"](batch["observation"]))          # [B]
    log_prob = categorical_log_prob(ops, log_p, batch["action"])                # [B]
    return ppo_terms(ops, log_prob, value, categorical_entropy(ops, log_p), batch, scalars)


def ppo_estimates(ops: Ops, networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """What the collecting policy thought of its window: log_prob = log π(a|s) [T] and value = V(s) [T]."""
    log_p = ops.log_softmax(networks["actor"](batch["observation"]))
    return {
        "log_prob": categorical_log_prob(ops, log_p, batch["action"]),
        "value": ops.squeeze_last(networks["critic"](batch["observation"])),
    }


def gaussian_ppo_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """PPO for actions tanh(u): ``ppo_terms`` with the actor's outputs [μ ‖ log σ] [B, 2D]; pre_squash u [B, D].

    The entropy is that of u, as published: it has a closed form, and unlike that of tanh(u) its gradient never
    vanishes where the policy has run into the bounds. (It is not the entropy of the actions.)
    """
    head = networks["actor"](batch["observation"])                              # [B, 2D]
    value = ops.squeeze_last(networks["critic"](batch["observation"]))          # [B]
    log_prob = squashed_log_prob(ops, head, batch["pre_squash"])                # [B]
    _, log_std = gaussian_parameters(ops, head)
    return ppo_terms(ops, log_prob, value, gaussian_entropy(ops, log_std), batch, scalars)


def gaussian_ppo_estimates(ops: Ops, networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """log_prob = log π(tanh(u)|s) [T] and value = V(s) [T] of the collecting policy."""
    head = networks["actor"](batch["observation"])
    return {
        "log_prob": squashed_log_prob(ops, head, batch["pre_squash"]),
        "value": ops.squeeze_last(networks["critic"](batch["observation"])),
    }


# -- deep Q-learning -------------------------------------------------------------------------------------------------


def huber(ops: Ops, error: Tensor) -> Tensor:
    """δ²/2 where |δ| <= 1, else |δ| - 1/2; row by row.

    Written as c (δ - c/2) with c = clip(δ, -1, 1), of which the derivative is c too when c is held constant: a
    product to differentiate instead of two branches.
    """
    bounded = ops.stop_gradient(ops.clip(error, -1.0, 1.0))
    return bounded * (error - 0.5 * bounded)


def q_td_error(ops: Ops, networks: Networks, batch: Batch, *, double: bool) -> Tensor:
    """δ = Q(s, a) - (r + γⁿ Q_target(s', a*)) [B]; the target is a constant.

    a* = argmax Q_target(s', ·) (Mnih et al. 2015), or argmax Q(s', ·) if ``double`` (van Hasselt et al. 2016).
    networks: "q" and "q_target", [B, A] each; integer action [B].
    """
    q = ops.take_last(networks["q"](batch["observation"]), batch["action"])     # [B]
    next_target = networks["q_target"](batch["next_observation"])               # [B, A]
    chooser = networks["q"](batch["next_observation"]) if double else next_target
    best = ops.argmax_last(ops.stop_gradient(chooser))                          # [B]
    target = batch["reward"] + batch["discount"] * ops.take_last(next_target, best)
    return q - ops.stop_gradient(target)


@cache
def dqn_loss(double: bool, use_huber: bool) -> Loss:
    """E[w δ²], or E[w huber(δ)]; the same function for the same choice, so that it compiles once."""

    def loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
        error = q_td_error(ops, networks, batch, double=double)
        each = huber(ops, error) if use_huber else ops.square(error)
        total = ops.mean(batch["weight"] * each)
        return total, {"loss": total, "td_error_mean": ops.mean(ops.abs(ops.stop_gradient(error)))}

    return loss


@cache
def dqn_td_errors(double: bool) -> Estimate:
    """td_error = δ [B] of the networks as they are, for priorities."""

    def estimate(ops: Ops, networks: Networks, batch: Batch) -> dict[str, Tensor]:
        return {"td_error": q_td_error(ops, networks, batch, double=double)}

    return estimate


# -- soft actor-critic (Haarnoja et al. 2018, "Soft actor-critic algorithms and applications") -----------------------


def q_of(ops: Ops, networks: Networks, name: str, observation: Tensor, action: Tensor) -> Tensor:
    """Q(s, a) [B] of the network ``name``, which is given [s ‖ a], s as one row of numbers."""
    return ops.squeeze_last(networks[name](ops.concat_last([ops.flat_rows(observation), action])))


def temperature(ops: Ops, networks: Networks, batch: Batch) -> Tensor:
    """α = exp(log α), a scalar; the network "log_alpha" ignores its input."""
    return ops.exp(networks["log_alpha"](batch["observation"]))


def soft_td_errors(ops: Ops, networks: Networks, batch: Batch) -> tuple[Tensor, Tensor]:
    """δᵢ = Qᵢ(s, a) - y [B] of both critics; the target y is a constant.

        y = r + γⁿ (min(Q₁', Q₂')(s', a') - α log π(a'|s')),  a' = tanh(μ(s') + σ(s') ε')

    networks: actor, critic1, critic2, target1, target2, log_alpha. batch: next_noise ε' [B, D] besides the columns
    of replay.
    """
    next_observation = batch["next_observation"]
    next_action, log_prob = squashed_sample(ops, networks["actor"](next_observation), batch["next_noise"])
    targets = [q_of(ops, networks, name, next_observation, next_action) for name in ("target1", "target2")]
    soft_value = ops.minimum(*targets) - temperature(ops, networks, batch) * log_prob
    y = ops.stop_gradient(batch["reward"] + batch["discount"] * soft_value)
    observation, action = batch["observation"], batch["action"]
    first, second = (q_of(ops, networks, name, observation, action) for name in ("critic1", "critic2"))
    return first - y, second - y


def sac_critic_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """L_Q = E[w δ₁²] + E[w δ₂²] (eq. 5 with twin critics)."""
    first, second = soft_td_errors(ops, networks, batch)
    loss = ops.mean(batch["weight"] * ops.square(first)) + ops.mean(batch["weight"] * ops.square(second))
    return loss, {"critic_loss": loss, "td_error_mean": 0.5 * ops.mean(ops.abs(first) + ops.abs(second))}


def sac_actor_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """L_π = E[α log π(a|s) - min(Q₁, Q₂)(s, a)], a = tanh(μ + σ ε) (eq. 9); batch: noise ε [B, D]."""
    observation = batch["observation"]
    action, log_prob = squashed_sample(ops, networks["actor"](observation), batch["noise"])
    q = ops.minimum(*(q_of(ops, networks, name, observation, action) for name in ("critic1", "critic2")))
    loss = ops.mean(ops.stop_gradient(temperature(ops, networks, batch)) * log_prob - q)
    return loss, {"actor_loss": loss, "entropy": -ops.mean(log_prob)}


def sac_alpha_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """L_α = -α E[log π(a|s) + H_target] (eq. 18): α grows while the entropy is below its target.

    batch: noise ε [B, D]; scalars: target_entropy.
    """
    _, log_prob = squashed_sample(ops, networks["actor"](batch["observation"]), batch["noise"])
    alpha = temperature(ops, networks, batch)
    loss = -alpha * ops.stop_gradient(ops.mean(log_prob) + scalars["target_entropy"])
    return loss, {"alpha_loss": loss, "alpha": ops.stop_gradient(alpha)}


def sac_td_errors(ops: Ops, networks: Networks, batch: Batch) -> dict[str, Tensor]:
    """td_error = (|δ₁| + |δ₂|) / 2 [B] of the networks as they are, for priorities."""
    first, second = soft_td_errors(ops, networks, batch)
    return {"td_error": 0.5 * (ops.abs(first) + ops.abs(second))}


# -- REINFORCE and advantage actor-critic ----------------------------------------------------------------------------


def policy_gradient_loss(ops: Ops, networks: Networks, batch: Batch, scalars: Scalars) -> tuple[Tensor, Metrics]:
    """L = -E[log π(a|s) A] (Williams 1992); network "model" gives logits; batch: integer action, target A [B]."""
    log_p = ops.log_softmax(networks["model"](batch["observation"]))
    loss = -ops.mean(categorical_log_prob(ops, log_p, batch["action"]) * batch["target"])
    return loss, {"loss": loss, "entropy": ops.mean(categorical_entropy(ops, log_p))}
