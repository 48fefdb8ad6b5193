from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tensor_optix import RLOptimizer, VideoRecorder
from tensor_optix.callbacks.video import gif
from tests.core.scripted import ScriptedAgent, ScriptedPipeline

image = pytest.importorskip("PIL.Image", reason="films are written by Pillow, which is not installed")


def frames_in(data: bytes) -> list[np.ndarray]:
    film = image.open(io.BytesIO(data))
    found = []
    for number in range(film.n_frames):
        film.seek(number)
        found.append(np.asarray(film.convert("RGB")))
    return found


def film_of_policy(agent: Any) -> list[np.ndarray]:
    """Two frames: black, and as grey as the scripted policy's number says."""
    return [np.zeros((6, 8, 3), np.uint8), np.full((6, 8, 3), 20 * agent.policy, np.uint8)]


def test_first_and_best_policy_are_filmed_into_the_runs_directory(tmp_path: Path):
    agent = ScriptedAgent()
    recorder = VideoRecorder(agent, film_of_policy)
    pipeline = ScriptedPipeline([1.0, 2.0, 9.0, 0.0, 0.0])
    run = RLOptimizer(agent, pipeline, max_episodes=5, checkpoint_dir=tmp_path, callbacks=[recorder])
    run.run()
    assert recorder.problem is None
    assert recorder.paths == [run.run_dir / "media" / name for name in ("first.gif", "best.gif")]
    greys = [frames_in(path.read_bytes())[-1].mean() for path in recorder.paths]
    assert greys == pytest.approx([0.0, 40.0], abs=2)


@pytest.mark.parametrize("frames", [[], None, [np.zeros((2, 0, 3), np.uint8)]])
def test_a_film_that_cannot_be_made_is_told_once_and_costs_nothing(frames: Any, tmp_path: Path):
    told: list[str] = []
    agent = ScriptedAgent()

    def broken(agent: Any) -> Any:
        if frames is None:
            raise OSError("no display")
        return frames

    recorder = VideoRecorder(agent, broken, tell=told.append)
    run = RLOptimizer(agent, ScriptedPipeline([1.0]), max_episodes=2, checkpoint_dir=tmp_path, callbacks=[recorder])
    run.run()
    assert len(told) == 1
    assert "no film of the run" in told[0]
    assert recorder.paths == []
    assert run.result is not None


def test_a_gif_has_every_frame_and_wide_ones_are_made_smaller():
    wide = [np.full((100, 700, 3), grey, np.uint8) for grey in (0, 120, 240)]
    found = frames_in(gif(wide, fps=10))
    assert [frame.shape for frame in found] == [(34, 234, 3)] * 3
    assert [round(float(frame.mean())) for frame in found] == pytest.approx([0, 120, 240], abs=2)
    assert image.open(io.BytesIO(gif(wide, fps=10))).info["duration"] == 100
