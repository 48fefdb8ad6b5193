from __future__ import annotations

import io
from pathlib import Path

from tensor_optix import ProgressBar, RLOptimizer
from tests.callbacks.logged_runs import a_start, a_tick, tell
from tests.core.scripted import ScriptedAgent, ScriptedPipeline


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_it_shows_steps_score_and_state_while_the_run_goes_on(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    stream = Terminal()
    bar = ProgressBar(max_steps=400, stream=stream)
    bar.started(a_start(tmp_path))
    assert "no score yet" in stream.getvalue()
    bar.progressed(a_tick(1, 12.5, best=20.0))
    bar._bar.refresh()
    assert "200 steps" in stream.getvalue()
    assert "score 12.5, best 20.0, active" in stream.getvalue()
    bar.closed()
    assert stream.getvalue().endswith("\x1b[?25h")


def test_the_last_line_says_how_the_run_ended(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    tell(ProgressBar(stream=stream), tmp_path)
    assert "Toy-v0" in stream.getvalue()
    assert "300 steps" in stream.getvalue()
    assert "converged, best 20.0" in stream.getvalue()
    assert "\x1b" not in stream.getvalue()


def test_as_a_callback_it_counts_the_steps_of_a_real_run(tmp_path: Path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    stream = io.StringIO()
    bar = ProgressBar(max_steps=3, stream=stream)
    run = RLOptimizer(
        ScriptedAgent(), ScriptedPipeline([1.0]), max_episodes=3, checkpoint_dir=tmp_path, callbacks=[bar]
    )
    run.run()
    assert "3 steps" in stream.getvalue()
    assert "max_episodes" in stream.getvalue()
