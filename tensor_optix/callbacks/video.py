"""VideoRecorder: the first and the best policy of a run, as animated GIFs in its directory."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tensor_optix._lazy import missing
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.types import RunResult
from tensor_optix.errors import MissingDependency
from tensor_optix.storage import FileSystem

logger = logging.getLogger(__name__)

Film = Callable[[BaseAgent], Sequence[np.ndarray]]
"""Plays an env episode with an agent; frames [H, W, 3] of bytes. ``EpisodeFilm`` is one."""

FOLDER, FIRST, BEST = "media", "first.gif", "best.gif"
MAX_WIDTH = 320
"""Pixels; wider pictures are made smaller by a whole factor."""


class VideoRecorder(LoopCallback):
    """Films the policy before the run and, when it has ended, the best one: ``media/first.gif``, ``media/best.gif``.

        RLOptimizer(agent, pipeline, callbacks=[VideoRecorder(agent, EpisodeFilm("CartPole-v1"))])

    fps: frames a second. tell: hears, in a sentence, why there is no film: a renderer that is missing never fails a
    run. ``paths`` holds what was written, ``problem`` what went wrong (None: nothing).
    """

    def __init__(
        self, agent: BaseAgent, film: Film, *, fps: float = 30.0, tell: Callable[[str], None] = logger.warning
    ) -> None:
        self.paths: list[Path] = []
        self.problem: str | None = None
        self._agent, self._film, self._fps, self._tell = agent, film, fps, tell
        self._first: bytes | None = None

    def on_loop_start(self) -> None:
        self.paths, self.problem = [], None
        self._first = self._filmed()

    def on_stop(self, result: RunResult) -> None:
        fs, films = FileSystem(), ((FIRST, self._first), (BEST, self._filmed()))
        for name, data in films:
            is_earlier = name == FIRST and fs.kind(result.run_dir / FOLDER / name) == "file"  # of an earlier run()
            if data is not None and not is_earlier:
                self._write(result.run_dir / FOLDER / name, data)

    def _filmed(self) -> bytes | None:
        """A GIF, unless something has gone wrong, now or before."""
        if self.problem is not None:
            return None
        try:
            return gif(self._film(self._agent), fps=self._fps)
        except Exception as error:  # noqa: BLE001 - renderers fail in many ways, and none of them is worth a run
            self._failed(error)
            return None

    def _write(self, path: Path, data: bytes) -> None:
        fs = FileSystem()
        try:
            fs.ensure_directory(path.parent)
            fs.replace(path, data)
        except Exception as error:  # noqa: BLE001 - the run is done and kept; what went wrong is told, not raised
            self._failed(error)
        else:
            self.paths.append(path)

    def _failed(self, error: Exception) -> None:
        self.problem = str(error) if isinstance(error, MissingDependency) else f"{type(error).__name__}: {error}"
        self._tell(f"no film of the run: {self.problem}")


def gif(frames: Sequence[np.ndarray], *, fps: float = 30.0) -> bytes:
    """Frames [H, W, 3] of bytes as an animated GIF that repeats. Raises MissingDependency without Pillow."""
    try:
        from PIL import Image
    except ModuleNotFoundError as error:
        raise missing("PIL") from error
    step = -(-frames[0].shape[1] // MAX_WIDTH)
    pictures = [Image.fromarray(np.ascontiguousarray(frame[::step, ::step])) for frame in frames]
    file = io.BytesIO()
    milliseconds = max(20, round(1000 / fps))  # browsers slow anything faster down
    pictures[0].save(file, "GIF", save_all=True, append_images=pictures[1:], duration=milliseconds, loop=0)
    return file.getvalue()
