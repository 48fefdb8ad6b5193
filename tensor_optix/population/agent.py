"""How does a whole population look to the loop? As one agent: its best member acts, and learning is the exchange."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import Actions, BaseAgent, Extras, as_agent
from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.core.policy.forking import agent_tree, load_agent_tree
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.population.exchange import Succession
from tensor_optix.population.members import Members, Standing
from tensor_optix.population.training import copied


class PopulationAgent(BaseAgent):
    """The best member's policy, in ``lead``; its hyperparameters, weights and snapshots are those of that agent.

    A window of the loop is an interval of the population. While it is collected all members train; ``learn`` puts the
    best member's policy into the lead and lets the worst take over from the best. So the score of P_k is the fitness
    with which P_k became the best, and validation and external scores see the very policy that is kept.
    """

    def __init__(self, agent_factory: Callable[[], Any], size: int, interval_steps: int) -> None:
        agents = [as_agent(agent_factory()) for _ in range(size)]
        self.lead = agents[0]
        trees = [copied(agent_tree(agent)) for agent in agents]
        self.members = Members(trees, dict(self.lead.get_hyperparams().params), self.lead.param_space, interval_steps)
        for agent in agents[1:]:
            agent.teardown()
        self.standing: Standing | None = None
        self._next: Standing | None = None
        self._decisions: list[tuple[str, str, Mapping[str, Any]]] = []

    def expect(self, standing: Standing | None) -> None:
        """An interval is over: what the next ``learn`` will act on."""
        self._next = standing

    # -- the six methods ---------------------------------------------------------------------------------------

    def act(self, observation: Any) -> Any:
        """The best member's action."""
        return self.lead.act(observation)

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Follow the best member, and let the worst take over from the best."""
        standing, self._next = self._next, None
        if standing is not None:
            member = self.members[standing.best]
            load_agent_tree(self.lead, member.agent)
            self.lead.set_hyperparams(HyperparamSet(dict(member.params)))
            self.standing = standing
        before = [(member.fitness, member.fault) for member in self.members]
        self._decisions = [_told(number, succession, before) for number, succession in self.members.exchange()]
        return {"n_exchanged": float(len(self._decisions))}

    def get_hyperparams(self) -> HyperparamSet:
        """The best member's: while an interval is being judged already those of the coming best."""
        if self._next is not None:
            return HyperparamSet(dict(self.members[self._next.best].params))
        return self.lead.get_hyperparams()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """The lead's; those of the members are their own."""
        self.lead.set_hyperparams(hyperparams)

    def save_weights(self, path: str) -> None:
        """The best member's."""
        self.lead.save_weights(path)

    def load_weights(self, path: str) -> None:
        """Into the lead; the members go on with theirs."""
        self.lead.load_weights(path)

    # -- what the loop asks besides ----------------------------------------------------------------------------

    @property
    def decisions(self) -> Sequence[tuple[str, str, Mapping[str, Any]]]:
        """Who took over from whom."""
        return self._decisions

    @property
    def is_on_policy(self) -> bool:
        """False: an older policy that is put back into the lead changes nothing for the members."""
        return False

    @property
    def param_space(self) -> Space:
        """The members', with everything in the hands of the population: neither a tuner nor a cool-down touches it."""
        space = self.lead.param_space or Space(learning_rate=Param("float"))
        return space.scheduled(space)

    @property
    def acts_in_unit_box(self) -> bool:
        """The lead's."""
        return self.lead.acts_in_unit_box

    @property
    def acting_changes_state(self) -> bool:
        """The lead's."""
        return self.lead.acting_changes_state

    @property
    def continues_exactly(self) -> bool:
        """As the lead does: all members are made alike."""
        return self.lead.continues_exactly

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[Actions, Extras]:
        """The best member's actions."""
        return self.lead.act_batch(observations, rng=rng, deterministic=deterministic)

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """As the lead does."""
        self.lead.check_spaces(observation_space, action_space)

    def seed(self, rng: np.random.Generator) -> None:
        """The lead's own stream; members have theirs."""
        self.lead.seed(rng)

    def reset_cache(self) -> None:
        """The lead's."""
        self.lead.reset_cache()

    def action_probs(self, observation: Any) -> np.ndarray | None:
        """The best member's."""
        return self.lead.action_probs(observation)

    def q_values(self, observations: np.ndarray) -> np.ndarray | None:
        """The best member's."""
        return self.lead.q_values(observations)

    def teardown(self) -> None:
        """The lead's."""
        self.lead.teardown()

    # -- state -------------------------------------------------------------------------------------------------

    def policy_state(self) -> dict[str, Any] | None:
        """The best member's policy: a snapshot is one of a plain agent."""
        return self.lead.policy_state()

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Into the lead; the members go on with theirs."""
        self.lead.load_policy_state(state)

    def state_dict(self) -> dict[str, Any]:
        """Every member, and the lead."""
        standing = self.standing
        return {
            "lead": agent_tree(self.lead),
            **self.members.state_dict(),
            "standing": None if standing is None else standing.state_dict(),
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        load_agent_tree(self.lead, state["lead"])
        self.members.load_state_dict(state)
        self.standing = None if state["standing"] is None else Standing.from_state(state["standing"])


def _told(
    number: int, succession: Succession, before: Sequence[tuple[float, str]]
) -> tuple[str, str, Mapping[str, Any]]:
    """A takeover for the run's log. before: fitness and fault of every member."""
    (fitness, fault), source = before[number], succession.source
    evidence = {"member": number, "source": source, "fitness": None if math.isnan(fitness) else fitness,
                "source_fitness": before[source][0], "hyperparams": succession.params}  # fmt: skip
    why = f", which failed ({fault})," if fault else ""
    return "exchanged", f"member {number}{why} takes over from member {source}", evidence
