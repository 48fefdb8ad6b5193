"""The loop: evaluate, collect, score, judge, keep, tune, learn. Each step asks one collaborator one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.budget import Budget, RunClock, Spent, explain
from tensor_optix.core.callbacks import Continuation, LoopCallback, RunView
from tensor_optix.core.closing import Closing, Ending
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.continuity import Continuity
from tensor_optix.core.convergence import Tick, ended_episodes
from tensor_optix.core.cooling import cooled
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.reporting import Reporters, RowReporter, RunInfo
from tensor_optix.core.score_tracker import ScoreTracker, present
from tensor_optix.core.state import Stateful
from tensor_optix.core.tenure import Tenure, require_same_networks
from tensor_optix.core.totals import Totals
from tensor_optix.core.types import (
    EpisodeData,
    EvalMetrics,
    HyperparamSet,
    LoopState,
    PolicySnapshot,
    RunResult,
    StopReason,
    TuningEvidence,
    Verdict,
)
from tensor_optix.core.window import Window
from tensor_optix.errors import NonFiniteError

MAX_ROLLBACKS = 3  # after non-finite numbers in learning

_REASON_OF = {
    Verdict.CONVERGED: StopReason.CONVERGED,
    Verdict.CEILING: StopReason.CEILING,
    Verdict.STUCK: StopReason.STUCK,
    Verdict.COLLAPSED: StopReason.COLLAPSED,
}


class LoopController:
    """Runs the loop over its parts. Window k is collected by policy P_k, which hyperparameters H_{k-1} made."""

    def __init__(self, parts: LoopParts, config: LoopConfig) -> None:
        self._parts = parts
        self._budget = Budget(config.max_episodes, config.max_steps, config.max_time)
        self._config = config
        self._requests = StopRequests()
        self._reporter = Reporters([RowReporter(parts.files), *parts.reporters])
        self._announcer = Announcer(self._reporter, parts.callbacks, config.base_interval)
        self._closing = Closing(parts.agent, parts.pipeline, parts.evaluator, parts.streams, self._requests)
        self._tracker = ScoreTracker(config.score_smoothing)
        self._counter = EpisodeCounter()
        self._clock = RunClock(parts.clock)
        self._guard = CommitGuard(parts.clock, config.max_unsaved_minutes)
        stateful: dict[str, Stateful] = {
            "evaluator": parts.evaluator, "tuner": parts.tuner, "rule": parts.rule, "callbacks": parts.callbacks,
            "tracker": self._tracker, "counter": self._counter, "announcer": self._announcer,
        }  # fmt: skip
        self._continuity = Continuity(parts, stateful, self._guard)
        self._totals = Totals()
        self._tenure = Tenure.begin(parts.agent, Budget())
        self._best = parts.registry.best
        self._replayed_until = 0  # windows before this one were collected once already, before a resume
        self.result: RunResult | None = None
        parts.callbacks.call("attached", parts.registry, self.stop)

    @property
    def state(self) -> LoopState:
        """What the loop is doing, or was doing when it ended."""
        judgement = self._totals.judgement
        return judgement.state if judgement else LoopState.ACTIVE

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far."""
        return self._best

    def stop(self) -> None:
        """End the run after the current window; from any thread or callback."""
        self._requests.request()
        self._parts.pipeline.leave_window()

    def add_callback(self, callback: LoopCallback) -> None:
        """Append a callback; it is called from the next hook on."""
        callback.attached(self._parts.registry, self.stop)
        self._parts.callbacks.add(callback)

    # -- one run -----------------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Run until the evidence, a budget or a request ends it. The best policy is in the agent afterwards."""
        self.result = None
        with self._requests.watching_signals(), ExitStack() as on_the_way_out:
            try:
                self._begin(on_the_way_out)
                return self._conclude(self._loop())
            except BaseException as error:
                self._parts.files.failed(error, has_policies=self._best is not None)
                raise

    def _begin(self, on_the_way_out: ExitStack) -> None:
        """Get ready; whatever was opened is closed on the way out, in reverse order, whatever happens."""
        parts, call = self._parts, self._parts.callbacks.call
        on_the_way_out.callback(self._requests.clear)
        on_the_way_out.callback(parts.pipeline.teardown)
        if not self._totals.tenures:
            self._introduce()
        parts.pipeline.set_agent(parts.agent)
        parts.pipeline.setup()
        parts.files.open()
        on_the_way_out.callback(parts.files.close)
        on_the_way_out.callback(self._reporter.closed)
        on_the_way_out.callback(call, "on_loop_stop")
        on_the_way_out.callback(self._closing.restore, parts.registry)
        on_the_way_out.callback(self._clock.stop)
        self._clock.start()
        self._closing.restart()
        is_resumed = parts.is_resuming and not self._totals.tenures
        if is_resumed:
            self._resume()
        else:
            self._totals.run_start = self._spent()
            self._begin_tenure(parts.agent, Budget(), is_new=False)
        self._reporter.started(self._info())
        if is_resumed:
            self._announcer.decided("resumed", f"goes on with window {self._totals.windows}", self._standing())
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

    def _resume(self) -> None:
        """Go on at the window boundary where the run on disk was committed last."""
        self._tenure, self._totals, seconds, changes = self._continuity.restore()
        self._clock.start(seconds)
        self._replayed_until = self._parts.files.cut_rows(self._totals.windows)
        self._best = self._parts.registry.best_before(self._totals.windows)
        self._closing.notes.extend(f"resumed, but not bit for bit: {change}" for change in changes)

    def _begin_tenure(
        self, agent: BaseAgent, budget: Budget, *, is_new: bool, came_after: StopReason | None = None
    ) -> None:
        """Follow this agent's policy as a P_0 from here on: a fresh clock, and nothing to compare it with.

        is_new: another agent than before, of which it is not known that it has learned anything.
        """
        totals = self._totals
        self._tenure = Tenure.begin(agent, budget, came_after=came_after)
        for part in (self._tracker, self._counter, self._parts.evaluator, self._announcer):
            part.restart()
        self._parts.rule.restart(is_new_agent=is_new)
        totals.tenures += 1
        totals.judgement, totals.last_tick, totals.episodes_since_tick = None, self._spent(), 0

    def _loop(self) -> Ending:
        windows = self._parts.pipeline.episodes()
        boundary = self._continuity.boundary()
        try:
            while True:
                ending = self._spent_ending()
                if self._continuity.is_due or (ending is not None and not ending.may_continue):
                    self._commit(boundary)
                ending = ending or self._one_window(windows)
                if ending is not None and not (ending.may_continue and self._continue_after(ending)):
                    return ending
                boundary = self._continuity.boundary()
        except WindowAbandoned:
            if not self._tenure.agent.acting_changes_state:
                self._commit(boundary)  # the agent is as it was then; otherwise the last commit has to do
            reason = self._requests.reason or StopReason.INTERRUPTED
            return Ending(reason, explain(reason))
        finally:
            _close(windows)

    def _commit(self, boundary: dict[str, Any]) -> None:
        self._continuity.commit(boundary, self._tenure, self._totals, self._clock.seconds)

    def _spent_ending(self) -> Ending | None:
        """Whether a request or a budget ends the run, or the tenure, before another window."""
        spent = self._spent()
        if reason := self._requests.reason or self._budget.after(self._totals.run_start).exhausted(spent):
            return Ending(reason, explain(reason))
        if reason := self._tenure.budget.exhausted(spent):
            reason = self._tenure.came_after or reason
            return Ending(reason, "the budget of the continuation is used up", may_continue=True)
        return None

    # -- one window --------------------------------------------------------------------------------------------

    def _one_window(self, windows: Iterator[EpisodeData]) -> Ending | None:
        """One pass; returns an ending when nothing more is to be gained."""
        self._tenure.agent.reset_cache()
        data = self._collect(windows)
        if data is None:
            reason = self._requests.reason or StopReason.PIPELINE_ENDED
            return Ending(reason, explain(reason))
        metrics = self._score(data)
        window = self._judged(data, metrics)
        self._keep(metrics, window)
        ending = self._dormancy(window)
        if ending is None:
            self._tune(window)
            self._learn(data)
        self._totals.windows += 1
        self._announcer.finished(window, self._best)
        return ending

    def _collect(self, windows: Iterator[EpisodeData]) -> EpisodeData | None:
        with self._requests.leaving_at_once():
            data = next(windows, None)
        if data is not None:
            self._counter.complete(data)
            self._totals.env_steps += data.length
            self._totals.episodes_since_tick += len(data.episode_returns)
        return data

    def _score(self, data: EpisodeData) -> EvalMetrics | None:
        evaluator, diagnostics = self._parts.evaluator, self._tenure.diagnostics
        try:
            metrics = present(evaluator.score(data.for_reading(), diagnostics), evaluator=evaluator)
        except LookupError as error:
            if not diagnostics:
                error.add_note("no learn call has made this policy yet: its train_diagnostics are empty")
            raise
        self._tenure.is_scored = metrics is not None
        if metrics is not None:
            self._tracker.add(metrics)
        return metrics

    def _judged(self, data: EpisodeData, metrics: EvalMetrics | None) -> Window:
        """The window with what the rule says of its score."""
        smoothed, tuner, judgement = self._tracker.smoothed, self._parts.tuner, None
        if metrics is not None and smoothed is not None and not self._tenure.agent.warming_up:
            judgement = self._parts.rule.judge(Tick(metrics.primary_score, smoothed, ended_episodes(data)))
            self._totals.judgement = judgement
            if judgement.improved:
                tuner.on_improvement(metrics)
        window = Window(
            self._totals.windows, self._totals.env_steps, self._clock.seconds, self._tenure.made_by,
            metrics, smoothed, judgement,
        )  # fmt: skip
        self._announcer.judged(window, is_probing=tuner.is_probing)
        return window

    def _keep(self, metrics: EvalMetrics | None, window: Window) -> None:
        """Commit P_k, with its score and H_{k-1}, if it is among the best."""
        registry, before, tenure = self._parts.registry, self._best, self._tenure
        if metrics is None or not registry.would_keep(metrics.primary_score):
            return
        is_again = window.number < self._replayed_until
        snapshot = registry.find(metrics, tenure.made_by) if is_again else None
        snapshot = snapshot or self._guard.attempt(
            lambda: registry.save(tenure.agent, metrics, tenure.made_by), "snapshot"
        )
        if snapshot is not None:
            self._best = registry.best_before(window.number + 1) if is_again else registry.best
            self._announcer.kept(snapshot, before, window)

    def _dormancy(self, window: Window) -> Ending | None:
        judgement = window.judgement
        if judgement is None or judgement.state is not LoopState.DORMANT:
            return None
        self._parts.tuner.on_plateau(self._tracker.history)
        self._parts.callbacks.call("on_dormant", window.number)
        return Ending(_REASON_OF[judgement.verdict], judgement.explanation, may_continue=True)

    def _tune(self, window: Window) -> None:
        """Tell the tuner what H_{k-1} has led to, and put its H_k into force; from the second tick on."""
        metrics, agent, tuner, totals = window.metrics, self._tenure.agent, self._parts.tuner, self._totals
        if metrics is None or agent.warming_up:
            return
        env_steps, episodes = totals.env_steps - totals.last_tick.env_steps, totals.episodes_since_tick
        totals.last_tick, totals.episodes_since_tick = self._spent(), 0
        previous, judgement = self._tracker.previous, window.judgement
        if previous is None or (judgement is not None and judgement.cooldown is not None):
            return
        tuner.observe(TuningEvidence(window.made_by.params, metrics.primary_score, previous, env_steps, episodes))
        before = agent.get_hyperparams()
        after = tuner.suggest(before.copy(), self._tracker.history)
        if after.params != before.params:
            agent.set_hyperparams(after)
        self._announcer.tuned(before.params, after.params, window)

    def _learn(self, data: EpisodeData) -> None:
        tenure = self._tenure
        made_by = tenure.agent.get_hyperparams().copy()
        try:
            with cooled(tenure.agent, judgement.cooldown if (judgement := self._totals.judgement) else None):
                diagnostics = tenure.agent.learn(data.for_learning())
        except NonFiniteError as error:
            self._recover(error)
            return
        tenure.diagnostics = dict(diagnostics or {})
        tenure.made_by, tenure.is_scored = made_by, False

    def _recover(self, error: NonFiniteError) -> None:
        """Numbers blew up: go back to the best policy, with half the learning rate; a bounded number of times."""
        agent, best, totals = self._tenure.agent, self._best, self._totals
        if best is None or totals.rollbacks >= MAX_ROLLBACKS:
            raise error
        totals.rollbacks += 1
        self._parts.registry.load_best(agent, before_window=totals.windows + 1)
        params = agent.get_hyperparams().params
        if "learning_rate" in params:
            lower = params["learning_rate"] / 2**totals.rollbacks  # the snapshot brought its own rate back
            agent.set_hyperparams(HyperparamSet({**params, "learning_rate": lower}))
        self._tenure = Tenure.begin(agent, self._tenure.budget, came_after=self._tenure.came_after)
        self._tracker.restart()
        self._announcer.decided("rolled back", f"to snapshot {best.snapshot_id}: {error}", self._standing())
        self._parts.callbacks.call("on_rollback", best)

    # -- continuations and the end -----------------------------------------------------------------------------

    def _continue_after(self, ending: Ending) -> bool:
        """Ask the callbacks for an agent to go on with."""
        parts, totals = self._parts, self._totals
        offers: list[Continuation | None] = parts.callbacks.call("after_dormant", self._view())
        offer = next((offer for offer in offers if offer is not None), None)
        if offer is None:
            return False
        agent, is_new = as_agent(offer.agent), offer.agent is not self._tenure.agent
        require_same_networks(parts.agent, agent)
        if is_new:
            agent.seed(parts.streams.stream(f"agent {totals.tenures}"))
            parts.pipeline.set_agent(agent)
        budget = Budget(env_steps=offer.max_steps).after(self._spent())
        self._begin_tenure(agent, budget, is_new=is_new, came_after=ending.reason)
        self._announcer.decided("continued", f"a callback went on after: {ending.explanation}", self._standing())
        return True

    def _view(self) -> RunView:
        parts, totals = self._parts, self._totals
        evaluation = MidRunEvaluation(parts.pipeline, parts.evaluator, totals, self._requests)

        def tell(kind: str, text: str, evidence: Mapping[str, Any]) -> None:
            self._announcer.decided(kind, text, self._standing(), evidence)

        history, rng = tuple(self._tracker.history), parts.streams.stream("callbacks")
        return RunView(self._tenure.agent, self._best, history, totals.env_steps, totals.windows, parts.registry,
                       evaluation, rng, tell)  # fmt: skip

    def _conclude(self, ending: Ending) -> RunResult:
        """The result stands before the best policy is evaluated: an error there loses nothing."""
        parts, closing = self._parts, self._closing
        self._keep(closing.score_of_last_policy(self._tenure), self._standing())
        closing.restore(parts.registry)
        self._best = parts.registry.best
        self.result = closing.result(
            ending, self._standing(), self._totals.judgement, self._best,
            run_dir=parts.files.path, counts={**self._guard.health, **parts.callbacks.health},
        )  # fmt: skip
        parts.files.finished(self.result)
        self.result = closing.evaluated(self.result, self._config.evaluation_episodes, self._clock)
        parts.files.finished(self.result)
        self._announcer.decided("stopped", f"the run ended: {ending.reason.value}", self._standing())
        parts.callbacks.call("on_stop", self.result)
        self._reporter.finished(self.result)
        return self.result

    # -- where the run stands ----------------------------------------------------------------------------------

    def _spent(self) -> Spent:
        return self._totals.spent(self._clock.seconds)

    def _standing(self) -> Window:
        """The present moment, between two windows."""
        totals = self._totals
        return Window(totals.windows, totals.env_steps, self._clock.seconds, self._tenure.made_by)

    def _info(self) -> RunInfo:
        parts = self._parts
        return RunInfo(
            parts.files.run_id, parts.files.path, parts.pipeline.description, type(parts.agent).__name__,
            parts.streams.seed, self._config.dormant_threshold, parts.agent.get_hyperparams().params,
        )  # fmt: skip


def _close(windows: Iterator[EpisodeData]) -> None:
    """Tell a generator that nobody will ask again, so that it can tidy up."""
    close = getattr(windows, "close", None)
    if close is not None:
        close()
