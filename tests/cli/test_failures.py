import pytest
import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.errors import (
    AgentError,
    CheckpointError,
    ConfigError,
    EnvError,
    MissingDependency,
    NonFiniteError,
)


def code_and_text(error: BaseException, capsys: pytest.CaptureFixture[str], **options: bool) -> tuple[int, str]:
    with pytest.raises(typer.Exit) as caught, told_in_a_sentence(with_traceback=options.get("with_traceback", False)):
        raise error
    output = capsys.readouterr()
    assert output.out == ""
    return caught.value.exit_code, output.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ConfigError("no"), 2),
        (MissingDependency("no"), 2),
        (CheckpointError("/x", "is no run"), 2),
        (EnvError("no"), 4),
        (AgentError("no"), 4),
        (NonFiniteError("no"), 4),
        (ValueError("no"), 4),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_error_has_its_exit_code(error: BaseException, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert code_and_text(error, capsys)[0] == code


def test_an_error_is_one_line_without_a_stack(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = code_and_text(EnvError("it broke\nat step 5 \x1b[31m"), capsys)
    assert text == "tensor-optix: it broke at step 5 \\x1b[31m\n"


def test_a_foreign_error_is_named_and_says_how_to_see_more(capsys: pytest.CaptureFixture[str]) -> None:
    error = ValueError("boom")
    error.add_note("raised by the callback X.on_stop")
    _, text = code_and_text(error, capsys)
    assert text == "tensor-optix: ValueError: boom (raised by the callback X.on_stop) (--traceback shows where)\n"


def test_the_stack_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    _, text = code_and_text(ConfigError("no"), capsys, with_traceback=True)
    assert "Traceback (most recent call last)" in text
    assert text.endswith("tensor-optix: no\n")
