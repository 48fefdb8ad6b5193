"""The decisions of a run as a table that can be filtered, without a script; and what became of its variants."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from tensor_optix.callbacks._report_html import cell, duration_text, safe, table, value_text

MAX_DECISIONS = 300
FREQUENT, MANY = ("best", "kept", "tuned"), 12
"""Kinds that are not shown at first where there are so many decisions in all."""

Event = Mapping[str, Any]


def decisions(events: Sequence[Event]) -> str:
    """The last ones, with a box for each kind that shows and hides them (by style rules alone)."""
    shown = list(events)[-MAX_DECISIONS:]
    left_out = len(events) - len(shown)
    note = f"<p class=muted>{left_out:,} earlier ones are in events.jsonl.</p>" if left_out else ""
    counts = Counter(str(event["kind"]) for event in shown)
    ids = {kind: f"k{number}" for number, kind in enumerate(counts)}  # kinds are text from a file: never in a rule
    is_long = len(shown) > MANY
    boxes = "".join(
        f"<label><input type=checkbox id={ids[kind]}{'' if is_long and kind in FREQUENT else ' checked'}>"
        f"{safe(kind)} {count}</label>"
        for kind, count in counts.items()
    )
    rules = "".join(f".log:has(#{name}:not(:checked)) .{name}{{display:none}}" for name in ids.values())
    rows = [[cell(duration_text(event["seconds"]), "num"), cell(f"{event['env_steps']:,}", "num"),
             cell(event["kind"]), f"<td>{safe(event['text'])}{_evidence(event)}</td>"] for event in shown]  # fmt: skip
    classes = [ids[str(event["kind"])] for event in shown]
    return f"{note}<style>{rules}</style><div class=log>{boxes}{table(_HEADINGS, rows, classes)}</div>"


def variants(events: Sequence[Event]) -> str:
    """A row for every variant that was tried against its control; nothing where none was."""
    tried = [event for event in events if event["kind"] in ("adopted", "not adopted")]
    numbers = ("spawn", "noise", "gain", "n_pairs")
    rows = [[*(cell(value_text(event["evidence"].get(name)), "num") for name in numbers), cell(event["kind"]),
             cell(event["text"])] for event in tried]  # fmt: skip
    return table(("variant", "noise", "gain", "pairs", "verdict", "why"), rows) if rows else ""


_HEADINGS = ("time", "steps", "what", "why")


def _evidence(event: Event) -> str:
    """The numbers behind it, folded away; new bests say theirs in their text."""
    if event["kind"] in ("best", "kept", "tuned"):
        return ""
    text = ", ".join(f"{name} {_short(value)}" for name, value in event["evidence"].items())
    return f"<details><summary>evidence</summary><small>{safe(text)}</small></details>" if text else ""


def _short(value: Any) -> str:
    return f"[{len(value)} values]" if isinstance(value, list) and len(value) > 8 else value_text(value)
