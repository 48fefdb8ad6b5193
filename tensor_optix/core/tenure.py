"""An agent's time in the loop: the user's own agent has the first one, each continuation the next."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.budget import Budget
from tensor_optix.core.state import split_state
from tensor_optix.core.types import HyperparamSet, StopReason
from tensor_optix.errors import ConfigError


@dataclass
class Tenure:
    """Who acts and learns now, and where its present policy P_k came from.

    made_by: H_{k-1}, the hyperparameters of the learn call that made P_k. diagnostics: what that call returned;
    empty for the policy with which the tenure began. is_scored: whether P_k has a score already, or never needs one.
    came_after: why the loop became dormant before this continuation; None for the first tenure.
    """

    agent: BaseAgent
    budget: Budget
    made_by: HyperparamSet
    diagnostics: dict[str, Any] = field(default_factory=dict)
    is_scored: bool = True
    came_after: StopReason | None = None

    @classmethod
    def begin(cls, agent: BaseAgent, budget: Budget, *, came_after: StopReason | None = None) -> Tenure:
        """Go on from the agent's present policy: its hyperparameters count as those that made it."""
        return cls(agent, budget, agent.get_hyperparams().copy(), came_after=came_after)

    def state_dict(self) -> dict[str, Any]:
        """Everything but the agent. Diagnostics that are neither JSON values nor arrays are left out."""
        plain = bool | int | float | str | np.generic | np.ndarray | None
        return {
            "budget": asdict(self.budget),
            "made_by": asdict(self.made_by),
            "diagnostics": {name: value for name, value in self.diagnostics.items() if isinstance(value, plain)},
            "is_scored": self.is_scored,
            "came_after": None if self.came_after is None else self.came_after.value,
        }

    @classmethod
    def from_state(cls, agent: BaseAgent, state: dict[str, Any]) -> Tenure:
        """The tenure that ``state_dict`` described, with this agent."""
        budget, made_by = Budget(**state["budget"]), HyperparamSet(**state["made_by"])
        came_after = None if state["came_after"] is None else StopReason(state["came_after"])
        return cls(agent, budget, made_by, dict(state["diagnostics"]), state["is_scored"], came_after)


def require_same_networks(agent: BaseAgent, successor: BaseAgent) -> None:
    """Raise ConfigError unless policies of ``successor`` can be loaded into ``agent``.

    Agents that give no policy state are trusted: what their files hold is theirs to know.
    """
    ours, theirs = agent.policy_state(), successor.policy_state()
    if ours is None or theirs is None or agent is successor:
        return
    shapes = [{name: array.shape for name, array in split_state(state)[1].items()} for state in (ours, theirs)]
    different = sorted(name for name in {*shapes[0], *shapes[1]} if shapes[0].get(name) != shapes[1].get(name))
    networks = [name for name in different if not name.startswith("optimizer/")]  # moments come with the first step
    if networks:
        raise ConfigError(
            f"a continuation's agent must have the same networks as yours, whose best policy it may become; these "
            f"differ: {', '.join(networks[:5])}"
        )
