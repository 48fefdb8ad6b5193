"""The loop: evaluate, collect, score, judge, keep, tune, learn. Each step asks one collaborator one question."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.budget import Budget
from tensor_optix.core.callbacks import LoopCallback
from tensor_optix.core.closing import Closing
from tensor_optix.core.collecting import Collecting
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.conclusion import Conclusion
from tensor_optix.core.continuity import Continuity
from tensor_optix.core.course import Course
from tensor_optix.core.diagnosis import Diagnosis
from tensor_optix.core.ending import Ending
from tensor_optix.core.falls import Falls
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.judging import Judging
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.learning import Learning
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.outside_scores import Measured, OutsideScores
from tensor_optix.core.recovery import Recovery
from tensor_optix.core.reporting import Reporters, RowReporter, RunInfo
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.state import Stateful
from tensor_optix.core.succession import Succession
from tensor_optix.core.target import Target
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import LoopState, PolicySnapshot, RunResult, StopReason
from tensor_optix.core.validation import Validation
from tensor_optix.core.weight_average import WeightAverage
from tensor_optix.core.window import Window


class LoopController:
    """Runs the loop over its parts. Window k is collected by policy P_k, which hyperparameters H_{k-1} made."""

    def __init__(self, parts: LoopParts, config: LoopConfig) -> None:
        self._parts = parts
        self._config = config
        self._budget = Budget(config.max_episodes, config.max_steps, config.max_time)
        self._requests = StopRequests()
        self._reporter = Reporters([RowReporter(parts.files), *parts.reporters])
        self._announcer = Announcer(self._reporter, parts.callbacks, config.base_interval)
        self._tracker = ScoreTracker(config.score_smoothing)
        self._course = Course(parts.agent, parts.clock)
        self._average = WeightAverage()
        self._guard = CommitGuard(parts.clock, config.max_unsaved_minutes)
        self._wire()
        self.result: RunResult | None = None
        parts.callbacks.call("attached", parts.registry, self.stop)

    def _wire(self) -> None:
        """One collaborator for each question, in the order in which a window asks them."""
        parts, config, course, tracker, say = (
            self._parts, self._config, self._course, self._tracker, self._announcer
        )  # fmt: skip
        self._validation = _validation(parts, config, self._requests)
        self._outside = OutsideScores(
            parts.evaluator, self._validation, parts.checkpoint_score_fn, config=config
        )
        self._collecting = Collecting(parts, course, tracker, self._requests)
        self._judging = Judging(parts, course, tracker, self._outside, say)
        self._target = Target(config, course, parts.evaluator, tracker, say)
        self._keeping = Keeping(parts.registry, self._guard, tracker, self._outside, say)
        self._tuning = Tuning(parts.tuner, tracker, say)
        self._recovery = Recovery(parts, course, tracker, self._tuning, self._keeping, say)
        self._falls = Falls(
            parts, config, course, tracker, self._keeping, self._tuning, self._judging, self._recovery, say
        )
        self._diagnosis = Diagnosis.chosen_by(config)
        self._learning = Learning(course, self._average, self._diagnosis, self._recovery, say)
        followers = (tracker, self._collecting.counter, parts.evaluator, say, self._outside, self._falls.watch,
                     self._average)  # fmt: skip
        self._succession = Succession(
            parts, course, self._judging, self._tuning, self._keeping, say, followers,
            watches=config.on_dormant == "watch",
        )  # fmt: skip
        self._closing = Closing(parts, self._outside, self._requests)
        self._conclusion = Conclusion(
            parts, course, self._closing, self._keeping, self._tuning, tracker, self._average, self._guard, say,
            episodes=config.evaluation_episodes,
        )  # fmt: skip
        self._continuity = Continuity(parts, self._stateful(), self._guard)

    def _stateful(self) -> dict[str, Stateful]:
        """What an exact continuation needs besides agent, pipeline and random streams."""
        parts = self._parts
        stateful: dict[str, Stateful] = {
            "evaluator": parts.evaluator, "tuner": parts.tuner, "rule": parts.rule, "callbacks": parts.callbacks,
            "tracker": self._tracker, "counter": self._collecting.counter, "announcer": self._announcer,
            "outside": self._outside, "fall": self._falls.watch, "diagnosis": self._diagnosis,
            "watchdog": self._succession.watchdog, "average": self._average,
        }  # fmt: skip
        if self._judging.val_watch is not None:
            stateful["val_watch"] = self._judging.val_watch
        return stateful

    @property
    def state(self) -> LoopState:
        """What the loop is doing, or was doing when it ended."""
        judgement = self._course.totals.judgement
        if self._succession.watchdog.is_on:
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
        """Append a callback; it is called from the next hook on. One that is there already stays there once."""
        if self._parts.callbacks.holds(callback):
            return
        callback.attached(self._parts.registry, self.stop)
        self._parts.callbacks.add(callback)

    # -- one window --------------------------------------------------------------------------------------------

    def _one_window(self) -> Ending | None:
        """Evaluate, collect, score, judge, keep, tune, learn. An ending: nothing more is to be gained."""
        if (ending := self._falls.at_boundary(self._evaluation())) is not None:
            return ending
        measured = self._evaluate()
        self._course.agent.reset_cache()
        data = self._collecting.window()
        if data is None:
            return Ending.without_evidence(self._requests.reason or StopReason.PIPELINE_ENDED)
        if self._succession.watchdog.is_on:
            self._done(self._succession.watched(self._collecting.score(data), self._tracker))
            return None
        window = self._judging.window(data, self._collecting.score(data), measured)
        self._target.after(window)
        self._keeping.after(window, self._course.tenure)
        ending, is_back = self._judging.ending(window), False
        if ending is None:
            ending, is_back = self._falls.after(window)
        ending = ending or self._target.ending
        if ending is None and not is_back:
            self._tuning.after(window, self._course.agent, self._course.totals)
            self._learning.from_window(data)
        self._done(window)
        return ending

    def _evaluate(self) -> Measured:
        """What P_k is worth besides, where it is time to know; its env steps are those of the run."""
        before, totals = self._outside.steps, self._course.totals
        measured = self._outside.at_boundary(self._course.agent, totals.windows, totals.env_steps)
        totals.env_steps += self._outside.steps - before
        return measured

    def _done(self, window: Window) -> None:
        self._course.totals.windows += 1
        self._announcer.finished(window, self._keeping.best)

    def _evaluation(self) -> MidRunEvaluation:
        parts = self._parts
        return MidRunEvaluation(parts.pipeline, parts.evaluator, self._course.totals, self._requests)

    # -- one run -----------------------------------------------------------------------------------------------

    def run(self) -> RunResult:
        """Run until the evidence, a budget or a request ends it. The best policy is in the agent afterwards."""
        self.result = None
        with self._requests.watching_signals(), ExitStack() as on_the_way_out:
            try:
                self._begin(on_the_way_out)
                self.result = self._conclusion.after(self._loop())
                self.result = self._conclusion.evaluated(self.result)
                self._parts.callbacks.call("on_stop", self.result)
                self._reporter.finished(self.result)
                return self.result
            except BaseException as error:
                self._parts.files.failed(error, has_policies=self._keeping.best is not None)
                raise

    def _loop(self) -> Ending:
        """Window after window, with a commit where one is due."""
        self._collecting.begin()
        boundary = self._continuity.boundary()
        try:
            while True:
                ending = self._spent_ending()
                if self._continuity.is_due or (ending is not None and not ending.may_continue):
                    self._commit(boundary)
                ending = ending or self._one_window()
                if ending is not None and not (ending.may_continue and self._goes_on(ending)):
                    return ending
                boundary = self._continuity.boundary()
        except WindowAbandoned:
            if not self._course.agent.acting_changes_state:
                self._commit(boundary)  # the agent is as it was then; otherwise the last commit has to do
            return Ending.without_evidence(self._requests.reason or StopReason.INTERRUPTED)
        finally:
            self._collecting.end()

    def _spent_ending(self) -> Ending | None:
        """Whether a request or a budget ends the run, or the tenure, before another window."""
        spent, tenure = self._course.spent, self._course.tenure
        budget = self._budget.after(self._course.totals.run_start)
        if reason := self._requests.reason or budget.exhausted(spent):
            return Ending.without_evidence(reason)
        if reason := tenure.budget.exhausted(spent):
            reason = tenure.came_after or reason
            return Ending(reason, f"{reason.value}; what a callback went on with is used up", may_continue=True)
        return None

    def _goes_on(self, ending: Ending) -> bool:
        history = self._outside.history if self._validation is not None else self._tracker.history
        return self._succession.goes_on(ending, history, self._evaluation())

    def _commit(self, boundary: dict[str, Any]) -> None:
        course = self._course
        self._continuity.commit(boundary, course.tenure, course.totals, course.clock.seconds)

    # -- getting ready -----------------------------------------------------------------------------------------

    def _begin(self, on_the_way_out: ExitStack) -> None:
        """Get ready; whatever was opened is closed on the way out, in reverse order, whatever happens."""
        parts, call, course = self._parts, self._parts.callbacks.call, self._course
        on_the_way_out.callback(self._requests.clear)
        on_the_way_out.callback(parts.pipeline.teardown)
        if not course.totals.tenures:
            self._introduce()
        parts.pipeline.set_agent(parts.agent)
        parts.pipeline.setup()
        if self._validation is not None:
            on_the_way_out.callback(self._validation.close)
            self._validation.begin(parts.agent)
        parts.files.open()
        on_the_way_out.callback(parts.files.close)
        parts.files.begun()
        on_the_way_out.callback(self._reporter.closed)
        on_the_way_out.callback(call, "on_loop_stop")
        on_the_way_out.callback(self._conclusion.hand_back)
        on_the_way_out.callback(course.clock.stop)
        course.clock.start()
        self._closing.restart()
        self._keeping.restart()
        is_resumed = parts.is_resuming and not course.totals.tenures
        if is_resumed:
            self._resume()
        else:
            course.totals.run_start = course.spent
            self._succession.begin(parts.agent, Budget(), is_new=False)
        self._reporter.started(self._info())
        if is_resumed:
            self._announcer.decided("resumed", f"goes on with window {course.totals.windows}", course.standing)
        call("on_loop_start")

    def _introduce(self) -> None:
        """Once per loop: hand out the random streams, and say what kind of windows will come."""
        parts = self._parts
        parts.pipeline.seed(parts.streams)
        parts.agent.seed(parts.streams.stream("agent"))
        self._target.introduce(parts.pipeline.reward_threshold)
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
        course = self._course
        course.tenure, course.totals, seconds, changes = self._continuity.restore()
        course.clock.start(seconds)
        # Events are counted: of one window some come before the commit, as does what a callback went on with.
        self._parts.files.cut_rows(course.totals.windows, self._announcer.n_events)
        self._keeping.resume(course.totals.windows)
        self._closing.notes.extend(f"resumed, but not bit for bit: {change}" for change in changes)

    def _info(self) -> RunInfo:
        parts = self._parts
        return RunInfo(
            parts.files.run_id, parts.files.path, parts.pipeline.description, type(parts.agent).__name__,
            parts.streams.seed, self._config.dormant_threshold, parts.agent.get_hyperparams().params,
            self._target.score, self._config.target_metric, self._outside.unit,
        )  # fmt: skip


def _validation(parts: LoopParts, config: LoopConfig, requests: StopRequests) -> Validation | None:
    if parts.val_pipeline is None:
        return None
    return Validation(
        parts.val_pipeline, parts.evaluator, parts.streams, requests, deterministic=config.val_deterministic,
        episodes=config.val_episodes,
    )
