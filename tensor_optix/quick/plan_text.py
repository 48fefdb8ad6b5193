"""How does a plan read? What is chosen and why, what it costs, and when it ends: a label and a sentence each."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Any

from tensor_optix.algorithms.controllers import controlled
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.plain_text import counted, plain, printable
from tensor_optix.quick.assembly import Recipe
from tensor_optix.quick.backends import NAMES as BACKEND_NAMES
from tensor_optix.quick.backends import preferred_device
from tensor_optix.quick.build import Build, sizes_text
from tensor_optix.quick.defaults import NAMES

WIDTH = 98
"""Of a line, unless the terminal is narrower."""
MARGIN, LABEL = 7, 12


def plan_text(
    recipe: Recipe, config: LoopConfig, facts: Mapping[str, Any], reasons: Mapping[str, str],
    more: Mapping[str, str] | None = None, *, width: int = WIDTH,
) -> list[str]:  # fmt: skip
    """For people: lines of at most ``width`` characters, the first one begins with ``plan``. more: further ones."""
    build = recipe.build
    chosen = {**build.default_hyperparams, **recipe.hyperparams}
    parts = {
        "agent": _agent(build, reasons),
        "networks": f"{_networks(build)}; {_normalised(build)}",
        "data": f"{counted(build.n_envs, 'environment')}, windows of "
                f"{build.n_envs * build.window_size:,} steps",
        "validation": _validated(config),
        "tuning": _tuned(build, chosen) if build.population == 1 else _populated(build),
        "spawning": "none",
        "values": "  ".join(f"{name}={_value(value)}" for name, value in chosen.items()),
        "ends": _ending(config),
        **(more or {}),
    }  # fmt: skip
    lines = _wrapped("plan", MARGIN, f"{printable(build.env_id)}   {_task(facts, config)}   seed {recipe.seed}", width)
    for label, text in parts.items():
        lines += _wrapped(f"{'':{MARGIN}}{label}", MARGIN + LABEL, text, width)
    return lines


def _wrapped(label: str, indent: int, text: str, width: int) -> list[str]:
    """``text`` beside ``label``; paths and values stay whole, whatever their length."""
    room = max(width - indent, 20)
    lines = textwrap.wrap(plain(text), room, break_long_words=False, break_on_hyphens=False) or [""]
    return [f"{label if number == 0 else '':{indent}}{line}" for number, line in enumerate(lines)]


def _task(facts: Mapping[str, Any], config: LoopConfig) -> str:
    limit = f", {facts['max_episode_steps']:,}-step limit" if facts.get("max_episode_steps") else ""
    own = facts.get("reward_threshold")
    name = f"{printable(config.target_metric)} " if config.target_metric else ""
    if config.target_score is not None:
        ends = ", which ends the run" if config.stop_at_target else ""
        target = f", target {name}{config.target_score:g} (asked for{ends})"
    else:
        target = f", solved at {own:g}" if own is not None else ""
    return f"{facts.get('spaces', '')}{limit}{target}"


def _agent(build: Build, reasons: Mapping[str, str]) -> str:
    device = preferred_device(is_image=build.is_image)
    name = "an accelerator if there is one" if device.value == "auto" else device.value.upper()
    return (f"{NAMES[build.algorithm]} ({reasons.get('algorithm', 'asked for')}) on {BACKEND_NAMES[build.backend]} "
            f"({reasons.get('backend', 'asked for')}), {name} ({device.why})")  # fmt: skip


def _networks(build: Build) -> str:
    convolutions = "convolutions and " if build.is_image else ""
    stacked = f" over {build.frame_stack} observations" if build.frame_stack > 1 else ""
    critics = ", critics with layer normalisation" if build.algorithm == "sac" else ""
    return f"{convolutions}dense {sizes_text(build.hidden)} {build.activation}{stacked}{critics}"


def _normalised(build: Build) -> str:
    names = [name for name, is_so in (("observations", build.normalize_observations),
                                      ("rewards", build.normalize_rewards)) if is_so]  # fmt: skip
    return f"{' and '.join(names)} normalised" if names else "observations and rewards as they are"


def _validated(config: LoopConfig) -> str:
    """What policies are chosen by, and what that costs."""
    if not config.val_episodes:
        return "none: policies are chosen by their training score, without env steps of its own"
    mode = "deterministic" if config.val_deterministic else "acting as in training"
    share = f"at most {100 * config.val_share:g} % of all env steps" if config.val_share < 1 else "whenever it is due"
    episodes = counted(config.val_episodes, "held-out episode")
    return f"policies are chosen by {episodes} each time, {mode}, on seeds used for nothing else; {share}"


def _populated(build: Build) -> str:
    """Who changes which hyperparameters, where several agents learn side by side."""
    changed = ", ".join(build.space.tuner_bounds)
    return (
        f"{build.population} agents learn side by side; now and then the worst take over from the best and go on with "
        f"other values of {changed}"
    )


def _tuned(build: Build, chosen: Mapping[str, Any]) -> str:
    """Who changes which hyperparameters while it trains."""
    if "replay_capacity" in build.space:
        return "none: with a replay, scores answer too late to tell what a change did"
    owned = controlled(chosen, is_discrete=build.is_discrete)
    tuned = ", ".join(name for name in build.space.tuner_bounds if name not in owned)
    followed = "the learning rate follows the KL divergence; " if "learning_rate" in owned else ""
    others = [name for name in owned if name != "learning_rate"]
    returned = "".join(f"{name} is brought back if it holds learning up; " for name in others)
    return (f"{followed}{returned}SPSA tunes {tuned} while it trains, where a gain can be told from the noise; no env "
            "steps of its own")  # fmt: skip


def _value(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _ending(config: LoopConfig) -> str:
    limits = {"max_episodes": config.max_episodes, "max_steps": config.max_steps, "max_time": config.max_time}
    given = [f"{name} {limit:,g}" for name, limit in limits.items() if limit is not None]
    rule = (f"{config.dormant_threshold} scores in a row brought no gain above the noise" if config.chooses_patience
            else "it is improbable that more than 5 % is left to gain")  # fmt: skip
    latest = f"; at the latest at {', '.join(given)}" if given else "; no limit of steps or time"
    episodes = config.evaluation_episodes
    fresh = f"; then {counted(episodes, 'episode')} on fresh seeds" if episodes else ""
    return f"when {rule}, or every episode ends at the same, best return{latest}{fresh}"
