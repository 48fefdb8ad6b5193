import io
import json
from pathlib import Path

import numpy as np
import pytest
from cli_parts import a_progress, a_result, an_event, an_info

from tensor_optix.cli.ending import Ending
from tensor_optix.cli.panel import PanelScreen
from tensor_optix.cli.screens import JsonScreen, PlainScreen, QuietScreen, Screen, json_line, screen_for
from tensor_optix.core.types import LoopState
from tensor_optix.errors import ConfigError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def choose(stream: io.StringIO, environ: dict[str, str], **flags: bool) -> Screen:
    return screen_for(stream, environ, **{"plain": False, "as_json": False, "quiet": False, **flags})


def tell(screen: Screen) -> None:
    run_dir = Path("/runs/x")
    screen.planned(["plan   Toy-v0   seed 5"])
    screen.started(an_info(run_dir))
    screen.decided(an_event(evidence={"gain": float("nan"), "n": np.int64(3)}))
    screen.progressed(a_progress())
    screen.progressed(a_progress(4, is_evaluation_point=False))
    screen.finished(a_result(run_dir))
    screen.closed()
    screen.ended(Ending(a_result(run_dir), LoopState.DORMANT, None, "tox eval x"))


def test_a_terminal_gets_the_live_panel() -> None:
    assert isinstance(choose(Terminal(), {"TERM": "xterm", "CI": "false"}), PanelScreen)


@pytest.mark.parametrize("environ", [{"CI": "true"}, {"NO_COLOR": "1"}, {"TERM": "dumb"}])
def test_a_poor_terminal_gets_lines(environ: dict[str, str]) -> None:
    assert isinstance(choose(Terminal(), environ), PlainScreen)


def test_a_file_or_the_option_gets_lines() -> None:
    assert isinstance(choose(io.StringIO(), {}), PlainScreen)
    assert isinstance(choose(Terminal(), {}, plain=True), PlainScreen)


def test_two_ways_to_show_a_run_exclude_each_other() -> None:
    with pytest.raises(ConfigError, match="--plain and --json exclude each other"):
        choose(Terminal(), {}, plain=True, as_json=True)


def test_plain_prints_the_plan_a_line_per_evaluation_point_and_the_end() -> None:
    stream = io.StringIO()
    tell(PlainScreen(stream))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == [
        "plan   Toy-v0   seed 5",
        "[loop] ep=   3  raw=  231.0  smoothed=  231.0  state=COOLING  interval=4",
    ]
    assert lines[2].startswith("DORMANT  converged")
    assert lines[-1] == "next     tox eval x"


def test_quiet_prints_one_line() -> None:
    stream = io.StringIO()
    tell(QuietScreen(stream))
    assert stream.getvalue().count("\n") == 1


def test_json_prints_an_object_a_line_and_nothing_else() -> None:
    stream = io.StringIO()
    tell(JsonScreen(stream))
    rows = [json.loads(line) for line in stream.getvalue().splitlines()]
    assert [row["type"] for row in rows] == ["info", "event", "progress", "progress", "result"]
    assert rows[0]["run_dir"] == "/runs/x"
    assert rows[1]["evidence"] == {"gain": None, "n": 3}
    assert rows[2]["score"] == 231.0
    assert (rows[4]["reason"], rows[4]["exit_code"], rows[4]["final"]["mean"]) == ("converged", 0, 500.0)


def test_json_is_ascii_so_that_no_text_can_steer_a_terminal() -> None:
    assert json_line({"text": "\x1b[31m ö"}) == '{"text": "\\u001b[31m \\u00f6"}'
