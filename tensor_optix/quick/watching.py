"""How does a policy look while it acts? Frames, returns, and a GIF."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled

from tensor_optix._about import install_hint
from tensor_optix.callbacks.video import VideoRecorder, gif
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.rng import RandomStreams
from tensor_optix.errors import MissingDependency
from tensor_optix.optimizer import RLOptimizer
from tensor_optix.pipeline.environments import Env
from tensor_optix.pipeline.episode_film import EpisodeFilm
from tensor_optix.quick.build import Build
from tensor_optix.quick.environments import env_factory
from tensor_optix.quick.policy import Policy
from tensor_optix.quick.runs import Run
from tensor_optix.storage import FileSystem

MAX_FRAMES = 300
REPORT_FRAMES, REPORT_EVERY, REPORT_FPS = 120, 3, 17
"""Of the films in a report: seven seconds at about half speed, a few hundred kilobytes."""


def recorder_for(optimizer: RLOptimizer, tell: Callable[[str], None]) -> VideoRecorder:
    """Films the first and the best policy of a prepared run; what cannot be filmed is told and costs nothing."""
    _without_a_window()
    details = optimizer.plan["details"]

    def film(agent: BaseAgent) -> list[np.ndarray]:
        build = Build.from_details(details)
        factory = env_factory(build.env_id, build.frame_stack, render_mode="rgb_array")
        try:
            return EpisodeFilm(factory, max_frames=REPORT_FRAMES, every=REPORT_EVERY)(agent)
        except DependencyNotInstalled as error:
            raise MissingDependency(f"{build.env_id} cannot be drawn here: {install_hint('classic')}") from error

    return VideoRecorder(optimizer.agent, film, fps=REPORT_FPS, tell=tell)


@dataclass
class Watched:
    """returns: of every env episode. frames: pictures [H, W, 3] of the first one, where they were asked for."""

    returns: list[float] = field(default_factory=list)
    frames: list[np.ndarray] = field(default_factory=list)


def watch(run: Run, *, episodes: int, seed: int, render_mode: str) -> Watched:
    """Play whole env episodes with the best policy; render_mode: "human" or "rgb_array" (frames of the first).

    Raises MissingDependency where the environment cannot be drawn here.
    """
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    seeds, seen = RandomStreams(seed), Watched()
    env = run.make_env(render_mode=render_mode)
    try:
        policy = run.policy
        for number in range(episodes):
            keeps = render_mode == "rgb_array" and number == 0
            seen.returns.append(_play(env, policy, seeds.counter_seed("watch", number), seen if keeps else None))
    except DependencyNotInstalled as error:
        raise MissingDependency(f"this environment cannot be drawn here: {install_hint('classic')}") from error
    finally:
        env.close()
    return seen


def gif_of(run: Run, path: Path, episodes: int, seed: int) -> tuple[Path, list[float]]:
    """A GIF of the first env episode at ``path``; and the returns of all. Raises MissingDependency without Pillow."""
    _without_a_window()
    seen = watch(run, episodes=episodes, seed=seed, render_mode="rgb_array")
    target = path.resolve()
    fs = FileSystem()
    fs.ensure_directory(target.parent)
    fs.replace(target, gif(thinned(seen.frames)))
    return target, seen.returns


def _without_a_window() -> None:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")
    if "DISPLAY" not in os.environ:
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def thinned(frames: list[np.ndarray]) -> list[np.ndarray]:
    """At most MAX_FRAMES of them, evenly."""
    return frames[:: max(1, -(-len(frames) // MAX_FRAMES))]


def _play(env: Env, policy: Policy, seed: int, keep: Watched | None) -> float:
    observation, _ = env.reset(seed=seed)
    policy.reset()
    total, is_done = 0.0, False
    while not is_done:
        if keep is not None:
            keep.frames.append(_frame(env))
        observation, reward, terminated, truncated, _ = env.step(policy(observation))
        total, is_done = total + float(reward), terminated or truncated
    return total


def _frame(env: Env) -> np.ndarray:
    frame: Any = env.render()
    return np.asarray(frame, dtype=np.uint8)
