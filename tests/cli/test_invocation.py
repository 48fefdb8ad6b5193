import sys
from pathlib import Path

import pytest

from tensor_optix.cli import invocation
from tensor_optix.cli.invocation import command_line, shown


@pytest.fixture
def clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A clone with an unactivated environment, seen from its root."""
    script = tmp_path / ".venv/bin/tensor-optix"
    script.parent.mkdir(parents=True)
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / ".venv/bin/python"))
    monkeypatch.setenv("PWD", str(tmp_path))
    monkeypatch.setenv("PATH", "/nowhere")
    return tmp_path


def test_in_a_clone_the_script_is_called_by_its_path(clone: Path) -> None:
    assert command_line("eval", "runs/x y") == ".venv/bin/tensor-optix eval 'runs/x y'"


def test_a_script_that_the_shell_finds_is_called_by_its_name(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(clone / ".venv/bin"))
    assert command_line("eval", "x") == "tensor-optix eval x"


def test_without_a_script_this_very_python_runs_the_module(clone: Path) -> None:
    (clone / ".venv/bin" / invocation.PROGRAM).unlink()
    assert command_line("eval", "x") == ".venv/bin/python -m tensor_optix.cli eval x"


def test_paths_are_relative_to_where_the_user_types(clone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir("/")  # as a parent process may have done
    assert shown(clone / "runs/x") == "runs/x"
    assert shown(Path("/elsewhere/x")) == "/elsewhere/x"
