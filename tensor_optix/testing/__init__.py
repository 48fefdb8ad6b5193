"""For testing agents: a contract check and toy environments whose values are known."""

from tensor_optix.testing.check_agent import check_agent
from tensor_optix.testing.toys import (
    ConstantRewardChain,
    FailingEnv,
    OneStepBandit,
    SharedBufferEnv,
    TerminatingCorridor,
    TruncatedWalk,
)

__all__ = [
    "ConstantRewardChain",
    "FailingEnv",
    "OneStepBandit",
    "SharedBufferEnv",
    "TerminatingCorridor",
    "TruncatedWalk",
    "check_agent",
]
