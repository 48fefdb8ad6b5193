"""Which tuner, where the user names none?"""

from __future__ import annotations

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.optimizers.no_tuning import NoTuning
from tensor_optix.optimizers.spsa_optimizer import SPSAOptimizer


def default_tuner(agent: BaseAgent) -> BaseOptimizer:
    """SPSA for an agent that learns from its own windows; none for one that replays older ones.

    There a change works through what the replay has gathered before and for long after, so that the scores of a
    probe's few ticks say little of it (measured: docs/explanation/tuning.md).
    """
    return SPSAOptimizer() if agent.is_on_policy else NoTuning()
