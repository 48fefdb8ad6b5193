"""What does a person read when policy evolution is over? Text for the numbers of ``training_report``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

WIDTH = 54
RULE = "━" * WIDTH
NONE = "n/a"


def report_text(report: Mapping[str, Any], reason: str) -> str:
    """The training report, several lines. Spawn gains stand below it, one line a trial."""
    unlimited = report["max_spawns"] is None
    spawns = f"{report['spawn_count']} / {'unlimited' if unlimited else report['max_spawns']}"
    rows = {
        "Best score": _number(report["best_score"]),
        "Val score": _number(report["best_val_score"]),
        "Generalization": _gap(report["best_generalization_gap"]),
        "Spawns used": spawns,
        "Pruned agents": str(report["prune_count"]),
        "Ensemble size": str(report["ensemble_size"]),
    }
    head = [RULE, "  Training Complete", _row("Reason", reason), RULE]
    gains = [_row(f"Spawn {trial['spawn']}", trial["text"]) for trial in report["trials"]]
    return "\n".join([*head, *(_row(name, text) for name, text in rows.items()), *gains, RULE]) + "\n"


def _row(name: str, text: str) -> str:
    return f"  {name:<17}: {text}"


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}"


def _gap(value: float | None) -> str:
    return NONE if value is None else f"{value:.4f}  (train − val)"
