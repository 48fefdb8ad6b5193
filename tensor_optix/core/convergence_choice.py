"""Which convergence rule do the settings ask for?"""

from __future__ import annotations

from tensor_optix.core.convergence import ConvergenceRule
from tensor_optix.core.evidence import EvidenceRule
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.patience import PatienceRule
from tensor_optix.errors import ConfigError


def rule_for(config: LoopConfig, *, is_patient: bool, cools_down: bool = False) -> ConvergenceRule:
    """The rule that the settings ask for.

    is_patient: the user's own settings imply the patience rule (``LoopConfig.chooses_patience``, asked before an
    agent's defaults were filled in). cools_down: the agent has a learning rate that a cool-down can anneal. A rule of
    the user's own wins over everything.
    """
    if isinstance(config.convergence, ConvergenceRule):
        return config.convergence
    if config.convergence not in ("evidence", "patience"):
        raise ConfigError(
            f"convergence must be 'evidence', 'patience' or a ConvergenceRule, got {config.convergence!r}"
        )
    return PatienceRule(config, is_guarded=False) if is_patient else EvidenceRule(config, cools_down=cools_down)


def validation_rule_for(config: LoopConfig, *, is_patient: bool) -> ConvergenceRule:
    """The rule that judges the validation scores: of the same kind, without a cool-down.

    A rule of the user's own knows the training scores only: the evidence rule stands in for it.
    """
    if isinstance(config.convergence, ConvergenceRule):
        return EvidenceRule(config)
    return rule_for(config, is_patient=is_patient)
