"""The README's Python runs as printed, its commands, files and pictures exist.

Only a budget is injected: training until convergence is what the text shows, and too long for a test.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tensor_optix.cli import VERBS, app
from tests.docs.small_runs import make_runs_small

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
CONTINUES = "# continues the block above\n"


def programs() -> list[str]:
    """The Python blocks, each with those that continue it."""
    found: list[str] = []
    for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL):
        if block.startswith(CONTINUES):
            found[-1] += block
        else:
            found.append(block)
    return found


@pytest.mark.parametrize("program", programs(), ids=["three lines", "own networks"])
def test_every_python_block_runs_as_printed(program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    make_runs_small(monkeypatch, tmp_path)
    namespace: dict[str, Any] = {"__name__": "readme"}
    exec(compile(program, "README.md", "exec"), namespace)
    assert (namespace["opt"] if "opt" in namespace else namespace["run"]).result is not None


def test_every_verb_and_option_of_the_text_exists() -> None:
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
    calls = re.findall(r"^tensor-optix (\w+)(.*)$", shell, re.MULTILINE)
    assert calls
    for verb, rest in calls:
        told = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout
        assert verb in VERBS
        assert [option for option in re.findall(r"--[a-z-]+", rest) if option not in told] == []


def test_every_file_that_is_linked_or_run_is_there() -> None:
    linked = re.findall(r"\]\(([^)#:]+)\)", README)
    assert len(linked) > 15
    assert [path for path in linked if not (ROOT / path).is_file()] == []
    modules = [ROOT.joinpath(*module.split(".")) for module in re.findall(r"python -m ([\w.]+)", README)]
    assert [path for path in modules if not path.is_dir() and not path.with_suffix(".py").is_file()] == []


def test_the_pictures_are_small() -> None:
    pictures = re.findall(r'<img src="([^"]+)"', README)
    assert len(pictures) == 2
    assert all((ROOT / path).stat().st_size < 300_000 for path in pictures)


def test_no_install_hint_names_the_distribution() -> None:
    assert not re.search(r"pip install (?!-e )", README)
