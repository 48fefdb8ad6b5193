"""How do several members act as one on a batch of observations? A member that fails is left out from then on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np

from tensor_optix.core.base_agent import BEHAVIOUR_LOG_PROB, Actions, BaseAgent, Extras
from tensor_optix.core.policy.combination import (
    boltzmann,
    medoid,
    product_of_policies,
    sample,
    weighted_mean,
    weighted_vote,
)
from tensor_optix.core.policy.members import Member
from tensor_optix.core.statistics import Floats
from tensor_optix.errors import NonFiniteError

Answer = TypeVar("Answer")


def acts_by_act_only(agent: BaseAgent) -> bool:
    """True for an agent that knows nothing of the contract but ``act``: what it returns is all there is."""
    return "act_batch" not in vars(agent) and type(agent).act_batch is BaseAgent.act_batch


def ensemble_actions(
    members: Sequence[Member], observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool
) -> tuple[Actions, Extras]:
    """Actions [N, ...] of at least one working member, and extras.

    Product of probabilities where every member gives them (with the log-probability of each sampled action as an
    extra), a weighted vote on other action ids; arrays: the weighted mean for members of one lineage and for those
    that only have ``act``, else the medoid. Raises what the last member raised when all of them fail.
    """
    probabilities = _product(members, observations)
    if probabilities is not None:
        return _drawn(probabilities, rng, deterministic)
    answers = _ask(members, lambda agent: agent.act_batch(observations, rng=rng, deterministic=deterministic))
    if len(answers) == 1:
        return answers[0][1]
    asked = [member for member, _ in answers]
    actions, weights = np.stack([np.asarray(a) for _, (a, _) in answers]), _weights(asked)
    if actions.dtype.kind in "iub":
        return weighted_vote(actions, weights), {}
    is_one_lineage = len({member.lineage for member in asked}) == 1
    if is_one_lineage or all(acts_by_act_only(member.agent) for member in asked):
        return weighted_mean(actions, weights), {}
    return medoid(actions, weights), {}


def ensemble_probabilities(members: Sequence[Member], observations: np.ndarray) -> Floats | None:
    """Of every action, [N, A]; None where a member has none."""
    return _product(members, observations)


def action_distribution(agent: BaseAgent, observations: np.ndarray) -> Floats | None:
    """π(·|s) [N, A] of one agent: of its Q-values, scaled by their own temperature, where it has such."""
    q_values = agent.q_values(observations)
    if q_values is not None:
        return boltzmann(np.asarray(q_values, dtype=float))
    rows = []
    for observation in observations:
        row = agent.action_probs(observation)
        if row is None:
            return None
        rows.append(np.asarray(row, dtype=float))
    return np.stack(rows)


def _product(members: Sequence[Member], observations: np.ndarray) -> Floats | None:
    answers = _ask(members, lambda agent: action_distribution(agent, observations))
    given = [(member, own) for member, own in answers if own is not None]
    if len(given) < len(answers):
        return None
    shapes = {own.shape for _, own in given}
    if len(shapes) > 1:
        return None
    return product_of_policies(np.stack([own for _, own in given]), _weights([member for member, _ in given]))


def _drawn(probabilities: Floats, rng: np.random.Generator, deterministic: bool) -> tuple[Actions, Extras]:
    if deterministic:
        return probabilities.argmax(axis=-1), {}
    actions = sample(probabilities, rng)
    chosen = np.take_along_axis(probabilities, actions[:, None], axis=-1)[:, 0]
    return actions, {BEHAVIOUR_LOG_PROB: np.log(np.maximum(chosen, 1e-30)).astype(np.float32)}


def _weights(members: Sequence[Member]) -> Floats:
    return np.array([member.weight for member in members], dtype=float)


def _ask(members: Sequence[Member], question: Callable[[BaseAgent], Answer]) -> list[tuple[Member, Answer]]:
    """Every working member's answer. Raises the last error when none is left."""
    answers: list[tuple[Member, Answer]] = []
    failure: Exception | None = None
    for member in members:
        if member.fault:
            continue
        try:
            answer = question(member.agent)
            _require_finite(answer)
            answers.append((member, answer))
        except Exception as error:  # noqa: BLE001 - a member may fail in any way; the others go on
            member.quarantine(error)
            failure = error
    if not answers and failure is not None:
        raise failure
    return answers


def _require_finite(answer: object) -> None:
    values = np.asarray(answer[0] if isinstance(answer, tuple) else 0.0 if answer is None else answer)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise NonFiniteError("a member of the ensemble gives actions or probabilities that are not finite")
