import io

import pytest

from tensor_optix.cli.text import duration, printable, score_text, stopwatch, value_text, write_line


@pytest.mark.parametrize("nasty", ["\x1b[31mred", "a\x07b", "\x9b2J", "over\u202ewrite", "null\x00"])
def test_nothing_that_steers_a_terminal_gets_through(nasty: str) -> None:
    assert printable(nasty).isprintable()
    stream = io.StringIO()
    write_line(stream, nasty)
    assert stream.getvalue().removesuffix("\n").isprintable()


def test_a_text_of_several_lines_becomes_one() -> None:
    assert printable("first\nsecond\t third\r\n") == "first second third"


def test_a_written_line_keeps_its_columns() -> None:
    stream = io.StringIO()
    write_line(stream, "plan   CartPole-v1\x1b[2J   seed 5")
    assert stream.getvalue() == "plan   CartPole-v1 [2J   seed 5\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.04, "0.0 s"), (9.94, "9.9 s"), (12.4, "12 s"), (112, "1 min 52 s"), (7500, "2 h 5 min")]
)
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_numbers_are_short() -> None:
    assert stopwatch(3725.9) == "1:02:05"
    assert [value_text(v) for v in (3e-4, 0.123456, 64, True)] == ["0.0003", "0.1235", "64", "True"]
    assert [score_text(v) for v in (None, 0.0, 487.25, -0.01234)] == ["n/a", "0.0", "487.2", "-0.0123"]
