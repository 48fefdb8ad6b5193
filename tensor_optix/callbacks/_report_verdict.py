"""What came of a run: one sentence, and five numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tensor_optix.callbacks._report_html import card, duration_text, number, safe
from tensor_optix.core.plain_text import counted, score_text

_GOOD = ("converged", "ceiling", "overfitting", "target_score")
_NAMED = (*_GOOD, "stuck", "collapsed")


def verdict(summary: Mapping[str, Any]) -> str:
    """The reason in a sentence, and the notes."""
    reason, explanation = str(summary.get("reason", "unfinished")), summary.get("explanation", "")
    words = reason.replace("_", " ") if reason in _NAMED else "not converged"
    sentence = f"<strong>{safe(words.capitalize())}</strong>: {safe(explanation)}."
    notes = "".join(f"<p class=muted>{safe(note)}</p>" for note in summary.get("notes", ()))
    return f"<p class='verdict {'good' if reason in _GOOD else 'open'}'>{sentence}</p>{notes}"


def numbers(summary: Mapping[str, Any], events: Sequence[Mapping[str, Any]], target: float | None) -> str:
    """Five cards."""
    final = summary.get("final")
    shown, detail = score_text(None), "not evaluated"
    if final:
        shown, detail = score_text(final["mean"]), _interval(final)
    cards = [
        ("best policy, fresh seeds", shown, detail),
        ("its score when chosen", score_text(number(summary.get("score"))), "by this it was kept"),
        ("target", "none" if target is None else f"{target:g}", _reached(events, target)),
        ("environment steps", _count(summary, "env_steps"), f"and {_count(summary, 'evaluation_steps')} to choose and "
                                                            "evaluate at the end"),
        ("time", duration_text(summary.get("seconds", 0.0)), f"{_count(summary, 'windows')} windows"),
    ]  # fmt: skip
    return f"<dl class=cards>{''.join(card(*each) for each in cards)}</dl>"


def _interval(final: Mapping[str, Any]) -> str:
    mode = "deterministic" if final.get("deterministic", True) else "sampled actions"
    span = f"{score_text(final['low'])} to {score_text(final['high'])}"
    return f"95 %: {span}; {counted(len(final['returns']), 'episode')}, {mode}"


def _reached(events: Sequence[Mapping[str, Any]], target: float | None) -> str:
    reached = next((event["env_steps"] for event in events if event.get("kind") == "target"), None)
    if reached is not None:
        return f"reached at {reached:,} steps"
    return "--target sets one" if target is None else "not reached in training"


def _count(summary: Mapping[str, Any], name: str) -> str:
    return f"{summary.get(name, 0):,}"
