"""The Python of every page runs as printed: the blocks of a page, one after the other, are one program."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tensor_optix.cli import app
from tests.docs.small_runs import make_runs_small

DOCS = Path(__file__).parents[2] / "docs"
OURS = r'(?: title="tensor-optix")?\n'
BLOCK = re.compile(rf"(?P<note><!-- not run: [^\n]+ -->\n)?```python{OURS}(?P<source>.*?)```", re.DOTALL)
NEEDS = {"torch": r"torch|make_agent|Torch", "optuna": "TrialOrchestrator", "matplotlib": "ReportWriter"}


def blocks_of(page: Path) -> list[str]:
    """The sources of a page that are run."""
    return [found["source"] for found in BLOCK.finditer(page.read_text()) if not found["note"]]


ALL_PAGES = sorted(DOCS.rglob("*.md"))
PAGES = {page.relative_to(DOCS).as_posix(): blocks for page in ALL_PAGES if (blocks := blocks_of(page))}


@pytest.mark.parametrize("page", PAGES)
def test_the_python_of_a_page_runs_as_printed(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for library, pattern in NEEDS.items():
        if re.search(pattern, "\n".join(PAGES[page])):
            pytest.importorskip(library)
    make_runs_small(monkeypatch, tmp_path)
    namespace: dict[str, Any] = {"__name__": "page"}
    for number, source in enumerate(PAGES[page], start=1):
        exec(compile(source, f"{page}, block {number}", "exec"), namespace)


def test_most_blocks_are_run() -> None:
    notes = [found["note"] for page in ALL_PAGES for found in BLOCK.finditer(page.read_text())]
    assert len(notes) > 40
    assert sum(note is not None for note in notes) <= 2


def test_no_install_hint_names_the_distribution() -> None:
    for page in ALL_PAGES:
        assert not re.search(r"pip install (?!-e )[\"']?tensor", page.read_text()), page


def test_every_verb_and_option_of_the_pages_exists() -> None:
    text = "\n".join(page.read_text() for page in ALL_PAGES)
    shell = re.findall(rf"```bash{OURS}(.*?)```", text, re.DOTALL)
    calls = re.findall(r"^tensor-optix (\w+)(.*)$", "\n".join(shell), re.MULTILINE)
    assert calls
    for verb, rest in calls:
        told = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"})
        assert told.exit_code == 0, verb
        assert [option for option in re.findall(r"--[a-z-]+", rest) if option not in told.stdout] == []
