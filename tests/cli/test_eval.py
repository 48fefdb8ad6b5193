import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tensor_optix import quick
from tensor_optix.cli import app
from tensor_optix.core.types import EpisodeData
from tensor_optix.storage import FileSystem, RunDirectory


class ToyPipeline:
    """An env episode per seed whose return is the number of the call."""

    description = "Toy-v0"

    def __init__(self) -> None:
        self.seeds: list[int] = []
        self.is_closed = False

    def evaluate(self, agent: Any, *, seeds: list[int], deterministic: bool = True) -> EpisodeData:
        assert deterministic
        self.seeds += seeds
        episode_return = float(len(self.seeds))
        return EpisodeData(
            np.zeros((1, 1)), np.zeros(1), [episode_return], [True], [False], [{}], 0,
            episode_returns=[episode_return], episode_lengths=[1],
        )  # fmt: skip

    def teardown(self) -> None:
        self.is_closed = True


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch) -> ToyPipeline:
    toy = ToyPipeline()
    monkeypatch.setattr(quick, "load", lambda run_dir, allow_import: SimpleNamespace(agent=None, pipeline=toy))
    return toy


def a_run(parent: Path, run_id: str = "one", env_id: str = "Toy-v0") -> Path:
    run = RunDirectory.create(FileSystem(), parent, run_id, {"details": {"env_id": env_id}})
    run.release()
    return run.path


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["eval", *map(str, arguments)])


def test_it_prints_mean_interval_and_range_over_fresh_seeds(tmp_path: Path, pipeline: ToyPipeline) -> None:
    result = call(a_run(tmp_path), "--episodes", 5, "--seed", 3)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert lines[0].startswith("final    3.0 [95 %: ")
    assert "5 fresh episodes, deterministic]" in lines[0]
    assert lines[1] == "range    1.0 to 5.0"
    assert lines[2].endswith("evaluated with --seed 3")
    assert len(set(pipeline.seeds)) == 5
    assert pipeline.is_closed


def test_the_same_seed_evaluates_the_same_episodes(tmp_path: Path, pipeline: ToyPipeline) -> None:
    run = a_run(tmp_path)
    call(run, "--episodes", 3, "--seed", 3)
    call(run, "--episodes", 3, "--seed", 3)
    call(run, "--episodes", 3)
    assert pipeline.seeds[:3] == pipeline.seeds[3:6] != pipeline.seeds[6:]


def test_json_is_one_object(tmp_path: Path, pipeline: ToyPipeline) -> None:
    row = json.loads(call(a_run(tmp_path), "--episodes", 2, "--seed", 3, "--json").stdout)
    assert (row["mean"], row["min"], row["max"], row["returns"]) == (1.5, 1.0, 2.0, [1.0, 2.0])


def test_above_several_runs_the_newest_is_taken_and_told(tmp_path: Path, pipeline: ToyPipeline) -> None:
    a_run(tmp_path, "z-first")
    newest = a_run(tmp_path, "a-second")
    result = call(tmp_path, "--episodes", 1)
    assert f"{newest} is the newest run in {tmp_path}" in result.stderr
    assert str(newest) in result.stdout


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_is_no_run_is_wrong_usage(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    result = call(tmp_path / name)
    assert result.exit_code == 2
    assert str(tmp_path / name) in result.stderr


def test_a_run_file_cannot_make_us_import_a_module(tmp_path: Path, pipeline: ToyPipeline) -> None:
    run = a_run(tmp_path, env_id="evil:Env-v0")
    refused = call(run)
    assert (refused.exit_code, pipeline.seeds) == (2, [])
    assert "would run the Python module 'evil'" in refused.stderr
    assert call(run, "--allow-import", "--episodes", 1).exit_code == 0
