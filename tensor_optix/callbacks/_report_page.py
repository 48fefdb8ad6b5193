"""The report of a run as one self-contained page: rows in, HTML out. Nothing is read or written here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from tensor_optix.callbacks._report_style import style_element

MAX_DECISIONS = 300
_CONVERGED = ("converged", "ceiling")


@dataclass(frozen=True)
class RunRecord:
    """What a run's directory says about it: run.json, and the rows of its two logs."""

    run_id: str
    identity: Mapping[str, Any]
    summary: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    events: Sequence[Mapping[str, Any]]

    @property
    def environment(self) -> str:
        """What was trained on."""
        return str(self.identity.get("environment", "unknown environment"))


def report_page(
    record: RunRecord, *, wide_curve: str, narrow_curve: str, command: str | None, versions: Mapping[str, str]
) -> str:
    """The whole page. Every text is escaped; the curves are ``<svg>`` elements and go in as they are."""
    sections = [
        f"<header><h1>{escape(record.environment)}</h1>{_verdict(record)}{_numbers(record)}</header>",
        _section("Learning curve", _curves(wide_curve, narrow_curve)),
        _section("Hyperparameters", _hyperparams(record)),
        _section("Decisions", _decisions(record.events)),
        _section("Reproduce", _reproduction(record, command, versions)),
    ]
    head = '<meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">'
    title = f"<title>{escape(f'{record.environment}: {record.run_id}')}</title>"
    body = "<body><main>\n" + "\n".join(sections) + "\n</main></body>"
    return f'<!doctype html>\n<html lang="en"><head>{head}{style_element()}{title}</head>\n{body}</html>\n'


def hyperparam_changes(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Name -> env steps of the ticks at which another value was in force than at the tick before."""
    changes: dict[str, list[int]] = {}
    for before, after in pairwise(metrics):
        for name, value in after["hyperparams"].items():
            if before["hyperparams"].get(name, value) != value:
                changes.setdefault(name, []).append(after["env_steps"])
    return changes


# -- the five parts --------------------------------------------------------------------------------------------


def _verdict(record: RunRecord) -> str:
    reason, explanation = record.summary.get("reason", "unfinished"), record.summary.get("explanation", "")
    is_good = reason in _CONVERGED
    words = str(reason).replace("_", " ") if is_good or reason == "stuck" else "not converged"
    notes = "".join(f"<p class=muted>{escape(str(note))}</p>" for note in record.summary.get("notes", ()))
    sentence = f"<strong>{escape(words.capitalize())}</strong>: {escape(str(explanation))}."
    return f"<p class='verdict {'good' if is_good else 'open'}'>{sentence}</p>{notes}"


def _numbers(record: RunRecord) -> str:
    summary, final = record.summary, record.summary.get("final")
    interval = ""
    if final:
        n_episodes = len(final["returns"])
        interval = f"95 % {final['low']:.1f} to {final['high']:.1f}, {n_episodes} fresh episodes"
    cards = [
        ("final score", f"{final['mean']:.1f}" if final else "n/a", interval or "not evaluated"),
        ("best in training", _number(summary.get("score")), "the score that chose the policy"),
        ("environment steps", _count(summary, "env_steps"), f"and {_count(summary, 'evaluation_steps')} to evaluate"),
        ("time", _duration(summary.get("seconds", 0.0)), "wall clock"),
        ("scores", f"{len(record.metrics):,}", f"in {_count(summary, 'windows')} windows"),
    ]
    return f"<dl class=cards>{''.join(_card(*card) for card in cards)}</dl>"


def _curves(wide: str, narrow: str) -> str:
    return f"<figure class=wide>{wide}</figure><figure class=narrow>{narrow}</figure>"


def _hyperparams(record: RunRecord) -> str:
    start = record.identity.get("hyperparams", {})
    end = record.metrics[-1]["hyperparams"] if record.metrics else start
    changes = hyperparam_changes(record.metrics)
    rows = [
        [_cell(name), _cell(_value(start.get(name)), "num"), _cell(_value(value), "num"),
         _cell(_changes(changes.get(name)))]
        for name, value in end.items()
    ]  # fmt: skip
    return _table(("name", "start", "end", "changes"), rows)


def _decisions(events: Sequence[Mapping[str, Any]]) -> str:
    shown = list(events)[-MAX_DECISIONS:]
    left_out = len(events) - len(shown)
    note = f"<p class=muted>{left_out:,} earlier ones are in events.jsonl.</p>" if left_out else ""
    rows = [
        [_cell(_duration(event["seconds"]), "num"), _cell(f"{event['env_steps']:,}", "num"), _cell(event["kind"]),
         f"<td>{escape(str(event['text']))}{_evidence(event['evidence'])}</td>"]
        for event in shown
    ]  # fmt: skip
    return note + _table(("time", "steps", "what", "why"), rows)


def _reproduction(record: RunRecord, command: str | None, versions: Mapping[str, str]) -> str:
    seed = record.identity.get("seed")
    call = f"<pre>{escape(command)}</pre>" if command else f"<pre>RLOptimizer(..., seed={escape(str(seed))})</pre>"
    facts = {"run": record.run_id, "seed": seed, "agent": record.identity.get("agent"), **versions}
    return call + _table(("", ""), [[_cell(name), _cell(value)] for name, value in facts.items()])


# -- pieces ----------------------------------------------------------------------------------------------------


def _section(title: str, body: str) -> str:
    return f"<section><h2>{title}</h2>\n{body}</section>"


def _card(label: str, value: str, detail: str) -> str:
    return f"<div><dt>{label}</dt><dd><b>{escape(value)}</b><small>{escape(detail)}</small></dd></div>"


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = f"<thead><tr>{''.join(f'<th>{text}</th>' for text in headings)}</tr></thead>" if any(headings) else ""
    body = "\n".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f"<div class=scroll><table>{head}<tbody>\n{body}\n</tbody></table></div>"


def _cell(value: Any, kind: str = "") -> str:
    return f"<td{f' class={kind}' if kind else ''}>{escape(str(value))}</td>"


def _evidence(evidence: Mapping[str, Any]) -> str:
    text = ", ".join(f"{name} {_value(value)}" for name, value in evidence.items())
    return f"<small>{escape(text)}</small>" if text else ""


def _changes(steps: Sequence[int] | None) -> str:
    if not steps:
        return "none"
    return f"{len(steps)}, the last at {steps[-1]:,} steps"


def _value(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _count(summary: Mapping[str, Any], name: str) -> str:
    return f"{summary.get(name, 0):,}"


def _number(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.1f}"


def _duration(seconds: float) -> str:
    whole = int(seconds)
    return f"{seconds:.1f} s" if seconds < 60 else f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
