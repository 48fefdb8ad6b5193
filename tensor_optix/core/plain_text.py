"""How are things put into plain text that people read, and that can steer nothing, wherever it comes from?"""

from __future__ import annotations


def printable(text: object) -> str:
    """``text`` on one line, without control characters, escape sequences or marks that change its direction."""
    spaced = " ".join(str(text).split())
    return "".join(character for character in spaced if character.isprintable())


def counted(n: int, name: str) -> str:
    """``1 episode``, ``20 episodes``."""
    return f"{n:,} {name}" if n == 1 else f"{n:,} {name}s"


def score_text(score: float | None) -> str:
    """A score with one decimal, or more where it is small; n/a where there is none."""
    if score is None:
        return "n/a"
    return f"{score:.1f}" if abs(score) >= 1 or score == 0 else f"{score:.3g}"


def plain(text: str) -> str:
    """Like ``printable``, but every character keeps its place: runs of spaces align columns."""
    return "".join(character if character.isprintable() else " " for character in text)
