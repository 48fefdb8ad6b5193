import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cli_parts import HYPERPARAMS, a_progress, a_result, an_event, an_info
from rich.console import Console

from tensor_optix.cli.panel import PanelScreen
from tensor_optix.cli.panel_story import Story
from tensor_optix.cli.panel_view import Frame, panel
from tensor_optix.core.reporting import Event
from tensor_optix.core.types import LoopState


def a_story(*decisions: Event, **changes: Any) -> Story:
    """Two windows, of which the second was learned with a lower rate."""
    story = Story(scores=(1.0, 5.0)).after_window(a_progress(score=9.0, hyperparams=HYPERPARAMS))
    for event in decisions or (an_event("tuned", "learning_rate 0.0003 → 0.00017", evidence={"learning_rate": 1.7e-4}),
                               an_event()):  # fmt: skip
        story = story.after_decision(event)
    return replace(story.after_window(a_progress(score=None)), **changes)


def a_frame(**changes: Any) -> Frame:
    values: dict[str, Any] = {
        "info": an_info(), "progress": a_progress(), "seconds": 94.0, "phase": "7 of 20 scores without a gain",
        "story": a_story(),
    }  # fmt: skip
    return Frame(**{**values, **changes})


def text_of(frame: Frame, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(panel(frame, width))
    return stream.getvalue()


def test_it_shows_every_row_that_a_user_looks_for() -> None:
    text = text_of(a_frame(info=an_info(target=475.0)))
    parts = [
        "state  ● COOLING  7 of 20 scores", "train score  ▁▅█  9.0", "best  240.0  at 8,192 steps",
        "target  475  not reached yet", "speed  910 steps/s  8,192 in 0:01:34", "converged?  ███████░░░░░░░░░░░░░",
        "learning_rate   0.0003    0.00017   ▼ -43 %    learning_rate 0.0003", "as set  gamma 0.99", "0:00:31  best",
        "Ctrl-C once",
    ]  # fmt: skip
    assert [part for part in parts if part not in text] == []


def test_a_validated_run_shows_its_validation_scores_and_the_gap() -> None:
    story = a_story(val_scores=(1.0, 200.0), gap=31.5, target_steps=4096)
    text = text_of(a_frame(info=an_info(target=200.0, unit="validation"), story=story), 100)
    parts = ["val score  ▁█  200.0", "gap  +31.5  (train − val)", "best  240.0 val", "reached at 4,096 ✔"]
    assert [part for part in parts if part not in text] == []


def test_a_hyperparameter_is_shown_as_learning_used_it() -> None:
    # a controller inside the agent has its own rate; what the user set is still 0.0003
    inside = {"learning_rate": 1.5e-3, "approx_kl": 0.0041}
    story = Story().after_window(a_progress(hyperparams=HYPERPARAMS))
    story = story.after_window(a_progress(hyperparams={**HYPERPARAMS, "target_kl": 0.02}, metrics=inside))
    text = text_of(a_frame(story=story))
    assert "learning_rate   0.0003    0.0015    ▲ ×5       follows the KL" in text


def test_a_validated_tick_tells_what_was_in_force_under_another_name() -> None:
    inside = {"learning_rate": 1.5e-3, "approx_kl": 0.0041}
    validated = {f"train_{name}": value for name, value in inside.items()} | {"val_learning_rate": 9.0}
    story = Story().after_window(a_progress(hyperparams=HYPERPARAMS, metrics=inside))
    story = story.after_window(a_progress(hyperparams=HYPERPARAMS, metrics=validated))
    assert dict(story.moves) == {}


def test_decisions_that_are_too_frequent_do_not_crowd_out_the_others() -> None:
    story = a_story(an_event("cooling", "now"), *[an_event("kept")] * 9)
    assert [event.kind for event in story.decisions] == ["cooling"]


def test_a_low_terminal_gets_a_low_panel() -> None:
    stream = io.StringIO()
    story = a_story(*[an_event(text=f"new best {n}") for n in range(9)])
    Console(file=stream, width=100).print(panel(a_frame(story=story), 100, 24))
    assert len(stream.getvalue().splitlines()) < 24
    assert stream.getvalue().count("new best") == 2
    assert "as set" not in stream.getvalue()


def test_it_shows_something_before_the_first_window_has_ended() -> None:
    text = text_of(a_frame(progress=None, story=Story(), phase="collecting the first window", seconds=3.0))
    for part in ("Toy-v0", "● ACTIVE  collecting the first window", "none yet", "0:00:03 elapsed", "learning_rate"):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_leaves_room_for(width: int) -> None:
    story = a_story(an_event(text="long " * 50), scores=tuple(range(500)))
    frame = a_frame(story=story, phase="long " * 50)
    assert max(len(line) for line in text_of(frame, width).splitlines()) <= width - 3


def test_labels_stay_whole_when_values_are_cut() -> None:
    text = text_of(a_frame(phase="long " * 50, story=a_story(an_event("degraded", "long " * 50))), 60)
    assert "converged?" in text
    assert "0:00:31  degraded" in text


@pytest.mark.parametrize("state", list(LoopState))
def test_every_state_is_named_and_coloured(state: LoopState) -> None:
    stream = io.StringIO()
    frame = a_frame(progress=a_progress(state=state))
    Console(file=stream, width=80, force_terminal=True, color_system="standard").print(panel(frame, 80))
    assert f"● {state.name}" in stream.getvalue()
    assert f"\x1b[1;3{ {'ACTIVE': 2, 'COOLING': 3, 'DORMANT': 6, 'WATCHDOG': 5}[state.name] }m●" in stream.getvalue()


def test_names_and_texts_of_others_are_neither_markup_nor_control_characters() -> None:
    info, story = an_info(environment="[red]\x1b[2J\u202eEnv"), a_story(an_event("[bold]", "\x1b[/] odd"))
    frame = a_frame(info=info, story=story)
    text = text_of(frame)
    assert "[red][2JEnv" in text
    assert "[/] odd" in text
    assert "\x1b" not in text


def test_the_live_panel_runs_from_start_to_end_and_leaves_the_last_picture() -> None:
    stream = io.StringIO()
    screen = PanelScreen(stream, clock=iter(float(second) for second in range(10_000)).__next__)
    screen.planned(["plan   Toy-v0"])
    screen.started(an_info(Path("/runs/x")))
    screen.progressed(a_progress())
    screen.decided(an_event())
    screen.finished(a_result(Path("/runs/x")))
    screen.closed()
    assert "plan   Toy-v0" in stream.getvalue()
    assert "● COOLING  20 scores in a row without a gain" in stream.getvalue()
    assert "new best score 240" in stream.getvalue()


@pytest.mark.parametrize(
    ("kind", "phase"), [("confirmed", "evaluates the best policy"), ("stopped", "writes the report")]
)
def test_what_goes_on_after_the_last_window_is_said(kind: str, phase: str) -> None:
    stream = io.StringIO()
    screen = PanelScreen(stream)
    screen.started(an_info())
    screen.progressed(a_progress())
    screen.decided(an_event(kind))
    screen.closed()
    assert phase in stream.getvalue()
