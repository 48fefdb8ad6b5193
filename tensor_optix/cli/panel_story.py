"""What has the panel heard so far? A value that each report of the loop replaces."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tensor_optix.cli.text import value_text
from tensor_optix.core.reporting import Event, Progress, of_training

KEPT_DECISIONS = 4
MAX_SCORES = 2_000
TOO_FREQUENT = ("kept",)
"""Decisions that would crowd out the others."""


@dataclass(frozen=True)
class Move:
    """A hyperparameter's last change, and who made it."""

    before: Any
    after: Any
    why: str


@dataclass(frozen=True)
class Story:
    """scores, val_scores: oldest first. in_force: hyperparameters as the last learn call used them.

    best_steps, target_steps: env steps of the run when the best policy was kept, and when the target was reached.
    """

    scores: tuple[float, ...] = ()
    val_scores: tuple[float, ...] = ()
    gap: float | None = None
    decisions: tuple[Event, ...] = ()
    in_force: Mapping[str, Any] = field(default_factory=dict)
    moves: Mapping[str, Move] = field(default_factory=dict)
    best_steps: int | None = None
    target_steps: int | None = None
    tuned: tuple[Event, ...] = ()  # the last ones: what they say comes into force a window later

    def after_decision(self, event: Event) -> Story:
        """With one more decision."""
        shown = () if event.kind in TOO_FREQUENT else (event,)
        story = replace(self, decisions=(*self.decisions, *shown)[-KEPT_DECISIONS:])
        if event.kind == "best":
            return replace(story, best_steps=event.env_steps)
        if event.kind == "target":
            return replace(story, target_steps=event.env_steps)
        return replace(story, tuned=(*story.tuned, event)[-KEPT_DECISIONS:]) if event.kind == "tuned" else story

    def after_window(self, progress: Progress) -> Story:
        """With one more window."""
        scores = self.scores if progress.score is None else (*self.scores, progress.score)[-MAX_SCORES:]
        val, metrics = progress.metrics.get("val_score"), progress.metrics
        val_scores = self.val_scores if val is None else (*self.val_scores, val)[-MAX_SCORES:]
        gap = metrics.get("generalization_gap", metrics.get("deterministic_gap", self.gap))
        now = in_force(progress)
        moves = {
            name: Move(self.in_force[name], value, self._why(name, value, progress))
            for name, value in now.items() if self.in_force.get(name, value) != value
        }  # fmt: skip
        return replace(self, scores=scores, val_scores=val_scores, gap=gap, in_force=now,
                       moves={**self.moves, **moves})  # fmt: skip

    def _why(self, name: str, value: Any, progress: Progress) -> str:
        kl, rate = (of_training(progress.metrics, key) for key in ("approx_kl", name))
        if name == "learning_rate" and kl is not None and rate != progress.hyperparams.get(name):
            target = progress.hyperparams.get("target_kl")
            aim = f", aim {value_text(target)}" if target is not None else ""
            return f"follows the KL divergence ({kl:.3f}{aim})"
        said = (event.text for event in reversed(self.tuned) if event.evidence.get(name) == value)
        return next(said, "set by its schedule, the agent, or a callback")


def in_force(progress: Progress) -> dict[str, Any]:
    """Hyperparameters as the last learn call used them: controllers inside an agent say so in its diagnostics."""
    given = progress.hyperparams
    used = {name: of_training(progress.metrics, name) for name, value in given.items() if _is_number(value)}
    return {name: value if used.get(name) is None else used[name] for name, value in given.items()}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
