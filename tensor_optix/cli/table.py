"""How do rows of cells become lines whose columns stand below each other?"""

from __future__ import annotations

from collections.abc import Sequence

from tensor_optix.cli.text import printable

GAP = "  "


def table_lines(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The headings and every row; the last column may be as long as it likes."""
    lines = [tuple(headings), *(tuple(printable(cell) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    return [GAP.join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
