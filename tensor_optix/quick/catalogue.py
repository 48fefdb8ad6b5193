"""Which environments are registered here, and what would running one need?"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from dataclasses import dataclass

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec

from tensor_optix._about import install_hint
from tensor_optix.pipeline.environments import EXTRA_OF_MODULE

LIBRARY_OF_EXTRA = {"box2d": "Box2D", "classic": "pygame", "mujoco": "mujoco", "atari": "ale_py"}
RENDERING_ONLY = ("classic",)  # without it these environments run, and only cannot be looked at


@dataclass(frozen=True)
class Entry:
    """missing: the line that installs what is not there; None where nothing is missing."""

    env_id: str
    max_episode_steps: int | None
    reward_threshold: float | None
    missing: str | None


def catalogue(pattern: str = "") -> list[Entry]:
    """Registered environments whose id contains ``pattern``, whatever its case; old versions are left out."""
    return [_entry(spec) for spec in _newest() if pattern.lower() in spec.id.lower()]


def _newest() -> Iterator[EnvSpec]:
    newest: dict[tuple[str | None, str], EnvSpec] = {}
    for spec in gym.registry.values():
        key = (spec.namespace, spec.name)
        if key not in newest or (spec.version or 0) > (newest[key].version or 0):
            newest[key] = spec
    yield from sorted(newest.values(), key=lambda spec: spec.id.lower())


def _entry(spec: EnvSpec) -> Entry:
    return Entry(spec.id, spec.max_episode_steps, spec.reward_threshold, _missing(spec))


def _missing(spec: EnvSpec) -> str | None:
    module = str(spec.entry_point)
    extra = next((extra for prefix, extra in EXTRA_OF_MODULE.items() if module.startswith(prefix)), None)
    if extra is None or extra in RENDERING_ONLY:
        return None
    return None if importlib.util.find_spec(LIBRARY_OF_EXTRA[extra]) else install_hint(extra)
