"""ReportWriter: leaves ``report.html`` and ``progress.png`` in the run's directory when a run ends."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path

from tensor_optix._about import VERSION, install_hint
from tensor_optix.callbacks._report_page import RunRecord, report_page
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.types import RunResult
from tensor_optix.errors import MissingDependency
from tensor_optix.storage import FileSystem, RunDirectory

logger = logging.getLogger(__name__)

REPORT_FILE, PICTURE_FILE = "report.html", "progress.png"
LIBRARIES = ("numpy", "gymnasium", "torch", "tensorflow", "jax")


class ReportWriter(LoopCallback):
    """Writes the report of each ``run()`` from what the run's directory holds by then.

    command: the call that does the same again, for the report's last section. tell: hears, in a sentence, why there
    is no report.

    A report never costs a run: what went wrong is in ``problem`` (None: nothing) and ``path`` is then None.
    """

    def __init__(self, *, command: str | None = None, tell: Callable[[str], None] = logger.warning) -> None:
        self.path: Path | None = None
        self.problem: str | None = None
        self._command = command
        self._tell = tell

    def on_stop(self, result: RunResult) -> None:
        self.path = self.problem = None
        try:
            self.path = write_report(result.run_dir, command=self._command)
        except Exception as error:  # noqa: BLE001 - the run is done and kept; what went wrong is told, not raised
            self.problem = str(error) if isinstance(error, MissingDependency) else f"{type(error).__name__}: {error}"
            self._tell(f"no report: {self.problem}")


def write_report(run_dir: str | Path, *, command: str | None = None) -> Path:
    """Read a run's logs and write its report into it; returns the page's path. Raises MissingDependency."""
    fs = FileSystem()
    run = RunDirectory.open(fs, Path(run_dir))
    record = RunRecord(run.run_id, run.identity, run.summary, run.read_metrics(), run.read_events())
    try:
        from tensor_optix.callbacks._report_curve import curve_png, curve_svg

        curves = [curve_svg(record.metrics, record.events, is_narrow=is_narrow) for is_narrow in (False, True)]
        picture = curve_png(record.metrics, record.events, title=record.environment)
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        hint = install_hint("report")
        raise MissingDependency(f"the report needs matplotlib, which is not installed: {hint}") from error
    page = report_page(record, wide_curve=curves[0], narrow_curve=curves[1], command=command, versions=versions())
    # the loop holds the run's lock, and this is called by the loop: the file system writes for both
    fs.replace(run.path / PICTURE_FILE, picture)
    fs.replace(run.path / REPORT_FILE, page.encode())
    return run.path / REPORT_FILE


def versions() -> dict[str, str]:
    """What this process runs on; libraries that are not installed are left out."""
    found = {"tensor-optix": VERSION, "Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.machine()}"}
