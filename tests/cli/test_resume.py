import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Made, a_result
from typer.testing import CliRunner, Result

from tensor_optix import quick
from tensor_optix.cli import app
from tensor_optix.core.types import StopReason
from tensor_optix.errors import AgentError
from tensor_optix.storage import FileSystem, RunDirectory

SMALL = ("--seed", "1", "--plain", "--no-report", "--set", "evaluation_episodes=3", "--set", "n_epochs=1",
         "--set", "minibatch_size=512")  # fmt: skip


def call(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def a_run(parent: Path, run_id: str = "one", env_id: str = "Toy-v0") -> Path:
    run = RunDirectory.create(FileSystem(), parent, run_id, {"details": {"env_id": env_id}})
    run.release()
    return run.path


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    stand_in = Made(a_run(tmp_path))
    monkeypatch.setattr(quick, "resume", stand_in)
    monkeypatch.setattr(quick, "plan_lines", lambda optimizer, more, width: ["plan   Toy-v0", *more.values()])
    return stand_in


def test_options_reach_the_run(made: Made) -> None:
    call("resume", made.run_dir, "--max-steps", "99", "--max-time", "1.5", "--no-report")
    asked = {name: made.asked[name] for name in ("subject", "max_steps", "max_time", "allow_import")}
    assert asked == {"subject": made.run_dir, "max_steps": 99, "max_time": 1.5, "allow_import": False}
    assert made.optimizer is not None
    assert made.optimizer.callbacks == []


def test_it_looks_like_train_and_ends_like_it(made: Made) -> None:
    result = call("resume", made.run_dir, "--plain", "--no-report")
    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert lines[:2] == ["plan   Toy-v0", str(made.run_dir)]
    assert lines[2].startswith("[loop] ep=   3")
    assert lines[-1].endswith(f"eval {made.run_dir}")


def test_json_is_an_object_a_line_and_quiet_is_one_line(made: Made) -> None:
    rows = [json.loads(line) for line in call("resume", made.run_dir, "--json", "--no-report").stdout.splitlines()]
    assert [row["type"] for row in rows] == ["info", "event", "progress", "result"]
    assert call("resume", made.run_dir, "--quiet", "--no-report").stdout.count("\n") == 1


@pytest.mark.parametrize("reason", [StopReason.INTERRUPTED, StopReason.TERMINATED])
def test_a_second_interruption_names_the_call_with_its_limits(made: Made, reason: StopReason) -> None:
    made.outcome = a_result(made.run_dir, reason)
    result = call("resume", made.run_dir, "--max-steps", "99", "--plain", "--no-report")
    assert result.exit_code == {StopReason.INTERRUPTED: 130, StopReason.TERMINATED: 143}[reason]
    assert result.stdout.splitlines()[-1].endswith(f" resume {made.run_dir} --max-steps 99")


def test_above_several_runs_the_newest_is_taken_and_told(made: Made, tmp_path: Path) -> None:
    newest = a_run(tmp_path, "a-second")
    result = call("resume", tmp_path, "--quiet", "--no-report")
    assert made.asked["subject"] == newest
    assert f"{newest} is the newest run in {tmp_path}" in result.stderr


@pytest.mark.parametrize("name", ["absent", "empty", "file"])
def test_what_is_no_run_is_wrong_usage(tmp_path: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    result = call("resume", tmp_path / name)
    assert result.exit_code == 2
    assert str(tmp_path / name) in result.stderr


def test_a_run_file_cannot_make_us_import_a_module(made: Made, tmp_path: Path) -> None:
    run = a_run(tmp_path, "evil", env_id="evil:Env-v0")
    refused = call("resume", run)
    assert (refused.exit_code, made.asked) == (2, {})
    assert "would run the Python module 'evil'" in refused.stderr
    made.outcome = a_result(run, StopReason.INTERRUPTED)
    allowed = call("resume", run, "--allow-import", "--plain", "--no-report")
    assert allowed.stdout.splitlines()[-1].endswith(" --allow-import")
    assert made.asked["allow_import"] is True


# -- real runs -----------------------------------------------------------------------------------------------------


def left_behind(run_dir: Path) -> dict[str, Any]:
    """What a run leaves, clock readings and the error that ended an earlier attempt aside."""
    run = RunDirectory.open(FileSystem(), run_dir)
    aside = {"seconds", "timestamp", "error"}
    rows = [{name: value for name, value in row.items() if name not in aside} for row in run.read_metrics()]
    weights = {path.parent.name: path.read_bytes() for path in run_dir.glob("snapshots/0*/arrays.safetensors")}
    summary = {name: value for name, value in run.summary.items() if name not in aside}
    return {"rows": rows, "weights": weights, "summary": summary}


def disturbed(monkeypatch: pytest.MonkeyPatch, disturb: Callable[[], object], *arguments: object) -> Result:
    """A call of the program, with ``disturb`` in the midst of collecting the third window."""
    from tensor_optix.pipeline.env_runner import EnvRunner

    step, steps = EnvRunner.step, iter(range(10**9))

    def disturbing(runner: EnvRunner, action: Any) -> Any:
        if next(steps) == 5000:
            disturb()
        return step(runner, action)

    with monkeypatch.context() as patched:
        patched.setattr(EnvRunner, "step", disturbing)
        return call(*arguments)


def fail() -> None:
    raise AgentError("it broke")


@pytest.mark.parametrize(
    ("disturb", "code"),
    [(lambda: os.kill(os.getpid(), signal.SIGINT), 130), (lambda: os.kill(os.getpid(), signal.SIGTERM), 143),
     (fail, 4)],
    ids=["SIGINT", "SIGTERM", "failure"],
)  # fmt: skip
def test_an_interrupted_run_ends_as_if_nothing_had_happened(
    disturb: Callable[[], object], code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    train = ("train", "CartPole-v1", *SMALL, "--max-steps", "10240", "--out")
    whole = call(*train, tmp_path / "whole")
    assert whole.exit_code == 3, whole.stderr
    cut = disturbed(monkeypatch, disturb, *train, tmp_path / "cut")
    assert cut.exit_code == code, cut.stderr
    told = next(line for line in reversed([*cut.stderr.splitlines(), *cut.stdout.splitlines()]) if " resume " in line)
    go_on = shlex.split(told)
    resumed = call(*go_on[go_on.index("resume") :], "--plain", "--no-report")
    assert resumed.exit_code == 3, resumed.stderr
    (run_dir,) = (tmp_path / "cut").iterdir()
    (whole_dir,) = (tmp_path / "whole").iterdir()
    found, expected = left_behind(run_dir), left_behind(whole_dir)
    assert len(expected["rows"]) == 5
    assert found == expected
    assert re.findall("^final.*$", resumed.stdout, re.MULTILINE) == re.findall("^final.*$", whole.stdout, re.MULTILINE)


def test_a_spent_budget_is_told_with_the_remedy_and_a_larger_one_goes_on(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    long = call("train", "CartPole-v1", "--out", tmp_path / "long", *SMALL, "--max-steps", "6144")
    short = call("train", "CartPole-v1", "--out", tmp_path / "short", *SMALL, "--max-steps", "4096")
    assert (long.exit_code, short.exit_code) == (3, 3)
    for options in ([], ["--max-steps", 4096]):
        refused = call("resume", tmp_path / "short", "--plain", *options)
        assert refused.exit_code == 2
        assert refused.stdout == ""
        told = refused.stderr.splitlines()[-1]
        assert re.search(r"the budget of environment steps \(max_steps\) is used up \(\d,\d+ steps, ", told)
        assert told.endswith("give a larger max_steps (--max-steps) to go on")
    resumed = call("resume", tmp_path / "short", "--max-steps", "6144", "--plain", "--no-report")
    assert resumed.exit_code == 3, resumed.stderr
    assert "at the latest at max_steps 6,144" in " ".join(resumed.stdout.split())
    (long_dir,), (short_dir,) = ((tmp_path / name).iterdir() for name in ("long", "short"))
    assert left_behind(short_dir)["rows"] == left_behind(long_dir)["rows"]


def test_a_converged_run_is_told_in_a_sentence(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    call("train", "CartPole-v1", "--out", tmp_path, *SMALL, "--max-steps", "2048")
    run = RunDirectory.open(FileSystem(), next(tmp_path.iterdir()))
    run.lock()
    run.update_summary({"reason": "converged"})
    run.release()
    refused = call("resume", tmp_path)
    assert refused.exit_code == 2
    assert refused.stdout == ""
    assert refused.stderr.splitlines()[-1].endswith("is finished (converged): nothing is left to continue")
