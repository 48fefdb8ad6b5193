"""A run's directory as the loop sees it: nothing exists until the run begins, one writer while it goes on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensor_optix.core.reporting import summary_of
from tensor_optix.core.types import RunResult
from tensor_optix.storage import FileSystem, RunDirectory

RUNNING, CLOSING, FINISHED, FAILED = "running", "closing", "finished", "failed"
"""What run.json says of a run: one that is killed while it is closing, or in a second ``run()``, may be continued."""


class RunFiles:
    """Creates ``<parent>/<run_id>/`` at the first ``open`` and locks it; later ones lock it again.

    identity: called once, when the directory is made; what run.json says of the run for ever.
    """

    def __init__(self, parent: str | Path, run_id: str, identity: Callable[[], Mapping[str, Any]]) -> None:
        self.run_id = run_id
        self.path = Path(parent).absolute() / run_id
        self._fs = FileSystem()
        self._identity = identity
        self._directory: RunDirectory | None = None
        self._is_new = False

    @classmethod
    def existing(cls, run: RunDirectory) -> RunFiles:
        """Those of a run that is to be continued."""
        files = cls(run.path.parent, run.run_id, dict)
        files._directory = run
        return files

    def open(self) -> None:
        """Make or lock the directory. Raises CheckpointError or ConfigError before anything else happens."""
        self._is_new = self._directory is None
        if self._directory is None:
            identity = dict(self._identity())
            self._directory = RunDirectory.create(self._fs, self.path.parent, self.run_id, identity)
        else:
            self._directory.lock()

    def close(self) -> None:
        """Let other writers in."""
        if self._directory is not None:
            self._directory.release()

    def begun(self) -> None:
        """Record in run.json that a run which had ended goes on."""
        if not self._is_new:
            self._opened.update_summary({"status": RUNNING})

    def finished(self, result: RunResult, *, status: str = FINISHED) -> None:
        """Record in run.json how the run ended. status: CLOSING while the best policy is still to be evaluated."""
        self._opened.update_summary(summary_of(result) | {"status": status})

    def failed(self, error: BaseException, *, has_policies: bool) -> None:
        """Nothing half-written stays behind: a run that never had a policy to keep is removed, any other one says
        in run.json how it ended."""
        if self._directory is None or not self._directory.is_locked:
            return
        if has_policies or not self._is_new:
            self._directory.update_summary({"status": FAILED, "error": f"{type(error).__name__}: {error}"})
            return
        self._directory.release()
        self._fs.remove_tree(self.path)
        self._directory = None

    def cut_rows(self, window: int, n_events: int) -> None:
        """Drop the metrics of ``window`` and later ones, and all but the first ``n_events`` events."""
        self._opened.cut_rows(window, n_events)

    def append_metrics(self, row: dict[str, Any]) -> None:
        """A row per tick."""
        self._opened.append_metrics(row)

    def append_event(self, row: dict[str, Any]) -> None:
        """A row per decision."""
        self._opened.append_event(row)

    @property
    def _opened(self) -> RunDirectory:
        assert self._directory is not None, "open() comes first"
        return self._directory
