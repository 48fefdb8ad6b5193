"""The loop: evaluate, collect, score, judge, keep, tune, learn. Each step asks one collaborator one question."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.budget import Budget, explain
from tensor_optix.core.callbacks import CallbackList, Continuation, LoopCallback, RunView
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.convergence import ConvergenceRule, Judgement, Tick, ended_episodes
from tensor_optix.core.final_evaluation import FinalEvaluation
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import (
    EvaluationPoints,
    Event,
    Progress,
    Reporter,
    Reporters,
    RowReporter,
    RunInfo,
    summary_of,
)
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.run_files import RunFiles
from tensor_optix.core.score_tracker import ScoreTracker, present
from tensor_optix.core.types import (
    EpisodeData,
    EvalMetrics,
    FinalScore,
    HyperparamSet,
    LoopState,
    PolicySnapshot,
    RunResult,
    StopReason,
    TuningEvidence,
    Verdict,
)

Ending = tuple[StopReason, str]
"""Why a run ends, and an explanation for people."""

_SIGNALS = (StopReason.INTERRUPTED, StopReason.TERMINATED)
_REASON_OF = {
    Verdict.CONVERGED: StopReason.CONVERGED,
    Verdict.CEILING: StopReason.CEILING,
    Verdict.STUCK: StopReason.STUCK,
}


@dataclass(frozen=True)
class LoopParts:
    """The collaborators of one loop."""

    agent: BaseAgent
    pipeline: BasePipeline
    evaluator: BaseEvaluator
    tuner: BaseOptimizer
    rule: ConvergenceRule
    registry: CheckpointRegistry
    streams: RandomStreams
    files: RunFiles
    callbacks: CallbackList = field(default_factory=CallbackList)
    reporters: tuple[Reporter, ...] = ()
    clock: Callable[[], float] = time.monotonic


class LoopController:
    """Runs the loop over its parts. Window k is collected by policy P_k, which hyperparameters H_{k-1} made."""

    def __init__(self, parts: LoopParts, config: LoopConfig) -> None:
        self._parts = parts
        self._config = config
        self._agent = parts.agent  # another one after a continuation
        self._reporter = Reporters([RowReporter(parts.files), *parts.reporters])
        self._requests = StopRequests()
        self._tracker = ScoreTracker(config.score_smoothing)
        self._points = EvaluationPoints()
        self._state = LoopState.ACTIVE
        self._judgement: Judgement | None = None
        self._windows = 0
        self._env_steps = 0
        self._diagnostics: dict[str, Any] = {}
        self._trained_with = HyperparamSet({})  # H_{k-1}
        self._is_scored = True  # P_k
        self._is_restored = True
        self._evaluation = FinalEvaluation(parts.pipeline, parts.evaluator, parts.streams)
        self._budget = self._continued = Budget()
        self._is_introduced = False
        self._seconds_before = 0.0
        self._running_since: float | None = None

    @property
    def state(self) -> LoopState:
        """What the loop is doing, or was doing when it ended."""
        return self._state

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far."""
        return self._parts.registry.best

    def stop(self) -> None:
        """End the run after the current window; from any thread or callback."""
        self._requests.request()

    def add_callback(self, callback: LoopCallback) -> None:
        """Append a callback; it is called from the next hook on."""
        self._parts.callbacks.add(callback)

    # -- one run -----------------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Run until the evidence, a budget or a request ends it. The best policy is in the agent afterwards."""
        with self._requests.watching_signals(), ExitStack() as on_the_way_out:
            self._begin(on_the_way_out)
            try:
                return self._conclude(*self._loop())
            except BaseException as error:
                self._fail(error)
                raise

    def _begin(self, on_the_way_out: ExitStack) -> None:
        """Get ready; whatever was opened is closed on the way out, in reverse order, whatever happens."""
        parts, call = self._parts, self._parts.callbacks.call
        on_the_way_out.callback(self._requests.clear)
        on_the_way_out.callback(parts.pipeline.teardown)
        self._attach(parts.agent)
        if not self._is_introduced:
            self._introduce()
        parts.pipeline.setup()
        parts.files.open()
        on_the_way_out.callback(parts.files.close)
        on_the_way_out.callback(self._reporter.closed)
        on_the_way_out.callback(call, "on_loop_stop")
        on_the_way_out.callback(self._restore_best)
        on_the_way_out.callback(self._pause_clock)
        self._start_afresh()
        self._reporter.started(self._info())
        call("on_loop_start")

    def _introduce(self) -> None:
        """Once per loop: hand out the random streams, and say what kind of windows will come."""
        parts = self._parts
        parts.pipeline.seed(parts.streams)
        parts.agent.seed(parts.streams.stream("agent"))
        parts.evaluator.expect(
            is_on_policy=parts.agent.is_on_policy,
            max_episode_steps=parts.pipeline.max_episode_steps,
            is_live=parts.pipeline.is_live,
        )
        self._is_introduced = True

    def _attach(self, agent: BaseAgent) -> None:
        self._agent = agent
        self._parts.pipeline.set_agent(agent)

    def _start_afresh(self) -> None:
        """Every run has a fresh budget and a fresh clock; history, snapshots and counters go on."""
        config, now = self._config, self._parts.clock()
        self._running_since = now
        self._is_restored = False
        self._is_scored = True
        self._evaluation.notes.clear()
        self._continued = Budget()
        self._follow(self._parts.agent)
        self._budget = Budget.from_here(
            self._windows, self._env_steps, now,
            more_windows=config.max_episodes, more_steps=config.max_steps, more_seconds=config.max_time,
        )  # fmt: skip

    def _follow(self, agent: BaseAgent) -> None:
        """Go on with this agent's policy as a P_0: a fresh clock, and no score or learn call before it."""
        self._attach(agent)
        self._parts.rule.restart()
        self._tracker.restart()
        self._state = LoopState.ACTIVE
        self._judgement = None
        self._diagnostics = {}
        self._trained_with = agent.get_hyperparams().copy()

    def _loop(self) -> Ending:
        windows = self._parts.pipeline.episodes()
        try:
            while True:
                if reason := self._requests.reason or self._exhausted(self._budget):
                    return reason, explain(reason)
                if ending := self._one_window(windows):
                    return ending
        except WindowAbandoned:
            reason = self._requests.reason or StopReason.INTERRUPTED
            return reason, explain(reason)
        finally:
            _close(windows)

    # -- one window --------------------------------------------------------------------------------------------

    def _one_window(self, windows: Iterator[EpisodeData]) -> Ending | None:
        """One pass; returns an ending when it should be the last one."""
        self._agent.reset_cache()
        data = self._collect(windows)
        metrics = self._score(data)
        judgement = self._judge(data, metrics)
        self._keep(metrics)
        ending = self._ending(judgement)
        if ending is None:
            self._tune(metrics)
            self._learn(data)
        self._tell(metrics)
        self._windows += 1
        return ending

    def _collect(self, windows: Iterator[EpisodeData]) -> EpisodeData:
        with self._requests.collecting():
            data = next(windows)
        self._env_steps += data.length
        return data

    def _score(self, data: EpisodeData) -> EvalMetrics | None:
        try:
            metrics = present(self._parts.evaluator.score(data, self._diagnostics))
        except LookupError as error:
            if not self._diagnostics:
                error.add_note("no learn call has made this policy yet: its train_diagnostics are empty")
            raise
        self._is_scored = metrics is not None
        if metrics is not None:
            self._tracker.add(metrics)
        return metrics

    def _judge(self, data: EpisodeData, metrics: EvalMetrics | None) -> Judgement | None:
        smoothed = self._tracker.smoothed
        if metrics is None or smoothed is None or self._agent.warming_up:
            return None
        judgement = self._parts.rule.judge(Tick(metrics.primary_score, smoothed, ended_episodes(data)))
        is_news = judgement.state is not self._state
        self._state, self._judgement = judgement.state, judgement
        if is_news:
            self._decide(judgement.state.name.lower(), judgement.explanation, judgement.evidence)
        if judgement.improved:
            self._parts.tuner.on_improvement(metrics)
        if judgement.degraded and not self._parts.tuner.is_probing:
            self._decide("degraded", "scores have fallen below the best level", judgement.evidence)
            self._parts.callbacks.call("on_degradation", self._windows, metrics)
        if judgement.state is LoopState.COOLING and not judgement.improved:
            self._parts.callbacks.call("on_plateau", self._windows, judgement.state)
        return judgement

    def _keep(self, metrics: EvalMetrics | None) -> None:
        """Commit P_k, with its score and H_{k-1}, if it is among the best."""
        registry, before = self._parts.registry, self._parts.registry.best
        if metrics is None or not registry.would_keep(metrics.primary_score):
            return
        snapshot = registry.save(self._agent, metrics, self._trained_with)
        self._parts.callbacks.call("on_checkpoint", snapshot)
        if before is not None and not metrics.beats(before.eval_metrics):
            return
        self._decide("best", f"new best score {metrics.primary_score:g}", {"snapshot": snapshot.snapshot_id})
        if before is not None:
            self._parts.callbacks.call("on_improvement", snapshot)

    def _tune(self, metrics: EvalMetrics | None) -> None:
        """Tell the tuner what H_{k-1} has led to, and put its H_k into force; from the second tick on."""
        previous = self._tracker.previous
        if metrics is None or previous is None or self._agent.warming_up:
            return
        tuner, before = self._parts.tuner, self._agent.get_hyperparams()
        episodes = int(metrics.metrics.get("n_episodes", 0))
        tuner.observe(
            TuningEvidence(self._trained_with.params, metrics.primary_score, previous, self._env_steps, episodes)
        )
        after = tuner.suggest(before.copy(), self._tracker.history)
        if after.params != before.params:
            self._agent.set_hyperparams(after)
            self._decide("tuned", "the tuner changed the hyperparameters", after.params)
        self._parts.callbacks.call("on_hyperparam_update", dict(before.params), dict(after.params))

    def _learn(self, data: EpisodeData) -> None:
        self._trained_with = self._agent.get_hyperparams().copy()
        self._diagnostics = dict(self._agent.learn(data) or {})
        self._is_scored = False

    # -- dormancy and continuations ----------------------------------------------------------------------------

    def _ending(self, judgement: Judgement | None) -> Ending | None:
        if judgement is not None and judgement.state is LoopState.DORMANT:
            self._parts.tuner.on_plateau(self._tracker.history)
            self._parts.callbacks.call("on_dormant", self._windows)
            return self._unless_continued(_REASON_OF[judgement.verdict], judgement.explanation)
        if self._exhausted(self._continued):
            return self._unless_continued(StopReason.MAX_STEPS, "the budget of the continuation is used up")
        return None

    def _unless_continued(self, reason: StopReason, explanation: str) -> Ending | None:
        """Ask the callbacks for an agent to go on with; without one the run ends."""
        view = RunView(
            self._agent, self.best_snapshot, tuple(self._tracker.history), self._env_steps, self._windows
        )  # fmt: skip
        offers = [offer for offer in self._parts.callbacks.call("after_dormant", view) if offer is not None]
        if not offers:
            return reason, explanation
        self._continue_with(offers[0])
        return None

    def _continue_with(self, offer: Continuation) -> None:
        self._follow(as_agent(offer.agent))
        self._continued = Budget.from_here(self._windows, self._env_steps, 0.0, more_steps=offer.max_steps)
        self._decide("continued", "a callback gave an agent to go on with", {"max_steps": offer.max_steps})

    def _exhausted(self, budget: Budget) -> StopReason | None:
        return budget.exhausted(self._windows, self._env_steps, self._parts.clock())

    # -- the end -----------------------------------------------------------------------------------------------

    def _conclude(self, reason: StopReason, explanation: str) -> RunResult:
        if reason not in _SIGNALS:
            self._score_last_policy()
        self._restore_best()
        final, evaluation_steps = self._final_score(reason)
        snapshot = self.best_snapshot
        result = RunResult(
            reason=reason,
            verdict=self._judgement.verdict if self._judgement else Verdict.FLAT,
            explanation=explanation,
            score=snapshot.eval_metrics.primary_score if snapshot else None,
            final=final,
            windows=self._windows,
            env_steps=self._env_steps,
            evaluation_steps=evaluation_steps,
            seconds=self._seconds(),
            run_dir=self._parts.files.path,
            best_snapshot=snapshot,
            seed=self._parts.streams.seed,
            notes=tuple(dict.fromkeys(self._evaluation.notes)),
        )
        self._decide("stopped", f"the run ended: {reason.value}", {"explanation": explanation})
        self._parts.files.summarise(summary_of(result))
        self._parts.callbacks.call("on_stop", result)
        self._reporter.finished(result)
        return result

    def _score_last_policy(self) -> None:
        """The policy of the last learn call joins the choice of the best, where it can be scored."""
        if self._is_scored:
            return
        self._keep(self._evaluation.last_policy(self._agent))
        self._is_scored = True

    def _restore_best(self) -> None:
        if not self._is_restored and self.best_snapshot is not None:
            self._parts.registry.load_best(self._parts.agent)
        self._is_restored = True

    def _final_score(self, reason: StopReason) -> tuple[FinalScore | None, int]:
        episodes = self._config.evaluation_episodes
        if reason in _SIGNALS or self.best_snapshot is None or not episodes:
            return None, 0
        return self._evaluation.best_policy(
            self._parts.agent, episodes=episodes, cut_short=lambda: self._requests.reason in _SIGNALS
        )

    def _fail(self, error: BaseException) -> None:
        """Nothing half-written stays behind: a run without a snapshot is removed, another one says how it ended."""
        if self.best_snapshot is None:
            self._parts.files.discard()
        else:
            self._parts.files.summarise({"status": "failed", "error": f"{type(error).__name__}: {error}"})

    # -- telling -----------------------------------------------------------------------------------------------

    def _tell(self, metrics: EvalMetrics | None) -> None:
        judgement, best = self._judgement, self.best_snapshot
        interval = judgement.interval if judgement else self._config.base_interval
        improved = judgement is not None and judgement.improved and metrics is not None
        self._reporter.progressed(
            Progress(
                window=self._windows,
                env_steps=self._env_steps,
                seconds=self._seconds(),
                state=self._state,
                verdict=judgement.verdict if judgement else Verdict.FLAT,
                interval=interval,
                score=metrics.primary_score if metrics else None,
                smoothed=self._tracker.smoothed,
                best=best.eval_metrics.primary_score if best else None,
                improved=improved,
                is_evaluation_point=self._points.is_due(interval, improved),
                explanation=judgement.explanation if judgement else "no score yet",
                metrics=metrics.metrics if metrics else {},
                hyperparams=self._trained_with.params,
                evidence=judgement.evidence if judgement else {},
            )
        )
        self._parts.callbacks.call("on_episode_end", self._windows, metrics)

    def _decide(self, kind: str, text: str, evidence: Mapping[str, Any]) -> None:
        self._reporter.decided(Event(kind, self._windows, self._env_steps, self._seconds(), text, evidence))

    def _info(self) -> RunInfo:
        parts = self._parts
        return RunInfo(
            parts.files.run_id, parts.files.path, parts.pipeline.description, type(parts.agent).__name__,
            parts.streams.seed, self._config.dormant_threshold, parts.agent.get_hyperparams().params,
        )  # fmt: skip

    def _seconds(self) -> float:
        """Seconds spent in runs so far, the current one included."""
        now = self._parts.clock()
        return self._seconds_before + now - (now if self._running_since is None else self._running_since)

    def _pause_clock(self) -> None:
        self._seconds_before, self._running_since = self._seconds(), None


def _close(windows: Iterator[EpisodeData]) -> None:
    """Tell a generator that nobody will ask again, so that it can tidy up."""
    close = getattr(windows, "close", None)
    if close is not None:
        close()
