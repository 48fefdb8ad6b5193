"""Which hyperparameters have moved, by how much, and why? As lines of the panel."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from tensor_optix.cli.panel_story import Move, Story
from tensor_optix.cli.text import printable, value_text

MAX_MOVED = 6
NUMBER_WIDTH, MOVE_WIDTH, MAX_NAME = 9, 10, 24


def hyperparam_lines(start: Mapping[str, Any], story: Story, width: int, *, with_unchanged: bool) -> list[Text]:
    """A row for each one that has moved, then the others in a line or two."""
    moved = list(story.moves)[-MAX_MOVED:]
    others = [f"{printable(name)} {_value(value)}" for name, value in start.items() if name not in story.moves]
    lines = []
    if moved:
        name_width = min(max(len("hyperparameter"), *map(len, moved)), MAX_NAME)
        heading = f"{'hyperparameter':<{name_width}}  {'start':<{NUMBER_WIDTH}} {'now':<{NUMBER_WIDTH}} "
        lines.append(_cut(Text(f"{heading}{'last move':<{MOVE_WIDTH}} why", style="dim")))
        lines += [_row(name, name_width, start, story) for name in moved]
    if with_unchanged and others:
        lines += _wrapped("as set" if moved else "hyperparameters as set", others, width)
    return lines


def _row(name: str, name_width: int, start: Mapping[str, Any], story: Story) -> Text:
    now, move = story.in_force.get(name), story.moves[name]
    shown = printable(name)[:name_width]
    is_moved = now != start.get(name)
    return _cut(Text.assemble(
        f"{shown:<{name_width}}  {_value(start.get(name)):<{NUMBER_WIDTH}} ",
        (f"{_value(now):<{NUMBER_WIDTH}} ", "bold yellow" if is_moved else ""),
        f"{_change(move):<{MOVE_WIDTH}} ", (printable(move.why), "dim"),
    ))  # fmt: skip


def _change(move: Move) -> str:
    """``▲ +50 %``; ``▲ x5.1`` from a doubling on."""
    before, after = move.before, move.after
    if not all(isinstance(value, int | float) and not isinstance(value, bool) for value in (before, after)):
        return "changed"
    arrow = "▲" if after > before else "▼"
    if before <= 0 or after <= 0:
        return f"{arrow} {after - before:+.3g}"
    factor = after / before
    if factor >= 2 or factor <= 0.5:
        return f"{arrow} ×{factor:.3g}"
    return f"{arrow} {100 * (factor - 1):+.2g} %"


def _wrapped(label: str, items: list[str], width: int) -> list[Text]:
    """At most two lines of items, broken between them."""
    lines, line = [], label
    for item in items:
        piece = ("  " if line == label else " · ") + item
        if len(line) + len(piece) > width and line != label:
            lines.append(line)
            line = " " * len(label) + "  " + item
        else:
            line += piece
    lines.append(line)
    return [_cut(Text(text + (" · …" if number == 1 and len(lines) > 2 else ""), style="dim"))
            for number, text in enumerate(lines[:2])]  # fmt: skip


def _value(value: Any) -> str:
    return "-" if value is None else value_text(value)


def _cut(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
