"""How do several agents act and learn as one? The members of a PolicyManager, behind the agent contract."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from tensor_optix.core.base_agent import BEHAVIOUR_LOG_PROB, Actions, BaseAgent, Extras
from tensor_optix.core.hyperparams import Space
from tensor_optix.core.policy.acting import acts_by_act_only, ensemble_actions, ensemble_probabilities
from tensor_optix.core.policy.members import Member
from tensor_optix.core.types import EpisodeData, HyperparamSet
from tensor_optix.errors import ConfigError

if TYPE_CHECKING:
    from tensor_optix.core.policy_manager import PolicyManager

_log = logging.getLogger(__name__)


class EnsembleAgent(BaseAgent):
    """Acts by all members of the manager; hyperparameters, and weights in files, are the primary's.

    Discrete actions: the product of the members' probabilities, sampled in training, its largest when deterministic
    (Q-values as a Boltzmann policy of their own temperature); ids without probabilities: a weighted vote. Arrays: the
    weighted mean within one lineage and for members that only have ``act``, the medoid otherwise.

    Nobody learns from data that is wrong for it. The primary learns from every window: an on-policy primary that
    cannot correct for actions of others (all but PPO for discrete actions) acts alone in training, and the ensemble
    when deterministic. Other members learn if they are off-policy or correct for it. A member that fails is left out
    from then on; when all have failed the primary acts.
    """

    def __init__(self, policy_manager: PolicyManager, primary_agent: Any) -> None:
        self._pm = policy_manager
        self._primary = policy_manager.name_primary(primary_agent)
        self._rng = np.random.default_rng()

    @property
    def policy_manager(self) -> PolicyManager:
        """Whose members act."""
        return self._pm

    @property
    def _lead(self) -> BaseAgent:
        return self._primary.agent

    # -- acting ------------------------------------------------------------------------------------------------

    def act(self, observation: Any, deterministic: bool = False) -> Any:
        """One action, by a random stream of its own."""
        actions, _ = self.act_batch(np.asarray(observation)[None], rng=self._rng, deterministic=deterministic)
        return actions[0].item() if np.ndim(actions[0]) == 0 else actions[0]

    def act_batch(
        self, observations: np.ndarray, *, rng: np.random.Generator, deterministic: bool = False
    ) -> tuple[Actions, Extras]:
        """As the contract says."""
        if not deterministic and not self._may_act_together():
            return self._lead.act_batch(observations, rng=rng)
        working = self._pm.members.working
        try:
            if working:
                actions, extras = ensemble_actions(working, observations, rng=rng, deterministic=deterministic)
                if deterministic or BEHAVIOUR_LOG_PROB in extras or not self._needs_correction():
                    return actions, extras
        except Exception as error:  # noqa: BLE001 - whatever it was, each member is in quarantine for it now
            _log.warning("every member of the ensemble has failed, the primary acts alone: %s", error)
        return self._lead.act_batch(observations, rng=rng, deterministic=deterministic)

    def action_probs(self, observation: Any) -> np.ndarray | None:
        """Of the ensemble, [A]; None where a member has none."""
        found = ensemble_probabilities(self._pm.members.working, np.asarray(observation)[None])
        return None if found is None else found[0]

    def _needs_correction(self) -> bool:
        """True when the primary can learn from actions of others only if it is told their probability."""
        return self._lead.is_on_policy and not acts_by_act_only(self._lead)

    def _may_act_together(self) -> bool:
        return not self._needs_correction() or self._lead.corrects_for_behaviour

    # -- learning ----------------------------------------------------------------------------------------------

    def learn(self, episode_data: EpisodeData) -> dict[str, Any]:
        """Every member for which the data is right learns; returns the primary's diagnostics."""
        for member in self._pm.members.working:
            if member is not self._primary and _may_learn(member.agent, episode_data):
                self._teach(member, episode_data)
        return self._lead.learn(episode_data)

    def _teach(self, member: Member, data: EpisodeData) -> None:
        try:
            member.agent.learn(data)
        except Exception as error:  # noqa: BLE001 - a member may fail in any way; the others go on
            member.quarantine(error)

    # -- what the loop asks besides: the primary answers, or all do ----------------------------------------------

    def get_hyperparams(self) -> HyperparamSet:
        """The primary's."""
        return self._lead.get_hyperparams()

    def set_hyperparams(self, hyperparams: HyperparamSet) -> None:
        """The primary's."""
        self._lead.set_hyperparams(hyperparams)

    def save_weights(self, path: str) -> None:
        """The primary's."""
        self._lead.save_weights(path)

    def load_weights(self, path: str) -> None:
        """The primary's."""
        self._lead.load_weights(path)

    @property
    def is_on_policy(self) -> bool:
        """The primary's."""
        return self._lead.is_on_policy

    @property
    def corrects_for_behaviour(self) -> bool:
        """The primary's."""
        return self._lead.corrects_for_behaviour

    @property
    def param_space(self) -> Space | None:
        """The primary's."""
        return self._lead.param_space

    @property
    def warming_up(self) -> bool:
        """The primary's."""
        return self._lead.warming_up

    @property
    def acts_in_unit_box(self) -> bool:
        """The primary's."""
        return self._lead.acts_in_unit_box

    @property
    def acting_changes_state(self) -> bool:
        """True when that of a member does."""
        return any(member.agent.acting_changes_state for member in self._pm.members)

    @property
    def continues_exactly(self) -> bool:
        """True when every member does."""
        return all(member.agent.continues_exactly for member in self._pm.members)

    def check_spaces(self, observation_space: Any, action_space: Any) -> None:
        """Every member must fit. Raises ConfigError where some act in the unit box and others do not."""
        for member in self._pm.members:
            member.agent.check_spaces(observation_space, action_space)
        if len({member.agent.acts_in_unit_box for member in self._pm.members}) > 1:
            raise ConfigError("all members of an ensemble must act in the same units: some act in (-1, 1), others not")

    def seed(self, rng: np.random.Generator) -> None:
        """A stream of its own for every member."""
        self._rng = np.random.default_rng(int(rng.integers(2**63)))
        for member in self._pm.members:
            member.agent.seed(np.random.default_rng(int(rng.integers(2**63))))

    def reset_cache(self) -> None:
        """Every member's."""
        for member in self._pm.members:
            member.agent.reset_cache()

    def perturb_weights(self, noise_scale: float) -> None:
        """The primary's."""
        self._lead.perturb_weights(noise_scale)

    def teardown(self) -> None:
        """Every member's."""
        for member in self._pm.members:
            member.agent.teardown()

    # -- state -------------------------------------------------------------------------------------------------

    def policy_state(self) -> dict[str, Any] | None:
        """The policies and weights of all members; None where one gives none."""
        return self._tree(lambda agent: agent.policy_state())

    def load_policy_state(self, state: dict[str, Any]) -> None:
        """Of all members that the state knows; one that came later has weight 0 in that policy."""
        self._load(state, lambda agent, own: agent.load_policy_state(own))

    def state_dict(self) -> dict[str, Any] | None:
        """Everything of all members, and the position of the random stream; None where one gives none."""
        tree = self._tree(lambda agent: agent.state_dict())
        return None if tree is None else {**tree, "rng": self._rng.bit_generator.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._load(state, lambda agent, own: agent.load_state_dict(own))
        self._rng.bit_generator.state = state["rng"]

    def _tree(self, part: Callable[[BaseAgent], dict[str, Any] | None]) -> dict[str, Any] | None:
        trees = {str(member.key): part(member.agent) for member in self._pm.members}
        if any(tree is None for tree in trees.values()):
            return None
        return {"members": trees, "weights": {str(member.key): member.weight for member in self._pm.members}}

    def _load(self, state: dict[str, Any], load: Callable[[BaseAgent, dict[str, Any]], None]) -> None:
        for member in self._pm.members:
            own = state["members"].get(str(member.key))
            if own is not None:
                load(member.agent, own)
            member.weight = float(state["weights"].get(str(member.key), 0.0))


def _may_learn(agent: BaseAgent, data: EpisodeData) -> bool:
    """Data of another policy is right for an off-policy agent, and for one that weighs it by its probability."""
    return not agent.is_on_policy or (agent.corrects_for_behaviour and BEHAVIOUR_LOG_PROB in data.extras)
