"""Which policies are committed, and which of them is the best so far?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.outside_scores import OutsideScores
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.statistics import level_at
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.window import Window


class Keeping:
    """Commits P_k, with its score and H_{k-1}, if it is the best or among the most promising.

    A policy's promise is the posterior mean of its level given its own score and those before: the luckiest of many
    noisy scores is not taken for the best policy. (A score function of the user's is taken at its word.)

    In a resumed run some windows, or the closing, may have been gone through before: what they wrote is there, and is
    found again in place of being written twice.
    """

    def __init__(
        self,
        registry: CheckpointRegistry,
        guard: CommitGuard,
        tracker: ScoreTracker,
        outside: OutsideScores,
        announcer: Announcer,
    ) -> None:
        self._registry = registry
        self._guard = guard
        self._tracker = tracker
        self._outside = outside
        self._announcer = announcer
        self._is_resumed = False
        self.best = registry.best

    def restart(self) -> None:
        """A ``run()`` begins: how the last one chose its best counts no more, scores do."""
        self._is_resumed = False
        if self.best is not None:
            self._registry.choose(None)

    def resume(self, window: int) -> None:
        """Go on with ``window``."""
        self._is_resumed = True
        self._registry.choose(None)
        self.best = self._registry.best_before(window)

    def after(self, window: Window, tenure: Tenure) -> None:
        """Keep the policy of this window, or do not."""
        metrics, selection, before = window.metrics, window.selection, self.best
        if metrics is None or selection is None:
            return
        level = self._level(selection)
        if not self._registry.would_keep(selection, level):
            return
        ranked_by = {"posterior_score": level}
        if selection != metrics.primary_score:
            ranked_by["selection_score"] = selection
        snapshot = self._registry.find(metrics, tenure.made_by) if self._is_resumed else None
        snapshot = snapshot or self._guard.attempt(
            lambda: self._registry.save(tenure.agent, metrics, tenure.made_by, **ranked_by), "snapshot"
        )
        if snapshot is not None:
            self.best = self._registry.best_before(window.number + 1) if self._is_resumed else self._registry.best
            self._announcer.kept(snapshot, before, window)

    def _level(self, selection: float) -> float:
        """What is known of the level of the policy that has just got this score."""
        unit = self._outside.unit
        if unit == "external":
            return selection
        if unit == "training":
            scores = self._tracker.since_restart
        else:
            scores = self._outside.scores_since_restart
        if not scores or scores[-1] != selection:  # the last policy, scored after the last tick
            scores.append(selection)
        return level_at(scores, len(scores) - 1)
