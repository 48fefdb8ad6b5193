"""What one can do with runs on the command line, on a real one."""

import json
import re
import runpy
import tomllib
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from tensor_optix.cli import VERBS, app

pytest.importorskip("torch")

TINY = ("--set", "val_episodes=0", "--set", "evaluation_episodes=3", "--set", "n_envs=2", "--set", "window_size=64",
        "--set", "hidden=8", "--set", "n_epochs=1")  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "200"})


def rows(result: Result) -> list[dict]:
    assert result.exit_code == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two runs of CartPole below one directory, the older one first."""
    parent = tmp_path_factory.mktemp("runs") / "CartPole-v1"
    trained = call("train", "CartPole-v1", "--seeds", 2, "--seed", 1, "--max-steps", 256, "--json", "--no-report",
                   "--out", parent, *TINY)  # fmt: skip
    assert trained.exit_code == 3, trained.stderr
    found = [json.loads(line) for line in trained.stdout.splitlines()]
    results, together = [row for row in found if row["type"] == "result"], found[-1]
    assert together["type"] == "experiment"
    assert together["scores"] == [row["final"]["mean"] for row in results]
    assert together["low"] <= together["iqm"] <= together["high"]
    return [Path(row["run_dir"]) for row in results]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_with_an_example_and_its_exit_codes(verb: str) -> None:
    shown = call(verb, "--help").stdout
    assert f"Example: tensor-optix {verb}" in shown
    assert "xit codes" in shown


def test_runs_are_listed_newest_first_from_one_level_above_too(runs: list[Path]) -> None:
    for directory in (runs[0].parent, runs[0].parent.parent):
        listed = rows(call("list", directory, "--json"))
        assert [row["run_dir"] for row in listed] == [str(runs[1]), str(runs[0])]
    row = listed[0]
    assert (row["environment"], row["algorithm"], row["ended"], row["env_steps"]) == (
        "CartPole-v1", "ppo", "max_steps", 256)  # fmt: skip
    lines = call("list", runs[0].parent).stdout.splitlines()
    assert lines[0].split() == ["environment", "algorithm", "ended", "best", "final", "env_steps", "run"]
    assert len(lines) == 3


def test_a_directory_without_runs_says_so_and_a_missing_one_is_wrong_usage(tmp_path: Path) -> None:
    assert call("list", tmp_path).stdout.strip() == f"no runs in {tmp_path}"
    assert call("list", tmp_path / "absent").exit_code == 2


def test_show_tells_what_a_run_was_made_of_and_decided(runs: list[Path]) -> None:
    (row,) = rows(call("show", runs[0], "--json", "--events", 1))
    assert row["identity"]["details"]["hidden"] == [8]
    assert len(row["events"]) == 1
    text = call("show", runs[0]).stdout
    assert "max_steps=256" in text
    assert "ended    max_steps; 256 env steps" in text


def test_reports_of_several_runs_come_with_their_interquartile_mean(runs: list[Path]) -> None:
    (row,) = rows(call("report", runs[0].parent, "--no-html", "--json"))
    assert (row["environment"], row["runs"]) == ("CartPole-v1", 2)
    assert row["iqm"] == pytest.approx(np.mean(row["scores"]))
    pytest.importorskip("matplotlib")
    together = call("report", *runs, "--out", runs[0].parent / "both.html")
    assert together.exit_code == 0, together.stderr
    assert (runs[0] / "report.html").exists()
    assert together.stdout.splitlines()[-1] == f"together {runs[0].parent / 'both.html'}"
    page = (runs[0].parent / "both.html").read_text()
    assert "2 runs of CartPole-v1" in page
    assert all(run.name in page for run in runs)


def test_compare_pairs_the_episodes(runs: list[Path]) -> None:
    (same,) = rows(call("compare", runs[0], runs[0], "--episodes", 4, "--seed", 3, "--json"))
    assert same["returns"][0] == same["returns"][1]
    assert (same["difference"], same["low"], same["high"]) == (0.0, 0.0, 0.0)
    assert same["verdict"].startswith("no difference")
    (row,) = rows(call("compare", runs[0], runs[1], "--episodes", 4, "--seed", 3, "--json"))
    assert row["returns"][0] == same["returns"][0]
    assert row["difference"] == pytest.approx(row["means"][0] - row["means"][1])


def test_enjoy_without_a_window_leaves_a_gif(runs: list[Path], tmp_path: Path) -> None:
    pytest.importorskip("PIL")
    pytest.importorskip("pygame")
    (row,) = rows(call("enjoy", runs[0], "--episodes", 2, "--gif", tmp_path / "x.gif", "--seed", 1, "--json"))
    assert len(row["returns"]) == 2
    assert (tmp_path / "x.gif").read_bytes().startswith(b"GIF89a")


def test_an_exported_policy_acts_as_the_run_did(runs: list[Path], tmp_path: Path) -> None:
    from tensor_optix import quick
    from tensor_optix.export.numpy_policy import NumpyPolicy

    (row,) = rows(call("export", runs[0], "--numpy", tmp_path / "policy", "--json"))
    exported, policy = NumpyPolicy.load(row["path"]), quick.load(runs[0]).policy
    observations = np.random.default_rng(0).standard_normal((20, 4)).astype(np.float32)
    assert [int(exported.act(x, deterministic=True)) for x in observations] == [policy(x) for x in observations]
    assert call("export", runs[0]).exit_code == 2


def test_environments_are_found_by_a_part_of_their_name() -> None:
    found = rows(call("envs", "CARTPOLE", "--json"))
    assert {"CartPole-v1"} <= {row["env_id"] for row in found}
    assert "CartPole-v0" not in {row["env_id"] for row in found}
    assert call("envs", "no such thing").exit_code == 2


def test_the_doctor_finds_torch_and_a_place_to_write() -> None:
    (row,) = rows(call("doctor", "--json"))
    assert "torch" in row["backends"]
    assert row["write_trouble"] is None
    assert row["env_steps_per_second"] > 0


def test_init_writes_the_same_run_as_settings_and_as_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    options = (*TINY, "--set", "max_steps=256", "--set", "val_episodes=2")  # the last of two equal names counts
    assert call("init", "CartPole-v1", "--seed", 5, "--dir", "made", *options).exit_code == 0
    again = call("init", "CartPole-v1", "--dir", "made")
    assert again.exit_code == 2
    assert "is there already" in again.stderr
    by_config = call("train", "CartPole-v1", "--config", "made/run.toml", "--json", "--no-report", "--out", "a")
    direct = call("train", "CartPole-v1", "--seed", 5, "--json", "--no-report", "--out", "b", *options)
    scripted = runpy.run_path("made/train.py", run_name="__main__")["optimizer"].result
    scores = [json.loads(result.stdout.splitlines()[-1])["final"]["returns"] for result in (by_config, direct)]
    assert scores == [list(scripted.final.returns)] * 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[run", "is no TOML file"),
        ("[runs]", "unknown entry 'runs'. Did you mean 'run'?"),
        ("run = 3", "run must be a table"),
        ("[run]\nenv = 'Acrobot-v1'", "written for env|for env = 'Acrobot-v1', not for 'CartPole-v1'"),
        ("[run]\nsede = 3", "unknown entry 'sede'. Did you mean 'seed'?"),
        ("[settings]\nlearnig_rate = 1", "Did you mean 'learning_rate'?"),
    ],
)
def test_a_config_that_cannot_be_meant_is_refused_in_words(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "run.toml").write_text(text)
    refused = call("train", "CartPole-v1", "--config", tmp_path / "run.toml")
    assert refused.exit_code == 2
    assert re.search(message.replace("?", r"\?"), refused.stderr)


def test_a_generated_config_is_toml_that_documents_every_hyperparameter() -> None:
    from tensor_optix import quick
    from tensor_optix.quick.code import as_toml

    text = as_toml(quick.plan("CartPole-v1", seed=5))
    tables = tomllib.loads(text)
    assert tables["run"]["seed"] == 5
    assert tables["settings"]["clip_ratio"] == 0.2
    assert "clip range" in text


def test_a_search_goes_on_to_a_long_run_with_the_winner(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    result = call("search", "CartPole-v1", "--trials", 2, "--trial-steps", 512, "--max-steps", 256, "--seed", 1,
                  "--json", "--no-report", "--out", tmp_path, *TINY)  # fmt: skip
    assert result.exit_code == 3, result.stderr
    assert "[2 of 2, best " in result.stderr
    found = [json.loads(line) for line in result.stdout.splitlines()]
    assert found[0]["type"] == "search"
    info = next(row for row in found if row["type"] == "info")
    assert {name: info["hyperparams"][name] for name in found[0]["hyperparams"]} == found[0]["hyperparams"]
    assert (tmp_path / "search" / "study.db").exists()
