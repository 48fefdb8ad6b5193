"""Tells reporters and callbacks what the loop found; decides nothing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tensor_optix.core.callbacks import CallbackList
from tensor_optix.core.convergence import Judgement, judgement_from, judgement_state
from tensor_optix.core.reporting import EvaluationPoints, Event, Progress, Reporter
from tensor_optix.core.types import EvalMetrics, LoopState, PolicySnapshot, Verdict
from tensor_optix.core.window import Window


class Announcer:
    """The loop's voice. ``n_events``: decisions told so far, over all lives of the run."""

    def __init__(self, reporter: Reporter, callbacks: CallbackList, base_interval: int) -> None:
        self._reporter = reporter
        self._callbacks = callbacks
        self._points = EvaluationPoints()
        self._state = LoopState.ACTIVE
        self._judgement: Judgement | None = None
        self._interval = base_interval
        self.n_events = 0

    def restart(self) -> None:
        """Another policy takes over."""
        self._state, self._judgement = LoopState.ACTIVE, None

    def state_dict(self) -> dict[str, Any]:
        """What has been told already."""
        return {
            "state": self._state.name,
            "judgement": judgement_state(self._judgement),
            "interval": self._interval,
            "windows_since_point": self._points.windows_since_point,
            "n_events": self.n_events,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._state, self._judgement = LoopState[state["state"]], judgement_from(state["judgement"])
        self._interval, self.n_events = state["interval"], int(state["n_events"])
        self._points.windows_since_point = state["windows_since_point"]

    def judged(self, window: Window) -> None:
        """A tick has been judged."""
        now, before = window.judgement, self._judgement
        if now is None:
            return
        if now.state is not self._state:
            self.decided(now.state.name.lower(), now.explanation, window, now.evidence)
        elif before is not None and now.verdict is not before.verdict:
            self.decided("verdict", f"{now.verdict.value}: {now.explanation}", window, now.evidence)
        self._state, self._judgement, self._interval = now.state, now, now.interval
        if now.state is LoopState.COOLING and not now.improved:
            self._callbacks.call("on_plateau", window.number, now.state)

    def fallen(self, window: Window, metrics: EvalMetrics, why: str, evidence: Mapping[str, Any]) -> None:
        """It is confirmed that the policy has become worse."""
        self.decided("degraded", f"the policy has become worse: {why}", window, evidence)
        self._callbacks.call("on_degradation", window.number, metrics)

    def kept(self, snapshot: PolicySnapshot, before: PolicySnapshot | None, window: Window) -> None:
        """A policy has been committed. It is news when it is better than the best one before."""
        self._callbacks.call("on_checkpoint", snapshot)
        evidence = {"snapshot": snapshot.snapshot_id, "score": snapshot.rank,
                    "before": before.rank if before else None}  # fmt: skip
        if before is not None and not snapshot.rank > before.rank:
            self.decided("kept", f"among the best, with score {snapshot.rank:g}", window, evidence)
            return
        self.decided("best", f"new best score {snapshot.rank:g}", window, evidence)
        if before is not None:
            self._callbacks.call("on_improvement", snapshot)

    def tuned(
        self, before: Mapping[str, Any], after: Mapping[str, Any], window: Window, *, is_probe: bool = False
    ) -> None:
        """The tuner was asked. is_probe: what it gave is an experiment, which ends with its measurement."""
        if before != after:
            changed = {name: value for name, value in after.items() if before.get(name) != value}
            moves = ", ".join(f"{name} {_short(before.get(name))} → {_short(new)}" for name, new in changed.items())
            self.decided("tuned", f"probes {moves}" if is_probe else moves, window, changed)
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
                score=window.train_score,
                smoothed=window.smoothed,
                best=best.rank if best else None,
                improved=improved,
                is_evaluation_point=self._points.is_due(self._interval, improved),
                explanation=last.explanation if last else "no score yet",
                metrics=metrics.metrics if metrics else {},
                hyperparams=window.made_by.params,
                evidence=last.evidence if last else {},
                told=window.told,
            )
        )
        self._callbacks.call("on_episode_end", window.number, metrics)

    def decided(self, kind: str, text: str, window: Window, evidence: Mapping[str, Any] | None = None) -> None:
        """The loop has decided something."""
        self.n_events += 1
        self._reporter.decided(Event(kind, window.number, window.env_steps, window.seconds, text, evidence or {}))


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
