"""How do values become text that is safe and easy to read on a terminal?"""

from __future__ import annotations

from typing import Any, TextIO

from tensor_optix.core.plain_text import plain, printable, score_text

__all__ = ["duration", "printable", "score_text", "stopwatch", "value_text", "write_line"]


def write_line(stream: TextIO, text: str) -> None:
    """One line, at once. Unlike in ``printable`` runs of spaces stay: they align columns."""
    stream.write(plain(text) + "\n")
    stream.flush()


def value_text(value: Any) -> str:
    """A hyperparameter or a number of an evidence, in few characters."""
    if isinstance(value, float):
        return f"{value:.4g}"
    return printable(value)


def duration(seconds: float) -> str:
    """``12 s``, ``1 min 52 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def stopwatch(seconds: float) -> str:
    """``0:01:34``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
