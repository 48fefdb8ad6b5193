"""How does text from elsewhere (environments, files, exceptions) become text that can steer nothing?"""

from __future__ import annotations


def printable(text: object) -> str:
    """``text`` on one line, without control characters, escape sequences or marks that change its direction."""
    spaced = " ".join(str(text).split())
    return "".join(character for character in spaced if character.isprintable())
