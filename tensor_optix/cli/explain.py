"""``tensor-optix explain RUN``: why the run did what it did, in the order in which it happened."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from tensor_optix.cli.failures import told_in_a_sentence
from tensor_optix.cli.options import AsJson, RunPath, Traceback
from tensor_optix.cli.runs import run_to_read
from tensor_optix.cli.screens import json_line
from tensor_optix.cli.text import printable, score_text, value_text, write_line
from tensor_optix.core.decision_log import checked, counted, rule_of
from tensor_optix.errors import ConfigError
from tensor_optix.storage import RunDirectory

FREQUENT = ("best", "kept", "tuned", "verdict")
"""Decisions of which there are many: counted, and shown on request."""

LABELS = {
    "p_done": "P(less than 5 % left)", "doubt": "doubt over checks", "gain": "recent gain", "bound": "at most",
    "tolerance": "counts as none", "range": "range learned", "noise": "noise of a score",
    "log_evidence": "log-evidence of learning",
    "ceiling_streak": "ticks at the ceiling", "fall": "alarm", "n_seeds": "seeds", "before": "best before",
}  # fmt: skip
"""What the numbers behind a decision are called; those that are not here keep their name."""

UNTOLD = ("explanation", "margin", "error", "learned", "reason", "smoothed", "misses")
"""Numbers that the text says already, or that only a replay needs (``--json`` has them)."""

OF_A_CEILING = ("ceiling_streak", "range", "noise")

HEADLINES = {
    "active": "goes on learning", "cooling": "begins to cool down", "dormant": "sees nothing more to gain",
    "degraded": "has become worse", "not degraded": "raised a false alarm", "rolled back": "went back",
    "confirmed": "chose the best policy", "continued": "went on after its end", "diagnosed": "treated trouble",
    "overfitting": "stopped to overfitting", "stopped": "ended", "resumed": "was resumed", "best": "found a new best",
    "kept": "kept a policy", "tuned": "tuned", "verdict": "changed its verdict",
    "watching": "watches without learning", "target": "reached the target",
}  # fmt: skip


def explain(
    run: RunPath,
    everything: Annotated[
        bool, typer.Option("--all", help="Every decision, with the frequent ones (new bests, tuning steps).")
    ] = False,
    as_json: AsJson = False,
    traceback: Traceback = False,
) -> None:
    """Explain RUN: each decision in its order, with the evidence it was made on.

    Example: tensor-optix explain runs/CartPole-v1

    Exit codes: 0 done; 2 the call cannot work.
    """
    with told_in_a_sentence(with_traceback=traceback):
        directory = run_to_read(run)
        events = directory.read_events()
        hidden = () if everything else FREQUENT if as_json else (*FREQUENT, "stopped")
        shown = [event for event in events if event.get("kind") not in hidden]
        if as_json:
            for event in shown:
                write_line(sys.stdout, json_line({"type": "decision", **event}))
            return
        for line in _story(directory, events, shown):
            write_line(sys.stdout, line)


def _story(directory: RunDirectory, events: list[dict[str, Any]], shown: list[dict[str, Any]]) -> Iterator[str]:
    summary = directory.summary
    yield f"run {printable(directory.run_id)} of {printable(directory.identity.get('environment', '?'))}"
    for event in shown:
        yield from _told(event)
    counts = {kind: counted(events, kind) for kind in FREQUENT}
    yield (f"besides: {counts['best']} new bests, {counts['kept']} more policies kept, {counts['tuned']} changes of "
           f"hyperparameters, {counts['verdict']} changes of verdict (--all shows them)")  # fmt: skip
    reason, explanation = summary.get("reason") or "unfinished", summary.get("explanation") or ""
    yield f"in the end: {printable(reason)}. {printable(explanation)}"
    final = summary.get("final")
    if isinstance(final, dict):
        yield f"on seeds never used before: {score_text(final.get('mean'))}"
    yield _replay_line(directory)


def _told(event: Mapping[str, Any]) -> Iterator[str]:
    kind, window = printable(event.get("kind", "")), printable(event.get("window", "?"))
    yield f"window {window}: {HEADLINES.get(kind, kind)}"
    yield f"    {printable(event.get('text', '')).removeprefix(f'window {window}: ')}"
    if numbers := _numbers(event.get("evidence")):
        yield f"    {numbers}"


def _numbers(evidence: Any) -> str:
    if not isinstance(evidence, dict):
        return ""
    names = OF_A_CEILING if evidence.get("ceiling_streak", 0.0) > 1 else [n for n in evidence if n not in UNTOLD]
    told = ((name, _value(evidence.get(name))) for name in names if evidence.get(name) != 0.0)
    return "  ".join(f"{LABELS.get(name, printable(name))}={value}" for name, value in told if value)


def _value(value: Any) -> str:
    """A number or a word as it is, several named numbers one after the other; empty for anything else."""
    if isinstance(value, dict):
        pairs = ((name, one) for name, one in value.items() if isinstance(one, int | float))
        return ", ".join(f"{printable(name)}: {value_text(one)}" for name, one in pairs)
    return value_text(value) if isinstance(value, int | float | str) else ""


def _replay_line(directory: RunDirectory) -> str:
    """Whether the recorded scores lead to the recorded decisions."""
    try:
        check = checked(rule_of(directory.identity), directory.read_metrics())
    except (ConfigError, LookupError, TypeError, ValueError) as error:
        return f"replay: not possible ({printable(error)})"
    if check.first_difference is None:
        return f"replay: the {check.n_ticks} recorded scores lead to the same decisions again"
    return f"replay: differs from window {check.first_difference} on (recorded by another version?)"
