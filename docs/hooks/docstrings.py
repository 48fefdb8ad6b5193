"""How do the package's docstrings read as pages? Words that explain an argument become items of a list."""

from __future__ import annotations

import re
from typing import Any

import griffe

_NAMES = r"\*{0,2}[a-z_]\w*(?:, \*{0,2}[a-z_]\w*)*"
_ARGUMENT = re.compile(rf"(?P<names>{_NAMES}): (?=\S)")
_NEXT_ARGUMENT = re.compile(rf"(?<=[.;]) (?={_NAMES}: \S)")
_END_OF_LIST = re.compile(r"(?<=\.)\n(?=[A-Z])")


class ArgumentLists(griffe.Extension):
    """``name: what it is`` at the start of a sentence as ``- `name`: what it is``."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """What griffe calls for every module, class, function and attribute that it finds."""
        if not obj.is_alias and obj.docstring is not None:
            obj.docstring.value = as_list(obj.docstring.value)


def as_list(text: str) -> str:
    """The docstring with its arguments as a list; indented paragraphs are code, and stay what they are."""
    return "\n\n".join(map(_told, text.replace("::\n", ":\n").split("\n\n")))


def _told(paragraph: str) -> str:
    """One paragraph: what comes before its first argument, its arguments, and the sentence that ends them."""
    if paragraph.startswith(" "):
        return paragraph
    lines = _NEXT_ARGUMENT.sub("\n", paragraph).split("\n")
    first = next((number for number, line in enumerate(lines) if _ARGUMENT.match(line)), None)
    if first is None:
        return paragraph
    before, listed = lines[:first], "\n".join(lines[first:])
    listed, *after = _END_OF_LIST.split(listed, maxsplit=1)
    items = "\n".join(map(_item, listed.split("\n")))
    return "\n\n".join(part for part in ("\n".join(before), items, *after) if part)


def _item(line: str) -> str:
    """The first line of an item, or one that continues it."""
    return _ARGUMENT.sub(r"- `\g<names>`: ", line, count=1) if _ARGUMENT.match(line) else f"  {line.strip()}"
