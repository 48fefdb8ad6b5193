"""Escapes, line breaks and marks that turn the reading direction, from environments, exceptions and run files."""

from __future__ import annotations

import io
import json
import unicodedata
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_parts import Made, a_plan, a_progress, a_result, an_event, an_info
from rich.console import Console
from typer.testing import CliRunner

from tensor_optix import quick
from tensor_optix.callbacks.progress import ProgressBar
from tensor_optix.cli import app
from tensor_optix.cli.ending import Ending
from tensor_optix.cli.failures import say, sentence
from tensor_optix.cli.panel import PanelScreen
from tensor_optix.cli.panel_story import Story
from tensor_optix.cli.panel_view import Frame, panel
from tensor_optix.cli.screens import JsonScreen, PlainScreen, QuietScreen
from tensor_optix.cli.table import table_lines
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.types import LoopState
from tensor_optix.errors import ConfigError, EnvError
from tensor_optix.quick.assembly import Recipe
from tensor_optix.quick.build import Build
from tensor_optix.quick.plan_text import plan_text
from tensor_optix.quick.telling import Teller
from tensor_optix.storage import FileSystem, RunDirectory

HOSTILE = "Env\x1b[2J\x1b]0;title\x07\r\n\u202etxt.exe\u2066\u2028\x9b31m\x00-v0"


def steering(text: str) -> set[str]:
    """What of ``text`` could steer a terminal or turn a line around; line feeds of our own are none."""
    return {c for c in text if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"}


def ending_lines() -> str:
    result = a_result(Path("/runs") / HOSTILE, explanation=HOSTILE, notes=(HOSTILE,))
    stream, ending = io.StringIO(), Ending(result, LoopState.DORMANT, Path(HOSTILE), HOSTILE)
    for screen in (PlainScreen(stream), QuietScreen(stream), PanelScreen(stream)):
        screen.ended(ending)
    return stream.getvalue()


def panel_picture() -> str:
    stream = io.StringIO()
    story = Story().after_decision(an_event(HOSTILE, HOSTILE)).after_window(a_progress(hyperparams={HOSTILE: HOSTILE}))
    story = story.after_window(a_progress(hyperparams={HOSTILE: "other " + HOSTILE}))
    frame = Frame(an_info(environment=HOSTILE, target=1.0, target_metric=HOSTILE), a_progress(), 1.0, HOSTILE, story)
    Console(file=stream, width=100).print(panel(frame, 100))
    return stream.getvalue()


def plan_of_a_hostile_id() -> str:
    plan = a_plan(env_id=HOSTILE)
    facts = {"spaces": HOSTILE, "max_episode_steps": 5, "reward_threshold": 1.0}
    recipe = Recipe(Build.from_details(plan["details"]), 1, {}, {})
    return "\n".join(plan_text(recipe, LoopConfig(), facts, {"algorithm": HOSTILE, "backend": HOSTILE}))


def told_by_teller() -> str:
    stream = io.StringIO()
    teller = Teller(stream, plan_of_a_hostile_id())
    teller.started(an_info(environment=HOSTILE))
    teller.finished(a_result(Path("/runs/x"), explanation=HOSTILE))
    return stream.getvalue()


def progress_bar() -> str:
    stream = io.StringIO()
    bar = ProgressBar(stream=stream)
    bar.started(an_info(environment=HOSTILE))
    bar.closed()
    return stream.getvalue()


PLACES: dict[str, Callable[[], str]] = {
    "a table": lambda: "\n".join(table_lines(("name",), [[HOSTILE]])),
    "an error of ours": lambda: str(EnvError(HOSTILE)),
    "the end of a run": ending_lines,
    "the panel": panel_picture,
    "the plan": plan_of_a_hostile_id,
    "a script's lines": told_by_teller,
    "the progress bar": progress_bar,
}


@pytest.mark.parametrize("place", PLACES)
def test_nothing_that_is_printed_can_steer_a_terminal(place: str) -> None:
    text = PLACES[place]()
    assert steering(text) == set()
    assert "Env" in text


@pytest.mark.parametrize("error", [ConfigError(HOSTILE), ValueError(HOSTILE)])
def test_an_exception_is_one_plain_line(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    error.add_note(HOSTILE)
    say(sentence(error))
    told = capsys.readouterr().err
    assert steering(told) == set()
    assert told.count("\n") == 1


def test_json_is_ascii_and_a_line_each() -> None:
    stream = io.StringIO()
    screen = JsonScreen(stream)
    screen.started(an_info(environment=HOSTILE))
    screen.decided(an_event(HOSTILE, HOSTILE))
    text = stream.getvalue()
    assert text.isascii()
    assert steering(text) == set()
    assert [json.loads(line)["type"] for line in text.splitlines()] == ["info", "event"]


@pytest.mark.parametrize("verb", ["list", "show", "explain"])
def test_a_run_directory_cannot_steer_who_reads_it(tmp_path: Path, verb: str) -> None:
    identity = {"environment": HOSTILE, "seed": 1, "details": {"env_id": HOSTILE, "algorithm": HOSTILE},
                "settings": {HOSTILE: HOSTILE}, "hyperparams": {HOSTILE: HOSTILE}}  # fmt: skip
    run = RunDirectory.create(FileSystem(), tmp_path, "one", identity)
    run.append_event({"kind": HOSTILE, "window": 0, "env_steps": 1, "seconds": 0.0, "text": HOSTILE,
                      "evidence": {HOSTILE: HOSTILE}})  # fmt: skip
    run.update_summary({"reason": HOSTILE, "explanation": HOSTILE, "score": 1.0})
    for options in ([], ["--json"]):
        result = CliRunner().invoke(app, [verb, str(tmp_path), *options])
        assert result.exit_code == 0, result.stderr
        assert steering(result.stdout + result.stderr) == set()


def test_what_an_environment_prints_cannot_pass_for_a_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: Any = Made(tmp_path / "x")
    monkeypatch.setattr(quick, "prepare", made)
    monkeypatch.setattr(quick, "plan_lines", lambda optimizer, more, width: [])
    result = CliRunner().invoke(app, ["train", "Toy-v0", "--quiet", "--no-report"])
    assert "an environment prints this" not in result.stdout
