"""The README's Python runs as printed, its commands exist, and the example runs too.

Only a budget is injected: training until convergence is what the text shows, and too long for a test.
"""

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tensor_optix.cli import VERBS, app
from tensor_optix.core.loop_config import LoopConfig

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
CONTINUES = "# continues the quick start\n"
QUICK_START = next(block for block in BLOCKS if "pipeline = BatchPipeline(" in block)


@pytest.fixture
def short_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever runs here collects two windows and evaluates two episodes, in a directory of its own."""
    pytest.importorskip("torch")
    as_given = LoopConfig.from_settings

    def with_a_budget(settings: dict[str, Any]) -> LoopConfig:
        return as_given({"max_episodes": 2, "evaluation_episodes": 2, **settings})

    monkeypatch.setattr(LoopConfig, "from_settings", with_a_budget)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_python_block_runs_as_printed(number: int, short_runs: None) -> None:
    block = BLOCKS[number]
    blocks = [QUICK_START, block] if block.startswith(CONTINUES) else [block]
    namespace: dict[str, Any] = {"__name__": "readme"}
    for source in blocks:
        exec(compile(source, "README.md", "exec"), namespace)
    assert (namespace["opt"] if "opt" in namespace else namespace["run"]).result is not None


def test_every_verb_and_option_of_the_text_exists() -> None:
    shell = "\n".join(re.findall(r"```bash\n(.*?)```", README, re.DOTALL))
    calls = re.findall(r"^tensor-optix (\w+)(.*)$", shell, re.MULTILINE)
    assert {verb for verb, _ in calls} == set(VERBS)
    options = {*re.findall(r"`(--[a-z-]+)", README), *re.findall(r"(--[a-z-]+)", "".join(rest for _, rest in calls))}
    helps = [CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).stdout for verb in VERBS]
    assert {option for option in options if option not in "".join(helps)} == set()


def test_no_install_hint_names_the_distribution() -> None:
    assert not re.search(r"pip install (?!-e )", README)


def test_the_example_runs(short_runs: None, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(ROOT / "examples/cartpole_ppo.py"), run_name="__main__")
    output = capsys.readouterr().out
    assert "max_episodes: the budget of windows" in output
    assert "best policy on fresh seeds" in output
