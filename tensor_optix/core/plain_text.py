"""How does text from elsewhere (environments, files, exceptions) become text that can steer nothing?"""

from __future__ import annotations


def printable(text: object) -> str:
    """``text`` on one line, without control characters, escape sequences or marks that change its direction."""
    spaced = " ".join(str(text).split())
    return "".join(character for character in spaced if character.isprintable())


def counted(n: int, name: str) -> str:
    """``1 episode``, ``20 episodes``."""
    return f"{n:,} {name}" if n == 1 else f"{n:,} {name}s"


def plain(text: str) -> str:
    """Like ``printable``, but every character keeps its place: runs of spaces align columns."""
    return "".join(character if character.isprintable() else " " for character in text)
