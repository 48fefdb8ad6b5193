"""Which run may be continued by these parts, and how exactly."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.run_files import FINISHED
from tensor_optix.core.state import split_state
from tensor_optix.core.types import ResumeLevel
from tensor_optix.errors import CheckpointError
from tensor_optix.storage import FileSystem, RunDirectory, SnapshotStore, runs_below

FRAMEWORKS = ("torch", "tensorflow", "jax")
GOES_ON = ("interrupted", "terminated", "stopped", "max_episodes", "max_steps", "max_time", "pipeline_ended")


def resume_level(agent: BaseAgent, pipeline: BasePipeline) -> ResumeLevel:
    """What a run with these parts may promise. (The parts say whether they give their state; nothing is tried.)"""
    if agent.state_dict() is None:
        return ResumeLevel("E0", f"{type(agent).__name__} gives no state_dict: only its weights are continued")
    if not agent.continues_exactly:
        return ResumeLevel("E1", "a learning rate schedule of yours starts anew: the agent cannot save where it is")
    if pipeline.state_dict() is None:
        return ResumeLevel("E1", f"{type(pipeline).__name__} gives no state_dict: its environments start anew")
    if not pipeline.continues_exactly:
        return ResumeLevel("E1", f"{type(pipeline).__name__} cannot go back to where its source was")
    return ResumeLevel("E3", "every part gives its complete state")


def fingerprint(parts: Mapping[str, Any], agent: BaseAgent, pipeline: BasePipeline) -> dict[str, str]:
    """What must be the same for a run to be continued: kinds of parts, shapes of arrays, spaces."""
    kinds = {name: type(part).__name__ for name, part in parts.items()}
    arrays = split_state((agent.policy_state() or {}).get("networks", {}))[1]
    shapes = {f"weights {name}": f"{array.dtype}{list(array.shape)}" for name, array in arrays.items()}
    return {**kinds, **pipeline.fingerprint, **shapes}


def software() -> dict[str, str]:
    """Whatever may change the bits of a result: versions, processor, threads."""
    loaded = {name: sys.modules[name] for name in FRAMEWORKS if name in sys.modules}
    versions = {name: str(getattr(module, "__version__", "?")) for name, module in loaded.items()}
    threads = {"torch threads": str(loaded["torch"].get_num_threads())} if "torch" in loaded else {}
    return {
        "python": platform.python_version(), "machine": platform.machine(), "numpy": np.__version__,
        **versions, **threads,
    }  # fmt: skip


def differences(there: Mapping[str, str], here: Mapping[str, str]) -> list[str]:
    """The entries that differ, in words."""
    names = [name for name in [*here, *(n for n in there if n not in here)] if there.get(name) != here.get(name)]
    return [f"{name} is {there.get(name, 'absent')} there and {here.get(name, 'absent')} here" for name in names]


def resumable_run(where: Path, here: Mapping[str, str], *, is_run: bool) -> RunDirectory:
    """The run to continue: ``where`` itself, or the newest unfinished one below it with this fingerprint.

    Raises CheckpointError that says what is missing, or names what differs.
    """
    fs = FileSystem()
    candidates = [where] if is_run else runs_below(fs, where)
    problems = []
    for path in candidates:
        run = RunDirectory.open(fs, path)
        problem = _problem(fs, run, here)
        if problem is None:
            return run
        problems.append(problem if is_run else f"; the newest run, {path.name}, {problem}")
    raise CheckpointError(where, problems[0] if is_run else "".join(["holds no run to continue", *problems[:1]]))


def _problem(fs: FileSystem, run: RunDirectory, here: Mapping[str, str]) -> str | None:
    """Why this run cannot be continued; None when it can."""
    reason = run.summary.get("reason")
    if reason is not None and reason not in GOES_ON and run.summary.get("status") == FINISHED:
        return f"is finished ({reason}): nothing is left to continue"
    there = run.identity.get("fingerprint")
    if not isinstance(there, dict):
        return "says nothing of what it was made of"
    if wrong := differences(there, here):
        return f"was made of other parts: {'; '.join(wrong[:5])}"
    if not SnapshotStore(fs, run.training_directory).generations():
        return "was ended before its first commit: start it anew"
    return None
