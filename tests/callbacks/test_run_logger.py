from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tensor_optix import RLOptimizer
from tensor_optix.callbacks.run_logger import RunLogger, tick_numbers
from tensor_optix.core.reporting import RunInfo
from tensor_optix.core.types import RunResult
from tests.callbacks.logged_runs import a_tick, tell
from tests.core.scripted import ScriptedAgent, ScriptedPipeline


class Notebook(RunLogger):
    """Writes down what it is told; ``fails`` names the method that raises."""

    def __init__(self, fails: str = "") -> None:
        self.told: list[str] = []
        self.lines: list[Any] = []
        self._fails = fails
        super().__init__(tell=self.told.append)

    def _note(self, name: str, *what: Any) -> None:
        self.lines.append((name, *what))
        if name == self._fails:
            raise OSError("no space left")

    def open(self, run: RunInfo) -> None:
        self._note("open", run.run_id)

    def log(self, numbers: Mapping[str, float], env_steps: int) -> None:
        self._note("log", numbers["score/raw"], env_steps)

    def conclude(self, numbers: Mapping[str, float], result: RunResult) -> None:
        self._note("conclude", numbers.get("final_mean"), result.reason.value)

    def close(self, *, is_finished: bool) -> None:
        self._note("close", is_finished)


def test_it_hears_every_tick_and_the_result(tmp_path: Path):
    notebook = Notebook()
    tell(notebook, tmp_path)
    assert notebook.lines == [
        ("open", "20261123-1"), ("log", 10.0, 100), ("log", 20.0, 300), ("conclude", 19.0, "converged"),
        ("close", True),
    ]  # fmt: skip


def test_a_run_that_ends_by_an_error_is_closed_as_such(tmp_path: Path):
    notebook = Notebook()
    tell(notebook, tmp_path, is_finished=False)
    assert notebook.lines[-1] == ("close", False)


@pytest.mark.parametrize("fails", ["open", "log", "conclude", "close"])
def test_a_failing_tracker_is_told_once_and_closed_and_costs_nothing(fails: str, tmp_path: Path):
    notebook = Notebook(fails)
    tell(notebook, tmp_path)
    assert notebook.told == ["Notebook has stopped logging, the run goes on: OSError: no space left"]
    assert [line[0] for line in notebook.lines].count(fails) == 1
    assert notebook.lines[-1][0] == "close"
    notebook._fails = ""
    tell(notebook, tmp_path)
    assert notebook.problem is None


def test_numbers_that_cannot_be_drawn_are_left_out():
    numbers = tick_numbers(a_tick(0, 10.0, hyperparams={"name": "adam", "n": 3}, evidence={"x": float("inf")}))
    assert numbers["hyperparams/n"] == 3.0
    assert "hyperparams/name" not in numbers
    assert "evidence/x" not in numbers


@pytest.mark.parametrize("late", [False, True])
def test_as_a_callback_of_an_optimizer_it_is_told_of_the_real_run(late: bool, tmp_path: Path):
    notebook = Notebook()
    run = RLOptimizer(
        ScriptedAgent(), ScriptedPipeline([1.0, 2.0, 3.0]), max_episodes=3, checkpoint_dir=tmp_path,
        callbacks=() if late else (callback for callback in [notebook]),
    )  # fmt: skip
    if late:
        run.add_callback(notebook)
    run.run()
    assert [line[0] for line in notebook.lines] == ["open", "log", "log", "log", "conclude", "close"]
    assert notebook.problem is None
