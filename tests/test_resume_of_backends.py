"""Saved, loaded, continued is the same run, bit for bit, for the agents of every backend (more: test_resume.py).

Their programs take seconds to compile, so each agent makes two runs only: one to its end, whose directory is copied
in the middle (a process killed at that instant would have left just that), and one that goes on from the copy.
"""

from __future__ import annotations

import os
import shutil
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from tensor_optix import BatchPipeline, LoopCallback, ReturnEvaluator, RLOptimizer
from tensor_optix.core import training_states
from tests.agents_of_backends import ALGORITHMS, BACKENDS, CONTINUOUS, small_agent
from tests.test_resume import Wandering, fingerprint

os.environ.setdefault("JAX_PLATFORMS", "cpu")

WINDOWS, COPIED_AT = 6, 3
PARAMS: dict[str, dict[str, Any]] = {
    "dqn": {"epsilon": 0.5, "updates_per_step": 0.08, "per_alpha": 0.6, "n_step": 3, "replay_capacity": 300},
    "sac": {"updates_per_step": 0.08, "learning_starts": 150, "replay_capacity": 300},
}
AGENTS = {
    f"{backend.values[0]} {algorithm}": pytest.param(
        partial(small_agent, backend.values[0], algorithm, PARAMS.get(algorithm),
                n_inputs=3 if algorithm in CONTINUOUS else 4, n_actions=2, dim=1),
        algorithm in CONTINUOUS, marks=backend.marks,
    )
    for backend in BACKENDS for algorithm in ALGORITHMS if backend.values[0] != "torch"
}  # fmt: skip


class CopyAfter(LoopCallback):
    """Copies the run's directory at the end of a window."""

    def __init__(self, to: Path) -> None:
        self.to = to

    def on_episode_end(self, episode_id: int, eval_metrics: Any) -> None:
        if episode_id == COPIED_AT:
            shutil.copytree(self.run_dir, self.to / self.run_dir.name)


def made(build: Any, is_continuous: bool, out: Path, **keywords: Any) -> RLOptimizer:
    env = gym.make("Pendulum-v1", max_episode_steps=70) if is_continuous else gym.make("CartPole-v1")
    return RLOptimizer(
        build(), BatchPipeline(env=env, window_size=100), checkpoint_dir=out, seed=7, max_episodes=WINDOWS,
        evaluation_episodes=1, optimizer=Wandering(), evaluator=ReturnEvaluator(score_episodes=1), **keywords,
    )  # fmt: skip


@pytest.mark.parametrize(("build", "is_continuous"), AGENTS.values(), ids=AGENTS)
def test_a_run_goes_on_as_if_nothing_had_happened(build, is_continuous, tmp_path, monkeypatch):
    monkeypatch.setattr(training_states, "PAUSE_SHARE", 0)  # a commit at every boundary
    copy = CopyAfter(tmp_path / "killed")
    whole = made(build, is_continuous, tmp_path / "whole", callbacks=[copy])
    copy.run_dir = whole.run_dir
    whole.run()
    resumed = made(build, is_continuous, tmp_path / "killed", resume=True)
    resumed.run()
    assert resumed.result.windows == whole.result.windows == WINDOWS
    assert fingerprint(resumed) == fingerprint(whole)
    assert resumed.result.resume.level == "E3"
    assert np.isfinite(whole.result.score)
