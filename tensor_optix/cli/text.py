"""How do values become text that is safe and easy to read on a terminal?"""

from __future__ import annotations

from typing import Any, TextIO

from tensor_optix.core.plain_text import plain, printable

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


def score_text(score: float | None) -> str:
    """A score with one decimal, or more where it is small; n/a where there is none."""
    if score is None:
        return "n/a"
    return f"{score:.1f}" if abs(score) >= 1 or score == 0 else f"{score:.3g}"


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
