"""The loop: evaluate, collect, score, judge, keep, tune, learn. Each step asks one collaborator one question."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import replace
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
from tensor_optix.core.diagnosis import Diagnosis
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.fall_watch import FallWatch
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.loop_config import LoopConfig, default
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.outside_scores import Measured, OutsideScores
from tensor_optix.core.recovery import MAX_ROLLBACKS, Recovery
from tensor_optix.core.replay import told
from tensor_optix.core.reporting import Reporters, RowReporter, RunInfo
from tensor_optix.core.score_tracker import ScoreTracker, present
from tensor_optix.core.selection import MIN_PAIRS
from tensor_optix.core.state import Stateful
from tensor_optix.core.tenure import Tenure, require_same_networks
from tensor_optix.core.totals import Totals
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import (
    EpisodeData,
    EvalMetrics,
    LoopState,
    PolicySnapshot,
    RunResult,
    StopReason,
    Verdict,
)
from tensor_optix.core.validation import Validation
from tensor_optix.core.validation_watch import ValidationWatch
from tensor_optix.core.watchdog import Watchdog
from tensor_optix.core.weight_average import WeightAverage
from tensor_optix.core.window import Window
from tensor_optix.errors import NonFiniteError

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
        self._validation = _validation(parts, config, self._requests)
        self._outside = OutsideScores(
            parts.evaluator, self._validation, parts.checkpoint_score_fn, config=config
        )
        self._val_watch = ValidationWatch(parts.val_rule) if parts.val_rule else None
        self._closing = Closing(parts, self._outside, self._requests)
        self._tracker = ScoreTracker(config.score_smoothing)
        self._counter = EpisodeCounter()
        self._clock = RunClock(parts.clock)
        self._guard = CommitGuard(parts.clock, config.max_unsaved_minutes)
        self._keeping = Keeping(parts.registry, self._guard, self._announcer)
        self._tuning = Tuning(parts.tuner, self._tracker, self._announcer)
        self._fall = _fall_watch(parts.agent, config)
        self._recovery = Recovery(parts.registry, self._tracker, self._tuning, self._announcer, parts.callbacks)
        self._diagnosis, self._watchdog = Diagnosis.chosen_by(config), Watchdog()
        self._average = WeightAverage()
        stateful: dict[str, Stateful] = {
            "evaluator": parts.evaluator, "tuner": parts.tuner, "rule": parts.rule, "callbacks": parts.callbacks,
            "tracker": self._tracker, "counter": self._counter, "announcer": self._announcer,
            "outside": self._outside, "fall": self._fall, "diagnosis": self._diagnosis,
            "watchdog": self._watchdog, "average": self._average,
        }  # fmt: skip
        if self._val_watch is not None:
            stateful["val_watch"] = self._val_watch
        self._continuity = Continuity(parts, stateful, self._guard)
        self._target = config.target_score
        self._totals = Totals()
        self._tenure = Tenure.begin(parts.agent, Budget())
        self.result: RunResult | None = None
        parts.callbacks.call("attached", parts.registry, self.stop)

    @property
    def state(self) -> LoopState:
        """What the loop is doing, or was doing when it ended."""
        judgement = self._totals.judgement
        if self._watchdog.is_on:
            return LoopState.WATCHDOG
        return judgement.state if judgement else LoopState.ACTIVE

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far."""
        return self._keeping.best

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
                self._parts.files.failed(error, has_policies=self._keeping.best is not None)
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
        if self._validation is not None:
            on_the_way_out.callback(self._validation.close)
            self._validation.begin(parts.agent)
        parts.files.open()
        on_the_way_out.callback(parts.files.close)
        on_the_way_out.callback(self._reporter.closed)
        on_the_way_out.callback(call, "on_loop_stop")
        on_the_way_out.callback(self._hand_back)
        on_the_way_out.callback(self._clock.stop)
        self._clock.start()
        self._closing.restart()
        self._keeping.restart()
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
        if self._target is None:
            self._target = parts.pipeline.reward_threshold
        self._tuning.introduce(parts.agent, parts.streams)
        if self._validation is not None:
            self._validation.introduce()
        parts.evaluator.expect(
            is_on_policy=parts.agent.is_on_policy,
            max_episode_steps=parts.pipeline.max_episode_steps,
            is_live=parts.pipeline.is_live,
        )

    def _resume(self) -> None:
        """Go on at the window boundary where the run on disk was committed last."""
        self._tenure, self._totals, seconds, changes = self._continuity.restore()
        self._clock.start(seconds)
        self._parts.files.cut_rows(self._totals.windows)
        self._keeping.resume(self._totals.windows)
        self._closing.notes.extend(f"resumed, but not bit for bit: {change}" for change in changes)

    def _begin_tenure(
        self, agent: BaseAgent, budget: Budget, *, is_new: bool, came_after: StopReason | None = None
    ) -> None:
        """Follow this agent's policy as a P_0 from here on: a fresh clock, and nothing to compare it with.

        is_new: another agent than before, of which it is not known that it has learned anything.
        """
        totals = self._totals
        self._tenure = Tenure.begin(agent, budget, came_after=came_after)
        for part in (self._tracker, self._counter, self._parts.evaluator, self._announcer, self._outside, self._fall,
                     self._average):  # fmt: skip
            part.restart()
        self._restart_rules(is_new_agent=is_new)
        totals.tenures += 1
        totals.judgement, totals.steps_since_tick, totals.episodes_since_tick = None, 0, 0

    def _restart_rules(self, *, is_new_agent: bool) -> None:
        self._parts.rule.restart(is_new_agent=is_new_agent)
        if self._val_watch is not None:
            self._val_watch.restart(is_new_agent=is_new_agent)
        self._totals.restart = "new" if is_new_agent or self._totals.restart == "new" else "same"

    def _loop(self) -> Ending:
        windows = self._parts.pipeline.episodes()
        boundary = self._continuity.boundary()
        try:
            while True:
                ending = self._spent_ending()
                if self._continuity.is_due or (ending is not None and not ending.may_continue):
                    self._commit(boundary)
                ending = ending or self._one_window(windows)
                if ending is not None and not (ending.may_continue and self._goes_on(ending)):
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
            return Ending(reason, f"{reason.value}; what a callback went on with is used up", may_continue=True)
        return None

    # -- one window --------------------------------------------------------------------------------------------

    def _one_window(self, windows: Iterator[EpisodeData]) -> Ending | None:
        """One pass; returns an ending when nothing more is to be gained."""
        if (ending := self._compare_after_alarm()) is not None:
            return ending
        measured = self._evaluate()
        self._tenure.agent.reset_cache()
        data = self._collect(windows)
        if data is None:
            reason = self._requests.reason or StopReason.PIPELINE_ENDED
            return Ending(reason, explain(reason))
        if self._watchdog.is_on:
            self._watch_window(data)
            return None
        window = self._judged(data, self._score(data), measured)
        self._reached(window)
        self._keeping.after(window, self._tenure)
        ending, is_back = self._dormancy(window), False
        if ending is None:
            ending, is_back = self._fallen(window)
        ending = ending or self._target_ending()
        if ending is None and not is_back:
            self._tuning.after(window, self._tenure.agent, self._totals)
            self._learn(data)
        self._totals.windows += 1
        self._announcer.finished(window, self._keeping.best)
        return ending

    def _evaluate(self) -> Measured:
        """What P_k is worth besides, where it is time to know; its env steps are those of the run."""
        before = self._validation.steps if self._validation else 0
        measured = self._outside.at_boundary(
            self._tenure.agent, self._totals.windows, self._totals.env_steps
        )
        self._totals.env_steps += (self._validation.steps if self._validation else 0) - before
        return measured

    def _collect(self, windows: Iterator[EpisodeData]) -> EpisodeData | None:
        with self._requests.leaving_at_once():
            data = next(windows, None)
        if data is not None:
            self._counter.complete(data)
            self._totals.env_steps += data.length
            self._totals.steps_since_tick += data.length
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
        if metrics is not None:
            self._tracker.add(metrics)
        return metrics

    def _judged(self, data: EpisodeData, train: EvalMetrics | None, measured: Measured) -> Window:
        """The window with what the rule says of its score, and with what its policy is chosen by."""
        totals, smoothed, judgement, record = self._totals, self._tracker.smoothed, None, None
        if train is not None and smoothed is not None and not self._tenure.agent.warming_up:
            tick = Tick(train.primary_score, smoothed, ended_episodes(data))
            record, totals.restart = told(tick, totals.restart), ""
            judgement = totals.judgement = self._parts.rule.judge(tick)
            if judgement.improved:
                self._parts.tuner.on_improvement(train)
        metrics = self._outside.combined(train, measured, totals.windows)
        selection = self._outside.selection(train, measured)
        if train is not None:
            self._outside.ticked(judgement)
        window = Window(
            totals.windows, totals.env_steps, self._clock.seconds, self._tenure.made_by, metrics, smoothed, judgement,
            train.primary_score if train else None, selection, record,
        )  # fmt: skip
        self._announcer.judged(window)
        self._tenure.is_scored = selection is not None
        return window

    def _dormancy(self, window: Window) -> Ending | None:
        ending, judgement = self._overfitting(window), window.judgement
        if judgement is not None and judgement.state is LoopState.DORMANT:
            ending = Ending(_REASON_OF[judgement.verdict], judgement.explanation, may_continue=True)
        if ending is None:
            return None
        self._parts.tuner.on_plateau(self._tracker.history)
        self._parts.callbacks.call("on_dormant", window.number)
        return ending

    def _reached(self, window: Window) -> None:
        """Tell once that the target score is reached."""
        target, name = self._target, self._config.target_metric
        reached = window.smoothed if name is None else (window.metrics.metrics if window.metrics else {}).get(name)
        if target is None or window.train_score is None or reached is None or reached < target:
            return
        if not self._totals.has_reached_target:
            self._totals.has_reached_target = True
            text = f"the {name or 'score'} of {target:g} is reached"
            self._announcer.decided("target", text, window, {name or "smoothed": reached})

    def _target_ending(self) -> Ending | None:
        if not (self._config.stop_at_target and self._totals.has_reached_target):
            return None
        return Ending(StopReason.TARGET_SCORE, f"the target of {self._target:g} is reached")

    def _overfitting(self, window: Window) -> Ending | None:
        """Whether validation says that nothing more is to be gained, whatever the training score does."""
        watch, smoothed = self._val_watch, self._outside.smoothed
        is_validated = window.selection is not None and self._outside.unit == "validation"
        if watch is None or smoothed is None or not is_validated:
            return None
        why = watch.heard(float(window.selection or 0.0), smoothed)
        if why is None:
            return None
        before = self._totals.judgement
        if before is not None:
            self._totals.judgement = replace(
                before, state=LoopState.DORMANT, verdict=Verdict.OVERFITTING, explanation=why
            )
        self._announcer.decided("overfitting", why, window, {"scores": [s for _, s in self._outside.scores[-20:]]})
        return Ending(StopReason.OVERFITTING, why, may_continue=True)

    def _learn(self, data: EpisodeData) -> None:
        tenure = self._tenure
        made_by = tenure.agent.get_hyperparams().copy()
        try:
            with cooled(tenure.agent, judgement.cooldown if (judgement := self._totals.judgement) else None):
                diagnostics = tenure.agent.learn(data.for_learning())
        except NonFiniteError as error:
            if self._keeping.best is None or self._totals.rollbacks >= MAX_ROLLBACKS:
                raise
            self._roll_back(str(error))
            return
        tenure.diagnostics = dict(diagnostics or {})
        tenure.made_by, tenure.is_scored = made_by, False
        self._average.after(tenure.agent, self._totals.judgement)
        for rule, text in self._diagnosis.after(self._totals.windows, tenure.agent, tenure.diagnostics):
            self._announcer.decided("diagnosed", text, self._standing(), {"rule": rule})

    # -- when scores fall --------------------------------------------------------------------------------------

    def _fallen(self, window: Window) -> tuple[Ending | None, bool]:
        """Whether the scores alone confirm a fall: ``(an ending, whether an older policy is back)``."""
        if window.judgement is None or window.metrics is None:
            return None, False
        decision = self._fall.heard(window.judgement, is_probing=self._tuning.is_probing)
        if decision is None:
            return None, False
        return self._act_on_fall(window, window.metrics, decision.explanation)

    def _compare_after_alarm(self) -> Ending | None:
        """At a window boundary: an alarm that waits is confirmed, or not, on seeds that both policies share."""
        best, parts = self._keeping.best, self._parts
        if not self._fall.waits_for_comparison or best is None or self._tuning.is_probing:
            return None
        rng = parts.streams.stream("degradation")
        seeds = [int(seed) for seed in rng.integers(2**31, size=MIN_PAIRS)]
        decision = self._fall.compared(self._tenure.agent, best, parts.registry, seeds, self._evaluation().score)
        if decision is None:
            return None
        if not decision.is_confirmed:
            self._announcer.decided("not degraded", decision.explanation, self._standing())
            return None
        return self._act_on_fall(self._standing(), self._tracker.history[-1], decision.explanation)[0]

    def _act_on_fall(self, window: Window, metrics: EvalMetrics, why: str) -> tuple[Ending | None, bool]:
        evidence = window.judgement.evidence if window.judgement else {}
        self._announcer.fallen(window, metrics, why, evidence)
        is_on_policy = self._tenure.agent.is_on_policy
        if not self._config.rollback_on_degradation or not is_on_policy or self._keeping.best is None:
            return None, False
        if self._totals.rollbacks >= MAX_ROLLBACKS:
            return Ending(StopReason.COLLAPSED, f"fell again after {MAX_ROLLBACKS} rollbacks: {why}"), False
        self._roll_back(why)
        self._restart_rules(is_new_agent=False)
        return None, True

    def _roll_back(self, why: str) -> None:
        best = self._keeping.best
        assert best is not None, "only a policy that was kept can come back"
        self._totals.rollbacks += 1
        self._tenure = self._recovery.restore(self._tenure, best, why, self._standing())

    # -- continuations and the end -----------------------------------------------------------------------------

    def _goes_on(self, ending: Ending) -> bool:
        return self._continue_after(ending) or self._watch_after(ending)

    def _watch_after(self, ending: Ending) -> bool:
        """With ``on_dormant="watch"``: the best policy acts on, and nothing is learned until it has become worse."""
        if self._config.on_dormant != "watch" or self._watchdog.is_on:
            return False
        agent = self._tenure.agent
        self._parts.registry.load_best(agent)
        self._tuning.settle(agent)
        self._begin_tenure(agent, Budget(), is_new=False)
        self._watchdog.start()
        text = f"acts on without learning after: {ending.explanation}"
        self._announcer.decided("watching", text, self._standing(), {"reason": ending.reason.value})
        return True

    def _watch_window(self, data: EpisodeData) -> None:
        """One window of a policy that is only watched: no verdict, no learning."""
        metrics = self._score(data)
        score = metrics.primary_score if metrics else None
        window = replace(self._standing(), metrics=metrics, train_score=score, smoothed=self._tracker.smoothed)
        why = None if score is None else self._watchdog.heard(score)
        if why is not None and metrics is not None:
            self._announcer.fallen(window, metrics, why, {})
            self._watchdog.stop()
            self._begin_tenure(self._tenure.agent, Budget(), is_new=False)
            self._announcer.decided("active", "learns again", window)
        self._totals.windows += 1
        self._announcer.finished(window, self._keeping.best)

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
            if self._validation is not None:
                self._validation.pipeline.set_agent(agent)
        budget = Budget(env_steps=offer.max_steps).after(self._spent())
        self._begin_tenure(agent, budget, is_new=is_new, came_after=ending.reason)
        self._announcer.decided("continued", f"a callback went on after: {ending.explanation}", self._standing(),
                                {"is_new_agent": is_new, "max_steps": offer.max_steps})  # fmt: skip
        return True

    def _evaluation(self) -> MidRunEvaluation:
        parts = self._parts
        return MidRunEvaluation(parts.pipeline, parts.evaluator, self._totals, self._requests)

    def _view(self) -> RunView:
        parts, totals = self._parts, self._totals

        def tell(kind: str, text: str, evidence: Mapping[str, Any]) -> None:
            self._announcer.decided(kind, text, self._standing(), evidence)

        history = self._outside.history if self._validation is not None else self._tracker.history
        return RunView(self._tenure.agent, self._keeping.best, tuple(history), totals.env_steps, totals.windows,
                       parts.registry, self._evaluation(), parts.streams.stream("callbacks"), tell)  # fmt: skip

    def _conclude(self, ending: Ending) -> RunResult:
        """The result stands before the best policy is evaluated: an error there loses nothing."""
        parts, closing, keeping = self._parts, self._closing, self._keeping
        self._keep_last()
        if self._config.evaluation_episodes:
            history = [(m.episode_id, m.primary_score) for m in self._tracker.history]
            averaged = closing.averaged(self._tenure, self._average, self._totals.windows)
            confirmed = closing.confirm(history, averaged)
            if confirmed is not None:
                self._announcer.decided("confirmed", confirmed.text, self._standing(), confirmed.evidence)
        self._hand_back()
        keeping.best = parts.registry.best
        self.result = closing.result(
            ending, self._standing(), self._totals.judgement, keeping.best,
            run_dir=parts.files.path, counts={**self._guard.health, **parts.callbacks.health},
        )  # fmt: skip
        parts.files.finished(self.result)
        self.result = closing.evaluated(self.result, self._config.evaluation_episodes, self._clock)
        parts.files.finished(self.result)
        evidence = {"reason": ending.reason.value, "explanation": ending.explanation}
        self._announcer.decided("stopped", f"the run ended: {ending.reason.value}", self._standing(), evidence)
        parts.callbacks.call("on_stop", self.result)
        self._reporter.finished(self.result)
        return self.result

    def _keep_last(self) -> None:
        """The policy of the last learn call joins the choice of the best, where it can be scored."""
        last = self._closing.last_policy(self._tenure, evaluates=bool(self._config.evaluation_episodes))
        if last is not None:
            metrics, selection = last
            metrics = replace(metrics, episode_id=self._totals.windows)  # the window that it would have collected
            self._keeping.after(replace(self._standing(), metrics=metrics, selection=selection), self._tenure)

    def _hand_back(self) -> None:
        """The best policy, and no experiment, in the user's agent."""
        if self._closing.restore(self._parts.registry):
            self._tuning.settle(self._parts.agent)

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
            parts.streams.seed, self._config.dormant_threshold, parts.agent.get_hyperparams().params, self._target,
            self._config.target_metric, self._outside.unit,
        )  # fmt: skip


def _close(windows: Iterator[EpisodeData]) -> None:
    """Tell a generator that nobody will ask again, so that it can tidy up."""
    close = getattr(windows, "close", None)
    if close is not None:
        close()


def _validation(parts: LoopParts, config: LoopConfig, requests: StopRequests) -> Validation | None:
    if parts.val_pipeline is None:
        return None
    return Validation(
        parts.val_pipeline, parts.evaluator, parts.streams, requests, deterministic=config.val_deterministic,
        episodes=config.val_episodes,
    )


def _fall_watch(agent: BaseAgent, config: LoopConfig) -> FallWatch:
    is_literal = config.degradation_threshold != default("degradation_threshold")
    return FallWatch(is_literal=is_literal, is_paired=config.rollback_on_degradation and agent.is_on_policy)
