"""For testing agents: a contract check and toy environments whose values are known."""

from tensor_optix.testing.check_agent import check_agent
from tensor_optix.testing.check_env_pipeline import check_env_pipeline
from tensor_optix.testing.toys import (
    ConstantRewardChain,
    FailingEnv,
    LabelledEnv,
    OneStepBandit,
    SharedBufferEnv,
    TerminatingCorridor,
    TruncatedWalk,
)

__all__ = [
    "ConstantRewardChain",
    "FailingEnv",
    "LabelledEnv",
    "OneStepBandit",
    "SharedBufferEnv",
    "TerminatingCorridor",
    "TruncatedWalk",
    "check_agent",
    "check_env_pipeline",
]
