"""An environment id is enough: agents, plans and runs with defaults that train."""

from tensor_optix.quick.agents import make_agent
from tensor_optix.quick.experiment import Experiment, Summary
from tensor_optix.quick.plan import Plan, plan
from tensor_optix.quick.policy import Policy
from tensor_optix.quick.runs import Run, load, stored_recipe
from tensor_optix.quick.screens import choices, plan_lines
from tensor_optix.quick.training import experiment_seeds, prepare, resume, train

__all__ = [
    "Experiment",
    "Plan",
    "Policy",
    "Run",
    "Summary",
    "choices",
    "experiment_seeds",
    "load",
    "make_agent",
    "plan",
    "plan_lines",
    "prepare",
    "resume",
    "stored_recipe",
    "train",
]
