"""Puts everything that an exact continuation needs on disk, at window boundaries, and brings it back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.budget import Budget
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.own_weights import loading_weights
from tensor_optix.core.resume import differences, software
from tensor_optix.core.state import Stateful, misfit
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.totals import Totals
from tensor_optix.core.training_states import TrainingStates
from tensor_optix.core.types import HyperparamSet
from tensor_optix.errors import CheckpointError

State = dict[str, Any]


class Continuity:
    """The training state of a loop: its parts, its totals, its tenure.

    stateful: the parts, by name, that are saved besides agent, pipeline and random streams.
    """

    def __init__(self, parts: LoopParts, stateful: Mapping[str, Stateful], guard: CommitGuard) -> None:
        self._parts = parts
        self._stateful = stateful
        self._guard = guard
        self._states = TrainingStates(parts.files.path, parts.clock)

    @property
    def is_due(self) -> bool:
        """True when another commit would keep to its share of the time."""
        return self._states.is_due

    def boundary(self) -> State:
        """What collecting the next window is going to change: taken before it, committed perhaps after."""
        return {"pipeline": self._parts.pipeline.state_dict(), "streams": self._parts.streams.state_dict()}

    def commit(self, boundary: State, tenure: Tenure, totals: Totals, seconds: float) -> None:
        """Put the training state of this window boundary on disk; a failure is counted, the third one surfaces."""

        def attempt() -> int:
            own_state, bare, save_weights = _agent_state(tenure.agent)
            state = self._tree(boundary, tenure, totals, seconds) | {"agent": own_state, "bare_agent": bare}
            return self._states.commit(state, save_weights)

        self._guard.attempt(attempt, "training state")

    def _tree(self, boundary: State, tenure: Tenure, totals: Totals, seconds: float) -> State:
        """Everything but the agent."""
        return {
            **boundary,
            "software": software(),
            "seconds": seconds,
            "totals": totals.state_dict(),
            "tenure": tenure.state_dict(),
            "parts": {name: part.state_dict() for name, part in self._stateful.items()},
        }

    def restore(self) -> tuple[Tenure, Totals, float, list[str]]:
        """Bring every part to the newest boundary on disk: ``(tenure, totals, seconds, what is not as it was)``.

        Raises CheckpointError when nothing sound is there, or when it does not fit; the agent is loaded last.
        """
        parts = self._parts
        self._states.sweep()
        parts.registry.sweep()
        state, weights = self._states.newest()
        own_state, bare, _ = _agent_state(parts.agent)
        fresh = self._tree(self.boundary(), Tenure.begin(parts.agent, Budget()), Totals(), 0.0)
        if problem := misfit(state, fresh | {"agent": own_state, "bare_agent": bare}):
            raise CheckpointError(parts.files.path, f"holds a training state that does not fit: {problem}")
        try:
            parts.streams.load_state_dict(state["streams"])
            if state["pipeline"] is not None:
                parts.pipeline.load_state_dict(state["pipeline"])
            for name, part in self._stateful.items():
                part.load_state_dict(state["parts"][name])
            totals = Totals.from_state(state["totals"])
            agent = self._acting_agent(totals.tenures)
            parts.streams.load_state_dict(state["streams"])  # seeding an agent has drawn from one
            tenure = Tenure.from_state(agent, state["tenure"])
            changes = differences(state["software"], software())
            _load_agent(agent, state, weights)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
            raise CheckpointError(parts.files.path, f"holds a training state that does not fit: {error!r}") from error
        return tenure, totals, float(state["seconds"]), changes

    def _acting_agent(self, tenures: int) -> BaseAgent:
        """The agent that the tenure belongs to: the user's own, or the one that a callback went on with."""
        parts = self._parts
        resumed = [agent for agent in parts.callbacks.call("resumed_agent") if agent is not None]
        if not resumed:
            return parts.agent
        resumed[0].seed(parts.streams.stream(f"agent {tenures - 1}"))
        parts.pipeline.set_agent(resumed[0])
        return as_agent(resumed[0])


def _agent_state(agent: BaseAgent) -> tuple[State | None, State | None, Callable[[str], None] | None]:
    """``(its state, what stands in for one, how it writes its weights itself)``; only what it needs of these."""
    own_state = agent.state_dict()
    if own_state is not None:
        return own_state, None, None
    policy = agent.policy_state()
    bare = {"policy": policy, "hyperparams": agent.get_hyperparams().params}
    return None, bare, agent.save_weights if policy is None else None


def _load_agent(agent: BaseAgent, state: State, weights: str | None) -> None:
    bare = state["bare_agent"]
    if bare is None:
        agent.load_state_dict(state["agent"])
        return
    if bare["policy"] is not None:
        agent.load_policy_state(bare["policy"])
    elif weights is not None:
        with loading_weights(agent, weights):
            agent.load_weights(weights)
    agent.set_hyperparams(HyperparamSet(bare["hyperparams"]))
