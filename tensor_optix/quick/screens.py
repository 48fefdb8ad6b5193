"""How is a prepared run told to people, and how is it typed again?"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.quick.assembly import Recipe
from tensor_optix.quick.build import Build
from tensor_optix.quick.plan import plan_text


def plan_lines(optimizer: RLOptimizer, *hints: str) -> list[str]:
    """What a prepared run is going to do, and ``hints``, for people; lines of at most 98 characters."""
    plan = optimizer.plan
    details = plan["details"]
    recipe = Recipe(Build.from_details(details), plan["seed"], plan["hyperparams"], plan["settings"])
    return plan_text(
        recipe, LoopConfig.from_settings(plan["settings"]), details.get("facts", {}), details.get("reasons", {}),
        f"after an interruption: resumes at level {plan['resume']['level']}, {plan['resume']['why']}", *hints,
    )  # fmt: skip


def choices(optimizer: RLOptimizer) -> dict[str, Any]:
    """Hyperparameters, settings and parts of a prepared run that are not the defaults, as ``--set`` takes them."""
    plan = optimizer.plan
    build = Build.from_details(plan["details"])
    defaults = {**build.default_hyperparams, **asdict(LoopConfig())}
    values = {**plan["hyperparams"], **plan["settings"]}
    changed = {name: value for name, value in values.items() if value != defaults.get(name)}
    return {**build.changes, **changed}
