import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tensor_optix.cli import app
from tensor_optix.cli.dashboard import dashboard_command
from tensor_optix.errors import CheckpointError, MissingDependency


@pytest.fixture
def everything_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object())


@pytest.mark.usefixtures("everything_installed")
def test_curves_are_shown_on_this_machine_only(tmp_path: Path) -> None:
    (tmp_path / "Env-v0" / "run" / "tensorboard").mkdir(parents=True)
    command = dashboard_command(tmp_path, 7007)
    assert command[1:5] == ["-m", "tensorboard.main", "--logdir", str(tmp_path)]
    assert command[5:] == ["--host", "127.0.0.1", "--port", "7007"]


@pytest.mark.usefixtures("everything_installed")
def test_a_search_is_shown_on_this_machine_only(tmp_path: Path) -> None:
    (tmp_path / "search").mkdir()
    (tmp_path / "search" / "study.db").touch()
    command = dashboard_command(tmp_path, 7007)
    assert command[0] == sys.executable
    assert command[3:] == [f"sqlite:///{tmp_path}/search/study.db", "--host", "127.0.0.1", "--port", "7007"]


@pytest.mark.usefixtures("everything_installed")
def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere" / "tensorboard").mkdir(parents=True)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="neither TensorBoard files"):
        dashboard_command(tmp_path / "run", 7007)


@pytest.mark.parametrize(("there", "remedy"), [("tensorboard", "pip install tensorboard"),
                                               ("study.db", "pip install optuna-dashboard")])  # fmt: skip
def test_a_missing_dashboard_is_told_with_its_install_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, there: str, remedy: str
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    (tmp_path / there).touch()
    with pytest.raises(MissingDependency, match=remedy):
        dashboard_command(tmp_path, 7007)


@pytest.mark.usefixtures("everything_installed")
def test_the_process_becomes_the_dashboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execv", lambda *call: started.append(call))
    (tmp_path / "tensorboard").mkdir()
    result = CliRunner().invoke(app, ["dashboard", str(tmp_path), "--port", "7007"])
    assert result.exit_code == 0, result.stderr
    assert "http://127.0.0.1:7007 shows it; Ctrl-C ends it" in result.stderr
    ((program, arguments),) = started
    assert (program, arguments[:3]) == (sys.executable, [sys.executable, "-m", "tensorboard.main"])


def test_without_anything_to_show_the_call_is_refused_and_nothing_is_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[Any] = []
    monkeypatch.setattr("os.execv", lambda *call: started.append(call))
    result = CliRunner().invoke(app, ["dashboard", str(tmp_path)])
    assert (result.exit_code, started) == (2, [])
    assert "train with --log tensorboard" in result.stderr
