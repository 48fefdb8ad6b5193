import io
from pathlib import Path
from typing import Any

import pytest
from cli_parts import a_progress, a_result, an_event, an_info
from rich.console import Console

from tensor_optix.cli.panel import PanelScreen
from tensor_optix.cli.panel_view import Frame, panel
from tensor_optix.core.types import LoopState


def a_frame(**changes: Any) -> Frame:
    values: dict[str, Any] = {
        "info": an_info(), "progress": a_progress(), "scores": (1.0, 5.0, 9.0), "decisions": (an_event(),),
        "seconds": 94.0, "phase": "7 of 20 scores without a gain",
    }  # fmt: skip
    return Frame(**{**values, **changes})


def text_of(frame: Frame, width: int = 80) -> str:
    stream = io.StringIO()
    Console(file=stream, width=width).print(panel(frame, width))
    return stream.getvalue()


def test_it_shows_state_score_best_speed_evidence_hyperparameters_and_decisions() -> None:
    text = text_of(a_frame())
    parts = [
        "● COOLING", "▁▅█  9.0", "240.0", "8,192 env steps · 910 steps/s · 0:01:34", "7 of 20 scores",
        "███████░░░░░░░░░░░░░", "learning_rate", "0.0003", "0.00017", "0:00:31  best", "Ctrl-C once",
    ]  # fmt: skip
    assert [part for part in parts if part not in text] == []


def test_it_shows_something_before_the_first_window_has_ended() -> None:
    text = text_of(a_frame(progress=None, scores=(), decisions=(), phase="collecting the first window", seconds=3.0))
    for part in ("Toy-v0", "● ACTIVE  collecting the first window", "none yet", "0:00:03 elapsed", "learning_rate"):
        assert part in text


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
def test_no_line_is_wider_than_the_terminal_leaves_room_for(width: int) -> None:
    frame = a_frame(decisions=(an_event(text="long " * 50),), phase="long " * 50, scores=tuple(range(500)))
    assert max(len(line) for line in text_of(frame, width).splitlines()) <= width - 3


def test_labels_stay_whole_when_values_are_cut() -> None:
    text = text_of(a_frame(phase="long " * 50, decisions=(an_event("degraded", "long " * 50),)), 60)
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
    frame = a_frame(info=an_info(environment="[red]\x1b[2JEnv"), decisions=(an_event("[bold]", "\x1b[/] odd"),))
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
