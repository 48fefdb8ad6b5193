"""ReportWriter: leaves ``report.html`` and ``progress.png`` in the run's directory when a run ends."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import TypeVar

from tensor_optix._about import VERSION, install_hint
from tensor_optix.callbacks._report_curve import curve_png, curve_svg
from tensor_optix.callbacks._report_page import Pictures, RunRecord, report_page
from tensor_optix.callbacks._report_series import gap_svg, hyperparams_svg, staircase_svg
from tensor_optix.callbacks.video import BEST, FIRST, FOLDER
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.plain_text import printable
from tensor_optix.core.types import RunResult
from tensor_optix.errors import MissingDependency
from tensor_optix.storage import FileSystem, RunDirectory

logger = logging.getLogger(__name__)

REPORT_FILE, PICTURE_FILE = "report.html", "progress.png"
FILMS = {"before training": FIRST, "the best policy": BEST}
MAX_FILM_BYTES = 700_000
T = TypeVar("T")
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
    pictures, picture = drawn(lambda: (_pictures(record, _films(fs, run.path)), _png(record)))
    page = report_page(record, pictures, command=command, versions=versions())
    # the loop holds the run's lock, and this is called by the loop: the file system writes for both
    fs.replace(run.path / PICTURE_FILE, picture)
    fs.replace(run.path / REPORT_FILE, page.encode())
    return run.path / REPORT_FILE


def drawn(draw: Callable[[], T]) -> T:
    """What ``draw`` gives. Raises MissingDependency without matplotlib."""
    try:
        return draw()
    except ModuleNotFoundError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        hint = install_hint("report")
        raise MissingDependency(f"the report needs matplotlib, which is not installed: {hint}") from error


def _pictures(record: RunRecord, films: dict[str, bytes]) -> Pictures:
    metrics, events, target = record.metrics, record.events, record.target

    def both(draw: Callable[[bool], str | None]) -> tuple[str, str] | None:
        wide, narrow = draw(False), draw(True)
        return None if wide is None or narrow is None else (wide, narrow)

    curves = [curve_svg(metrics, events, target=target, is_narrow=is_narrow) for is_narrow in (False, True)]
    return Pictures(
        curve=(curves[0], curves[1]),
        gap=both(lambda is_narrow: gap_svg(metrics, is_narrow=is_narrow)),
        hyperparams=both(lambda is_narrow: hyperparams_svg(metrics, events, is_narrow=is_narrow)),
        staircase=both(lambda is_narrow: staircase_svg(metrics, is_narrow=is_narrow)),
        films=films,
    )


def _png(record: RunRecord) -> bytes:
    return curve_png(record.metrics, record.events, title=printable(record.environment), target=record.target)


def _films(fs: FileSystem, run_dir: Path) -> dict[str, bytes]:
    """What VideoRecorder has left in the run, where it is small enough to go into a page."""
    found = {}
    for label, name in FILMS.items():
        path = run_dir / FOLDER / name
        if fs.kind(path) == "file" and fs.size(path) <= MAX_FILM_BYTES:
            data = fs.read(path, MAX_FILM_BYTES)
            if data.startswith(b"GIF8"):
                found[label] = data
    return found


def versions() -> dict[str, str]:
    """What this process runs on; libraries that are not installed are left out."""
    found = {"tensor-optix": VERSION, "Python": platform.python_version()}
    for library in LIBRARIES:
        try:
            found[library] = metadata.version(library)
        except metadata.PackageNotFoundError:
            continue
    return {**found, "system": f"{platform.system()} {platform.machine()}"}
