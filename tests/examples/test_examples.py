"""Every example runs as it is; only its budget is small."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest

from tests.docs.small_runs import make_runs_small

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.py"))
LIBRARIES = {
    "torch": 'import torch|"torch"',
    "tensorflow": "import tensorflow",
    "flax": "from flax",
    "optuna": "TrialOrchestrator",
    "matplotlib": "from matplotlib",
    "ale_py": "import ale_py",
    "cv2": "import ale_py",
    "mujoco": "HalfCheetah",
}
"""What an example needs, by what is written in it."""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for library, use in LIBRARIES.items():
        if re.search(use, path.read_text()):
            pytest.importorskip(library, reason=f"{library} is not installed here, and the example says how it is")
    make_runs_small(monkeypatch, tmp_path)
    runpy.run_path(str(path), run_name="__main__")
    told = capsys.readouterr().out
    assert re.search(r"max_(episodes|steps)|on the days after", told)
    assert list(tmp_path.glob("checkpoints/*/run.json"))


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_says_how_it_is_started_and_what_it_needs(path: Path) -> None:
    text = path.read_text()
    assert f"python examples/{path.name}" in text
    assert 'pip install -e ".[' in text
    assert 'if __name__ == "__main__":' in text
