"""The report of a run as one self-contained page: rows in, HTML out. Nothing is read or written here."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from tensor_optix.callbacks._report_html import cell, number, safe, section, table, value_text
from tensor_optix.callbacks._report_log import decisions, variants
from tensor_optix.callbacks._report_series import in_force
from tensor_optix.callbacks._report_style import head
from tensor_optix.callbacks._report_verdict import numbers, verdict
from tensor_optix.core.episode_facts import SUCCESS_RATE
from tensor_optix.core.reporting import of_training


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

    @property
    def target(self) -> float | None:
        """The score that counts as solved: the user's, else the environment's own; None for another metric's."""
        settings, details = (_dict(self.identity.get(name)) for name in ("settings", "details"))
        if settings.get("target_metric") is not None:
            return None
        wanted, own = settings.get("target_score"), _dict(details.get("facts")).get("reward_threshold")
        return number(wanted if wanted is not None else own)


@dataclass(frozen=True)
class Pictures:
    """Figures as (wide, narrow) ``<svg>`` elements; None where there is nothing to show. films: label -> GIF."""

    curve: tuple[str, str]
    gap: tuple[str, str] | None = None
    hyperparams: tuple[str, str] | None = None
    staircase: tuple[str, str] | None = None
    films: Mapping[str, bytes] = field(default_factory=dict)


def report_page(record: RunRecord, pictures: Pictures, *, command: str | None, versions: Mapping[str, str]) -> str:
    """The whole page. Every text is escaped; the figures go in as they are."""
    sections = [
        f"<header><h1>{safe(record.environment)}</h1>{verdict(record.summary)}"
        f"{numbers(record.summary, record.events, record.target)}</header>",
        section("Learning curve", figure(pictures.curve)),
        section("First and best policy", _films(pictures.films)),
        section("Reported by the environment", _facts(record.metrics)),
        section("Generalisation gap", figure(pictures.gap)),
        section("Hyperparameters", figure(pictures.hyperparams) + _hyperparams(record)),
        section("Spacing of evaluations", figure(pictures.staircase)),
        section("Variants", variants(record.events)),
        section("Decisions", decisions(record.events)),
        section("Reproduce", _reproduction(record, command, versions)),
    ]
    body = "<body><main>\n" + "\n".join(filter(None, sections)) + "\n</main></body>"
    return f'<!doctype html>\n<html lang="en">{head(f"{record.environment}: {record.run_id}")}\n{body}</html>\n'


def hyperparam_changes(metrics: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Name -> env steps of the ticks at which another value was in force than at the tick before."""
    changes: dict[str, list[int]] = {}
    for before, after in pairwise(metrics):
        earlier = in_force(before)
        for name, value in in_force(after).items():
            if earlier.get(name, value) != value:
                changes.setdefault(name, []).append(after["env_steps"])
    return changes


def figure(pair: tuple[str, str] | None) -> str:
    """A picture for wide and one for narrow pages; nothing where there is none."""
    if pair is None:
        return ""
    return f"<figure class=wide>{pair[0]}</figure><figure class=narrow>{pair[1]}</figure>"


def _films(films: Mapping[str, bytes]) -> str:
    shown = "".join(
        f'<figure><img alt="{safe(label)}" src="data:image/gif;base64,{base64.b64encode(data).decode()}">'
        f"<figcaption>{safe(label)}</figcaption></figure>"
        for label, data in films.items()
    )
    return f"<div class=films>{shown}</div>" if shown else ""


def _facts(metrics: Sequence[Mapping[str, Any]]) -> str:
    """Success rate and other numbers of the environment's own: at the first and the last tick that had them."""
    found: dict[str, list[float]] = {}
    for row in metrics:
        for name in row["metrics"]:
            bare = name.removeprefix("train_")
            if bare == SUCCESS_RATE or bare.startswith("info/"):
                found.setdefault(bare, []).append(of_training(row["metrics"], bare))
    rows = [[cell(name), *(cell(value_text(value), "num") for value in (values[0], values[-1], max(values)))]
            for name, values in found.items()]  # fmt: skip
    return table(("mean over env episodes of", "first", "last", "highest"), rows) if rows else ""


def _hyperparams(record: RunRecord) -> str:
    start = _dict(record.identity.get("hyperparams"))
    end = in_force(record.metrics[-1]) if record.metrics else start
    changes = hyperparam_changes(record.metrics)
    rows = [
        [cell(name), cell(value_text(start.get(name)), "num"), cell(value_text(value), "num"),
         cell(_changes(changes.get(name)))]
        for name, value in sorted(end.items(), key=lambda item: item[0] not in changes)
    ]  # fmt: skip
    return table(("name", "start", "end", "changes"), rows)


def _reproduction(record: RunRecord, command: str | None, versions: Mapping[str, str]) -> str:
    seed = record.identity.get("seed")
    call = f"<pre>{safe(command or f'RLOptimizer(..., seed={seed})')}</pre>"
    facts = {"run": record.run_id, "seed": seed, "agent": record.identity.get("agent"), **versions}
    return call + table(("", ""), [[cell(name), cell(value)] for name, value in facts.items()])


def _changes(steps: Sequence[int] | None) -> str:
    if not steps:
        return "none"
    return f"{len(steps)}, the last at {steps[-1]:,} steps"


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
