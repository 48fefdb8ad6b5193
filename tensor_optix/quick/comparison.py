"""What do several runs say side by side, and as a page?"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tensor_optix.callbacks._report_page import RunRecord
from tensor_optix.callbacks.comparison import COMPARISON_FILE, Group, write_comparison
from tensor_optix.quick.experiment import Summary
from tensor_optix.storage import FileSystem, RunDirectory


def groups_of(run_dirs: Iterable[Path]) -> list[Group]:
    """A group for every environment and algorithm, over its runs that have a score."""
    members: dict[tuple[str, str], list[tuple[RunRecord, float]]] = {}
    for run_dir in run_dirs:
        run = RunDirectory.open(FileSystem(), run_dir)
        record = RunRecord(run.run_id, run.identity, run.summary, run.read_metrics(), run.read_events())
        score = _score(record)
        if score is not None:
            members.setdefault(_names(record), []).append((record, score))
    groups = []
    for (environment, name), found in members.items():
        summary = Summary.of([score for _, score in found])
        runs = tuple(record for record, _ in found)
        groups.append(Group(environment, name, runs, summary.scores, summary.iqm, summary.low, summary.high))
    return groups


def compare_runs(run_dirs: Iterable[Path], path: Path | None = None) -> Path:
    """Write a page that sets the runs side by side; its path (default: comparison.html above the first run).

    Raises ConfigError where no run has a score, MissingDependency without matplotlib.
    """
    directories = list(run_dirs)
    groups = groups_of(directories)
    if not groups:
        Summary.of([])  # says why
    return write_comparison(groups, path or directories[0].parent / COMPARISON_FILE)


def _names(record: RunRecord) -> tuple[str, str]:
    details = record.identity.get("details")
    found: dict[str, Any] = details if isinstance(details, dict) else {}
    return str(found.get("env_id") or record.environment), str(found.get("algorithm") or "-")


def _score(record: RunRecord) -> float | None:
    final = record.summary.get("final")
    score = final.get("mean") if isinstance(final, dict) else record.summary.get("score")
    return float(score) if isinstance(score, int | float) and not isinstance(score, bool) else None
