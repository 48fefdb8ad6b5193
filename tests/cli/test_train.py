import json
import re
from pathlib import Path

import pytest
from cli_parts import Made, a_result
from typer.testing import CliRunner, Result

from tensor_optix import quick
from tensor_optix.cli import app
from tensor_optix.core.types import StopReason
from tensor_optix.errors import ConfigError, EnvError


@pytest.fixture
def prepared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    stand_in = Made(tmp_path / "x")
    monkeypatch.setattr(quick, "prepare", stand_in)
    monkeypatch.setattr(quick, "plan_lines", lambda optimizer, more, width: ["plan   Toy-v0", *more.values()])
    monkeypatch.delenv("TENSOR_OPTIX_TRACEBACK", raising=False)
    return stand_in


def call(*arguments: str, **environ: str) -> Result:
    return CliRunner().invoke(app, ["train", *arguments], env=environ)


def test_it_prints_plan_lines_and_end_and_exits_with_zero_when_converged(prepared: Made) -> None:
    result = call("Toy-v0", "--plain", "--no-report")
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[:2] == ["plan   Toy-v0", str(prepared.run_dir)]
    assert "--set name=value" in lines[2]
    assert lines[3].startswith("[loop] ep=   3")
    assert lines[-1].endswith(f"eval {prepared.run_dir}")


@pytest.mark.parametrize(
    ("reason", "code"),
    [(StopReason.CEILING, 0), (StopReason.MAX_STEPS, 3), (StopReason.STUCK, 3), (StopReason.INTERRUPTED, 130),
     (StopReason.TERMINATED, 143)],
)  # fmt: skip
def test_the_exit_code_tells_how_the_run_ended(prepared: Made, reason: StopReason, code: int) -> None:
    prepared.outcome = a_result(prepared.run_dir, reason)
    assert call("Toy-v0", "--quiet", "--no-report").exit_code == code


@pytest.mark.parametrize(
    ("error", "code"), [(ConfigError("bad"), 2), (EnvError("bad"), 4), (ZeroDivisionError("bad"), 4),
                        (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_an_error_out_of_the_run_is_a_sentence_on_stderr(prepared: Made, error: BaseException, code: int) -> None:
    prepared.outcome = error
    result = call("Toy-v0", "--json", "--no-report")
    assert result.exit_code == code
    assert "Traceback" not in result.stderr
    assert result.stderr.splitlines()[-1].startswith("tensor-optix: ")
    assert all(json.loads(line) for line in result.stdout.splitlines())


def test_a_failed_run_says_where_its_best_policy_is_and_how_to_go_on(prepared: Made) -> None:
    prepared.outcome = EnvError("it broke")
    prepared.best = a_result(prepared.run_dir).best_snapshot
    told = call("Toy-v0", "--quiet").stderr.splitlines()
    assert f"tensor-optix: the best policy so far is kept in {prepared.run_dir}" in told
    assert any(re.fullmatch(rf".*to go on from the last commit: .* resume {prepared.run_dir}", line) for line in told)


@pytest.mark.parametrize("reason", [StopReason.INTERRUPTED, StopReason.TERMINATED])
def test_after_an_interruption_the_next_thing_to_type_is_resume(prepared: Made, reason: StopReason) -> None:
    prepared.outcome = a_result(prepared.run_dir, reason, best_snapshot=None)  # before anything was scored, too
    assert call("Toy-v0", "--plain", "--no-report").stdout.splitlines()[-1].endswith(f" resume {prepared.run_dir}")


def test_a_permission_to_import_is_part_of_the_call_that_goes_on(prepared: Made) -> None:
    prepared.outcome = a_result(prepared.run_dir, StopReason.INTERRUPTED)
    shown = call("mine:Toy-v0", "--plain", "--no-report", "--allow-import").stdout
    assert shown.splitlines()[-1].endswith(f" resume {prepared.run_dir} --allow-import")


@pytest.mark.parametrize("environ", [{}, {"TENSOR_OPTIX_TRACEBACK": "1"}])
def test_the_stack_is_shown_when_asked_for(prepared: Made, environ: dict[str, str]) -> None:
    prepared.outcome = EnvError("it broke")
    arguments = ["Toy-v0"] if environ else ["Toy-v0", "--traceback"]
    assert "Traceback (most recent call last)" in call(*arguments, **environ).stderr


def test_options_reach_the_run(prepared: Made, tmp_path: Path) -> None:
    call("Toy-v0", "--seed", "7", "--max-steps", "99", "--max-time", "1.5", "--set", "gamma=0.9", "--set",
         "noise_k = 1", "--out", str(tmp_path), "--no-report")  # fmt: skip
    asked = {name: prepared.asked[name] for name in ("subject", "seed", "max_steps", "max_time", "settings", "out")}
    assert asked == {
        "subject": "Toy-v0", "seed": 7, "max_steps": 99, "max_time": 1.5,
        "settings": {"gamma": "0.9", "noise_k": "1"}, "out": tmp_path,
    }  # fmt: skip
    assert prepared.optimizer is not None
    assert prepared.optimizer.callbacks == []


@pytest.mark.parametrize(
    ("options", "settings"),
    [
        (["--target", "475"], {"target_score": 475.0, "stop_at_target": True}),
        (["--target", "success_rate=0.9"],
         {"target_score": 0.9, "stop_at_target": True, "target_metric": "success_rate"}),
        (["--no-validation"], {"val_episodes": 0}),
        (["--smoke"], {"max_steps": 1500, "evaluation_episodes": 1, "val_episodes": 1}),
        (["--smoke", "--set", "max_steps=99"], {"max_steps": "99", "evaluation_episodes": 1, "val_episodes": 1}),
    ],
)  # fmt: skip
def test_options_that_stand_for_settings(prepared: Made, options: list[str], settings: dict[str, object]) -> None:
    call("Toy-v0", *options, "--no-report")
    assert prepared.asked["settings"] == settings


@pytest.mark.parametrize(("options", "code"), [(["--smoke"], 0), ([], 3)])
def test_a_smoke_run_has_succeeded_when_its_budget_is_spent(prepared: Made, options: list[str], code: int) -> None:
    prepared.outcome = a_result(prepared.run_dir, StopReason.MAX_STEPS)
    assert call("Toy-v0", *options, "--no-report").exit_code == code


def test_a_target_that_is_no_number_is_refused(prepared: Made) -> None:
    refused = call("Toy-v0", "--target", "high")
    assert refused.exit_code == 2
    assert "--target takes a score or METRIC=VALUE (success_rate=0.9), got 'high'" in refused.stderr


def test_trackers_are_named_by_log(prepared: Made) -> None:
    pytest.importorskip("tensorboardX")
    call("Toy-v0", "--log", "tensorboard", "--no-report")
    assert [type(callback).__name__ for callback in prepared.asked["callbacks"]] == ["TensorBoardLogger"]
    refused = call("Toy-v0", "--log", "tensorbord")
    assert refused.exit_code == 2
    assert "Did you mean 'tensorboard'?" in refused.stderr


def test_what_an_environment_prints_stays_out_of_json(prepared: Made) -> None:
    result = call("Toy-v0", "--json", "--no-report")
    kinds = [json.loads(line)["type"] for line in result.stdout.splitlines()]
    assert kinds == ["info", "event", "progress", "result"]
    assert "an environment prints this" in result.stderr


def test_a_report_that_cannot_be_written_is_told_and_costs_nothing(prepared: Made) -> None:
    result = call("Toy-v0", "--plain")  # the toy run has no directory to read from
    assert result.exit_code == 0
    assert "tensor-optix: no report: CheckpointError:" in result.stderr
    assert "report   " not in result.stdout


def test_a_setting_without_a_value_is_refused(prepared: Made) -> None:
    result = call("Toy-v0", "--set", "gamma")
    assert result.exit_code == 2
    assert "--set takes name=value" in result.stderr


def test_an_id_that_imports_a_module_needs_permission(prepared: Made) -> None:
    result = call("evil:Env-v0")
    assert result.exit_code == 2
    assert "add --allow-import if you trust it" in result.stderr
    assert prepared.asked == {}
    assert call("evil:Env-v0", "--allow-import", "--no-report").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [(["trian", "x"], "Did you mean 'train'?"), (["train", "x", "--sed", "3"], "--seed"), (["train"], "ENV_ID")],
)
def test_a_mistyped_call_is_told_what_was_meant(arguments: list[str], hint: str) -> None:
    result = CliRunner().invoke(app, arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 2
    assert hint in result.stderr


def test_an_unknown_environment_or_setting_is_wrong_usage_with_the_nearest_name() -> None:
    pytest.importorskip("torch")
    unknown_env, unknown_setting = call("CartPole-v99", "--no-report"), call("CartPole-v1", "--set", "learnig_rate=1")
    assert unknown_env.exit_code == unknown_setting.exit_code == 2
    assert "CartPole" in unknown_env.stderr
    assert "Did you mean 'learning_rate'?" in unknown_setting.stderr


def test_a_real_run_leaves_a_report_and_can_be_evaluated(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("matplotlib")
    trained = call("CartPole-v1", "--max-steps", "4096", "--seed", "1", "--plain", "--out", str(tmp_path), "--set",
                   "evaluation_episodes=3", "--set", "n_epochs=2")  # fmt: skip
    assert trained.exit_code == 3, trained.stderr
    assert re.search(r"^final +\d+\.\d \[95 %: .*; 3 fresh episodes, deterministic\]$", trained.stdout, re.MULTILINE)
    (run_dir,) = tmp_path.iterdir()
    assert {"report.html", "progress.png"} <= {path.name for path in run_dir.iterdir()}
    before = {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")}
    evaluated = CliRunner().invoke(app, ["eval", str(tmp_path), "--episodes", "2", "--seed", "3", "--json"])
    assert evaluated.exit_code == 0, evaluated.stderr
    assert f"{run_dir} is the newest run in" in evaluated.stderr
    row = json.loads(evaluated.stdout)
    assert (row["type"], row["seed"], len(row["returns"])) == ("evaluation", 3, 2)
    assert {path: path.stat().st_mtime_ns for path in run_dir.rglob("*")} == before
