"""How is a prepared run told to people, and how is it typed again?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.quick.assembly import Recipe
from tensor_optix.quick.build import Build
from tensor_optix.quick.defaults import VALIDATION
from tensor_optix.quick.plan_text import WIDTH, plan_text


def plan_lines(optimizer: RLOptimizer, more: Mapping[str, str], *, width: int = WIDTH) -> list[str]:
    """What a prepared run is going to do, and ``more``, a sentence by its label; lines of at most ``width``."""
    plan = optimizer.plan
    details, resume = plan["details"], plan["resume"]
    recipe = Recipe(Build.from_details(details), plan["seed"], plan["hyperparams"], plan["settings"])
    return plan_text(
        recipe, LoopConfig.from_settings(plan["settings"]), details.get("facts", {}), details.get("reasons", {}),
        {"resumes": f"after an interruption at level {resume['level']}: {resume['why']}", **more}, width=width,
    )  # fmt: skip


def choices(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Hyperparameters, settings and parts of a run that are not the defaults, as ``--set`` takes them.

    plan: what RLOptimizer.plan says of it, or run.json. Raises ConfigError for a run that was not made from an id.
    """
    build = Build.from_details(plan.get("details"))
    defaults = {**build.default_hyperparams, **asdict(LoopConfig()), **VALIDATION}
    values = {**plan["hyperparams"], **plan["settings"]}
    changed = {name: value for name, value in values.items() if value != defaults.get(name)}
    return {**build.changes, **changed}
