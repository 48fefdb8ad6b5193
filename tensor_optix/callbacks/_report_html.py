"""How do values become pieces of a page that can run and steer nothing?"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from tensor_optix.core.plain_text import printable


def safe(text: object) -> str:
    """``text`` as HTML shows it: no markup, no control characters, no marks that turn its direction."""
    return escape(printable(text))


def section(title: str, body: str) -> str:
    """A titled part; nothing where there is no body."""
    return f"<section><h2>{title}</h2>\n{body}</section>" if body else ""


def card(label: str, value: str, detail: str) -> str:
    """A number that is seen first."""
    return f"<div><dt>{label}</dt><dd><b>{safe(value)}</b><small>{safe(detail)}</small></dd></div>"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], classes: Sequence[str] = ()) -> str:
    """Rows of finished cells. classes: of each row."""
    head = f"<thead><tr>{''.join(f'<th>{text}</th>' for text in headings)}</tr></thead>" if any(headings) else ""
    marks = [f" class={name}" for name in classes] or [""] * len(rows)
    body = "\n".join(f"<tr{mark}>{''.join(cells)}</tr>" for mark, cells in zip(marks, rows, strict=True))
    return f"<div class=scroll><table>{head}<tbody>\n{body}\n</tbody></table></div>"


def cell(value: Any, kind: str = "") -> str:
    """One cell of a table, escaped."""
    return f"<td{f' class={kind}' if kind else ''}>{safe(value)}</td>"


def value_text(value: Any) -> str:
    """A number in few digits; anything else as it is."""
    return "-" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def duration_text(seconds: float) -> str:
    """``31.2 s`` or ``0:01:15``."""
    whole = int(seconds)
    return f"{seconds:.1f} s" if seconds < 60 else f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"


def number(value: Any) -> float | None:
    """``value`` where it is a number: files may say anything."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
