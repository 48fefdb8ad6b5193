import io
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Made, a_plan, a_result

from tensor_optix import quick
from tensor_optix.cli.running import reproduction, run_and_tell
from tensor_optix.cli.screens import PlainScreen
from tensor_optix.core.types import StopReason


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Made:
    monkeypatch.setattr(quick, "plan_lines", lambda optimizer, more, width: list(more.values()))
    return Made(tmp_path / "x")


def outcome(made: Made, **keywords: Any) -> tuple[int, list[str]]:
    """(exit code, lines on the screen)"""
    stream = io.StringIO()
    screen = PlainScreen(stream)
    code = run_and_tell(lambda: made("Toy-v0", reporters=[screen]), screen, hint="hint", **keywords)
    return code, stream.getvalue().splitlines()


@pytest.mark.parametrize(
    ("settings", "options"),
    [({}, ""), ({"max_steps": 99, "max_time": 1.5}, " --max-steps 99 --max-time 1.5"),
     ({"noise_k": 1.0, "max_episodes": 3}, " --set max_episodes=3 --set noise_k=1.0")],
)  # fmt: skip
def test_the_call_that_does_the_same_again_names_the_seed_and_whatever_is_no_default(made, settings, options):
    made.plan = a_plan(seed=8, **settings)
    command = reproduction(made.plan)
    assert command.endswith(f" train Toy-v0 --algo ppo --backend torch --seed 8{options}")


def test_a_changed_hyperparameter_and_an_import_are_part_of_it(made):
    made.plan = {**a_plan(env_id="mine:Toy-v0"), "hyperparams": {"learning_rate": 0.001, "gamma": 0.99}}
    command = reproduction(made.plan)
    assert command.endswith(" --backend torch --seed 5 --set learning_rate=0.001 --allow-import")


def test_the_report_gets_that_call(made, monkeypatch):
    commands = []
    monkeypatch.setattr(
        "tensor_optix.callbacks.report.write_report", lambda run_dir, command: commands.append(command)
    )
    outcome(made, has_report=True)
    assert [command.endswith("train Toy-v0 --algo ppo --backend torch --seed 5") for command in commands] == [True]


@pytest.mark.parametrize("reason", list(StopReason))
def test_a_machine_that_is_taken_away_does_not_wait_for_a_report(made, reason, monkeypatch):
    written = []
    monkeypatch.setattr("tensor_optix.callbacks.report.write_report", lambda run_dir, command: written.append(run_dir))
    made.outcome = a_result(made.run_dir, reason)
    outcome(made, has_report=True)
    assert written == ([] if reason is StopReason.TERMINATED else [made.run_dir])


@pytest.mark.parametrize("reason", list(StopReason))
def test_what_to_type_next_goes_on_after_an_interruption_and_evaluates_otherwise(made, reason):
    made.outcome = a_result(made.run_dir, reason)
    _, lines = outcome(made, has_report=False, resume_options=["--max-steps", "9"])
    is_broken_off = reason in (StopReason.INTERRUPTED, StopReason.TERMINATED)
    assert lines[-1].endswith(f" resume {made.run_dir} --max-steps 9" if is_broken_off else f" eval {made.run_dir}")


def test_a_run_without_a_policy_offers_nothing_to_evaluate(made):
    made.outcome = a_result(made.run_dir, StopReason.MAX_STEPS, best_snapshot=None)
    _, lines = outcome(made, has_report=False)
    assert not any(line.startswith("next") for line in lines)
