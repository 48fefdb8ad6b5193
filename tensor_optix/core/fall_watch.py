"""Scores have fallen: has the policy really become worse?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence import Judgement
from tensor_optix.core.fall_alarm import FallAlarm
from tensor_optix.core.selection import MIN_PAIRS, DegradationDecision, confirm_degradation, confirm_without_evaluation
from tensor_optix.core.types import PolicySnapshot

Score = Callable[[BaseAgent, int], float | None]

LONGEST_EXPERIMENT = 24
"""Ticks of the default tuner's longest probe. Some tuners never stop probing: no alarm waits longer for them."""


class FallWatch:
    """Holds an alarm until it is confirmed or has passed. While the tuner probes nothing is decided, for a while.

    is_literal: the user's own threshold decides at once. is_paired: the present policy and the best one are compared
    on common seeds; where they cannot be, and where nobody asks for it, an alarm that persists counts as confirmed.
    """

    def __init__(self, *, is_literal: bool, is_paired: bool) -> None:
        self._is_literal = is_literal
        self._is_paired = is_paired
        self._pending = False
        self._probed = 0  # ticks for which a pending alarm has waited for the tuner

    def waits_for_comparison(self, *, is_probing: bool) -> bool:
        """True while an alarm is to be confirmed on common seeds, at the next window boundary."""
        return self._pending and self._is_paired and not self._is_held_up(is_probing)

    def _is_held_up(self, is_probing: bool) -> bool:
        return is_probing and self._probed <= LONGEST_EXPERIMENT

    def restart(self) -> None:
        """Another policy is followed: there is nothing that it could have fallen from."""
        self._pending = False

    def heard(self, judgement: Judgement, *, is_probing: bool) -> DegradationDecision | None:
        """The decision at this tick, where the scores alone can bring one."""
        self._pending = self._pending or judgement.degraded
        fall = judgement.evidence.get("fall")
        if fall == 0.0 and not (self._is_literal or judgement.degraded):
            self._pending = False
        self._probed = self._probed + 1 if self._pending and is_probing else 0
        if not self._pending or self._is_paired or self._is_held_up(is_probing):
            return None
        if self._is_literal or fall is None:
            decision = DegradationDecision(True, "the score lies below the threshold that was asked for")
        else:
            decision = confirm_without_evaluation(fall, FallAlarm.THRESHOLD)
        self._pending = not decision.is_confirmed
        return decision if decision.is_confirmed else None

    def compared(
        self, agent: BaseAgent, best: PolicySnapshot, registry: CheckpointRegistry, seeds: list[int], score: Score
    ) -> DegradationDecision | None:
        """The decision on common seeds; None where no such comparison can be had: then persistence has to do."""
        policy, hyperparams = agent.policy_state(), agent.get_hyperparams()
        now = None if policy is None else _scores(agent, seeds, score)
        if policy is None or now is None:
            self._is_paired = False
            return None
        try:
            registry.load(agent, best)
            before = _scores(agent, seeds, score)
        finally:
            agent.load_policy_state(policy)
            agent.set_hyperparams(hyperparams)
        self._pending = False
        return None if before is None else confirm_degradation(before, now)

    def state_dict(self) -> dict[str, Any]:
        """Whether an alarm waits."""
        return {"pending": self._pending, "is_paired": self._is_paired, "probed": self._probed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._pending, self._is_paired, self._probed = state["pending"], state["is_paired"], state["probed"]


def _scores(agent: BaseAgent, seeds: list[int], score: Score) -> list[float] | None:
    found: list[float] = []
    for seed in seeds[:MIN_PAIRS]:
        value = score(agent, seed)
        if value is None:
            return None
        found.append(value)
    return found
