"""Who looks after learning itself in a run: a ``DiagnosticController``, or nobody."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.cooling import can_be_cooled
from tensor_optix.core.diagnostic_controller import KL_KEYS, TREATED, DiagnosticController
from tensor_optix.core.loop_config import LoopConfig, default
from tensor_optix.core.types import HyperparamSet

AT_BOUND = 0.99  # of actions in [-1, 1]
EPSILON_SETTINGS = ("diag_epsilon_patience", "diag_epsilon_reset_value", "diag_epsilon_score_threshold")


class Diagnosis:
    """Judges every learn call and treats what is ill. None: nothing is looked at.

    explores_again: act on the return at the exploration floor, too. Its threshold is in the units of one environment
    (20 is little on CartPole and out of reach on Acrobot), so that it counts only where it was chosen.
    """

    def __init__(self, controller: DiagnosticController | None, *, explores_again: bool = False) -> None:
        self._controller = controller
        self._explores_again = explores_again

    @classmethod
    def chosen_by(cls, config: LoopConfig) -> Diagnosis:
        """The controller that the settings ask for."""
        if not config.diagnostics:
            return cls(None)
        return cls(
            DiagnosticController(
                loss_spike_factor=config.diag_loss_spike_factor,
                entropy_floor=config.diag_entropy_floor,
                target_kl=config.diag_target_kl,
                epsilon_patience=config.diag_epsilon_patience,
                epsilon_reset_value=config.diag_epsilon_reset_value,
                epsilon_score_threshold=config.diag_epsilon_score_threshold,
                min_episodes=config.diag_min_episodes,
            ),
            explores_again=any(getattr(config, name) != default(name) for name in EPSILON_SETTINGS),
        )

    def after(
        self, window: int, agent: BaseAgent, diagnostics: Mapping[str, Any], actions: Any = None
    ) -> list[tuple[str, str]]:
        """What was done after this window's learn call: (rule, text) each. actions: those of the window."""
        if self._controller is None:
            return []
        left_out = set() if self._explores_again else {"episode_reward"}
        if agent.get_hyperparams().params.get("target_kl"):
            left_out |= set(KL_KEYS)  # held there by the agent: two on one rate undo each other's work
        known = {name: value for name, value in diagnostics.items() if name not in left_out}
        if agent.acts_in_unit_box and actions is not None:
            known["saturated_share"] = float(np.mean(np.abs(np.asarray(actions, dtype=float)) > AT_BOUND))
        found = self._controller.step(window, agent, known)
        self._controller.withdraw(agent)
        return found

    @contextmanager
    def treating(self, agent: BaseAgent) -> Iterator[None]:
        """Within, remedies are factors on what they treat; tuner, snapshots and user see base values."""
        base = agent.get_hyperparams()
        treated = {} if self._controller is None else treated_values(self._controller, agent, base.params)
        if not treated:
            yield
            return
        agent.set_hyperparams(HyperparamSet({**base.params, **treated}, base.episode_id))
        try:
            yield
        finally:
            agent.set_hyperparams(base)

    def state_dict(self) -> dict[str, Any]:
        """The controller's."""
        return self._controller.state_dict() if self._controller else {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        if self._controller is not None:
            self._controller.load_state_dict(state)


def treated_values(controller: DiagnosticController, agent: BaseAgent, params: Mapping[str, Any]) -> dict[str, float]:
    """The hyperparameters whose remedies are in force, with them; none of a schedule."""
    return {
        name: params[name] * controller.factor(name)
        for name in TREATED
        if controller.factor(name) != 1.0 and isinstance(params.get(name), int | float)
        and (name != "learning_rate" or can_be_cooled(agent))
    }  # fmt: skip
