"""Tells reporters and callbacks what the loop found; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensor_optix.core.callbacks import CallbackList
from tensor_optix.core.convergence import Judgement, judgement_from, judgement_state
from tensor_optix.core.reporting import EvaluationPoints, Event, Progress, Reporter
from tensor_optix.core.types import LoopState, PolicySnapshot, Verdict
from tensor_optix.core.window import Window


class Announcer:
    """The loop's voice."""

    def __init__(self, reporter: Reporter, callbacks: CallbackList, base_interval: int) -> None:
        self._reporter = reporter
        self._callbacks = callbacks
        self._points = EvaluationPoints()
        self._state = LoopState.ACTIVE
        self._judgement: Judgement | None = None
        self._interval = base_interval
        self._fall_to_tell = False

    def restart(self) -> None:
        """Another policy takes over."""
        self._state, self._judgement, self._fall_to_tell = LoopState.ACTIVE, None, False

    def state_dict(self) -> dict[str, Any]:
        """What has been told already."""
        return {
            "state": self._state.name,
            "judgement": judgement_state(self._judgement),
            "interval": self._interval,
            "fall_to_tell": self._fall_to_tell,
            "windows_since_point": self._points.windows_since_point,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._state, self._judgement = LoopState[state["state"]], judgement_from(state["judgement"])
        self._interval, self._fall_to_tell = state["interval"], state["fall_to_tell"]
        self._points.windows_since_point = state["windows_since_point"]

    def judged(self, window: Window, *, is_probing: bool) -> None:
        """A tick has been judged. A fall is told once, and not while the hyperparameters are an experiment."""
        judgement, metrics = window.judgement, window.metrics
        if judgement is None or metrics is None:
            return
        if judgement.state is not self._state:
            self.decided(judgement.state.name.lower(), judgement.explanation, window, judgement.evidence)
        self._state, self._judgement, self._interval = judgement.state, judgement, judgement.interval
        self._fall_to_tell = self._fall_to_tell or judgement.degraded
        if self._fall_to_tell and not is_probing:
            self._fall_to_tell = False
            self.decided("degraded", "scores have fallen below the best level", window, judgement.evidence)
            self._callbacks.call("on_degradation", window.number, metrics)
        if judgement.state is LoopState.COOLING and not judgement.improved:
            self._callbacks.call("on_plateau", window.number, judgement.state)

    def kept(self, snapshot: PolicySnapshot, before: PolicySnapshot | None, window: Window) -> None:
        """A policy has been committed. It is news when it is better than the best one before."""
        self._callbacks.call("on_checkpoint", snapshot)
        if before is not None and not snapshot.eval_metrics.beats(before.eval_metrics):
            return
        score = snapshot.eval_metrics.primary_score
        self.decided("best", f"new best score {score:g}", window, {"snapshot": snapshot.snapshot_id})
        if before is not None:
            self._callbacks.call("on_improvement", snapshot)

    def tuned(self, before: Mapping[str, Any], after: Mapping[str, Any], window: Window) -> None:
        """The tuner was asked."""
        if before != after:
            changed = {name: value for name, value in after.items() if before.get(name) != value}
            self.decided("tuned", "the tuner changed the hyperparameters", window, changed)
        self._callbacks.call("on_hyperparam_update", dict(before), dict(after))

    def finished(self, window: Window, best: PolicySnapshot | None) -> None:
        """The window is done, learning included."""
        now, last, metrics = window.judgement, self._judgement, window.metrics
        improved = now is not None and now.improved
        self._reporter.progressed(
            Progress(
                window=window.number,
                env_steps=window.env_steps,
                seconds=window.seconds,
                state=self._state,
                verdict=last.verdict if last else Verdict.FLAT,
                interval=self._interval,
                score=metrics.primary_score if metrics else None,
                smoothed=window.smoothed,
                best=best.eval_metrics.primary_score if best else None,
                improved=improved,
                is_evaluation_point=self._points.is_due(self._interval, improved),
                explanation=last.explanation if last else "no score yet",
                metrics=metrics.metrics if metrics else {},
                hyperparams=window.made_by.params,
                evidence=last.evidence if last else {},
            )
        )
        self._callbacks.call("on_episode_end", window.number, metrics)

    def decided(self, kind: str, text: str, window: Window, evidence: Mapping[str, Any] | None = None) -> None:
        """The loop has decided something."""
        self._reporter.decided(Event(kind, window.number, window.env_steps, window.seconds, text, evidence or {}))
