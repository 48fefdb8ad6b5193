"""The loop: evaluate, collect, score, judge, keep, tune, learn. Each step asks one collaborator one question."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import Any

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_evaluator import BaseEvaluator
from tensor_optix.core.base_optimizer import BaseOptimizer
from tensor_optix.core.base_pipeline import BasePipeline
from tensor_optix.core.budget import Budget, RunClock, Spent, explain
from tensor_optix.core.callbacks import CallbackList, Continuation, LoopCallback, RunView
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.closing import Closing, Ending
from tensor_optix.core.commit_guard import CommitGuard
from tensor_optix.core.convergence import (
    ConvergenceRule,
    Judgement,
    Tick,
    ended_episodes,
    judgement_from,
    judgement_state,
)
from tensor_optix.core.episode_counter import EpisodeCounter
from tensor_optix.core.interrupts import StopRequests, WindowAbandoned
from tensor_optix.core.loop_config import LoopConfig
from tensor_optix.core.reporting import Reporter, Reporters, RowReporter, RunInfo
from tensor_optix.core.resume import differences, software
from tensor_optix.core.rng import RandomStreams
from tensor_optix.core.run_files import RunFiles
from tensor_optix.core.score_tracker import ScoreTracker, present
from tensor_optix.core.state import Stateful
from tensor_optix.core.tenure import Tenure, require_same_networks
from tensor_optix.core.training_states import TrainingStates
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
from tensor_optix.errors import CheckpointError

State = dict[str, Any]

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
    is_resuming: bool = False


class LoopController:
    """Runs the loop over its parts. Window k is collected by policy P_k, which hyperparameters H_{k-1} made."""

    def __init__(self, parts: LoopParts, config: LoopConfig) -> None:
        self._parts = parts
        self._config = config
        self._requests = StopRequests()
        self._reporter = Reporters([RowReporter(parts.files), *parts.reporters])
        self._announcer = Announcer(self._reporter, parts.callbacks, config.base_interval)
        self._closing = Closing(parts.agent, parts.pipeline, parts.evaluator, parts.streams, self._requests)
        self._tracker = ScoreTracker(config.score_smoothing)
        self._counter = EpisodeCounter()
        self._clock = RunClock(parts.clock)
        self._states = TrainingStates(parts.files.path, parts.clock)
        self._guard = CommitGuard()
        self._windows = 0
        self._env_steps = 0
        self._n_tenures = 0
        self._tenure = Tenure(parts.agent, Budget(), parts.agent.get_hyperparams())
        self._run_start = Spent()
        self._replayed_until = 0
        self._judgement: Judgement | None = None
        self._since_tick = Spent()
        self._episodes_since_tick = 0
        self._best = parts.registry.best
        self.result: RunResult | None = None

    @property
    def state(self) -> LoopState:
        """What the loop is doing, or was doing when it ended."""
        return self._judgement.state if self._judgement else LoopState.ACTIVE

    @property
    def best_snapshot(self) -> PolicySnapshot | None:
        """The best policy committed so far."""
        return self._best

    def stop(self) -> None:
        """End the run after the current window; from any thread or callback."""
        self._requests.request()

    def add_callback(self, callback: LoopCallback) -> None:
        """Append a callback; it is called from the next hook on."""
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
        if not self._n_tenures:
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
        if parts.is_resuming and not self._n_tenures:
            self._resume()
        else:
            self._run_start = self._spent()
            self._begin_tenure(parts.agent, Budget(), is_new=False)
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

    def _begin_tenure(self, agent: BaseAgent, budget: Budget, *, is_new: bool) -> None:
        """Follow this agent's policy as a P_0 from here on: a fresh clock, and nothing to compare it with.

        is_new: another agent than before, of which it is not known that it has learned anything.
        """
        self._n_tenures += 1
        self._tenure = Tenure.begin(agent, budget)
        self._judgement = None
        for part in (self._tracker, self._counter, self._parts.evaluator, self._announcer):
            part.restart()
        self._parts.rule.restart(is_new_agent=is_new)
        self._since_tick, self._episodes_since_tick = self._spent(), 0

    def _loop(self) -> Ending:
        windows = self._parts.pipeline.episodes()
        boundary: State = {}
        try:
            while True:
                boundary = self._boundary()
                ending = self._spent_ending()
                if self._states.is_due or (ending is not None and not ending.may_continue):
                    self._commit(boundary)
                ending = ending or self._one_window(windows)
                if ending is not None and not (ending.may_continue and self._continue_after(ending)):
                    return ending
        except WindowAbandoned:
            if not self._tenure.agent.acting_changes_state:
                self._commit(boundary)  # the agent is as it was then; else the last commit has to do
            reason = self._requests.reason or StopReason.INTERRUPTED
            return Ending(reason, explain(reason))
        finally:
            _close(windows)

    def _spent_ending(self) -> Ending | None:
        """Whether a request or a budget ends the run, or the tenure, before another window."""
        spent = self._spent()
        config = self._config
        budget = Budget(config.max_episodes, config.max_steps, config.max_time).after(self._run_start)
        if reason := self._requests.reason or budget.exhausted(spent):
            return Ending(reason, explain(reason))
        if reason := self._tenure.budget.exhausted(spent):
            return Ending(reason, "the budget of the continuation is used up", may_continue=True)
        return None

    # -- one window --------------------------------------------------------------------------------------------

    def _one_window(self, windows: Iterator[EpisodeData]) -> Ending | None:
        """One pass; returns an ending when nothing more is to be gained."""
        self._tenure.agent.reset_cache()
        data = self._collect(windows)
        if data is None:
            return Ending(StopReason.PIPELINE_ENDED, explain(StopReason.PIPELINE_ENDED))
        metrics = self._score(data)
        window = self._judged(data, metrics)
        self._keep(metrics, window)
        ending = self._dormancy(window)
        if ending is None:
            self._tune(window)
            self._learn(data)
        self._windows += 1
        self._announcer.finished(window, self._best)
        return ending

    def _collect(self, windows: Iterator[EpisodeData]) -> EpisodeData | None:
        with self._requests.leaving_at_once():
            data = next(windows, None)
        if data is not None:
            self._counter.complete(data)
            self._env_steps += data.length
            self._episodes_since_tick += len(data.episode_returns)
        return data

    def _score(self, data: EpisodeData) -> EvalMetrics | None:
        evaluator, diagnostics = self._parts.evaluator, self._tenure.diagnostics
        try:
            metrics = present(evaluator.score(data, diagnostics), evaluator=evaluator)
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
            self._judgement = judgement
            if judgement.improved:
                tuner.on_improvement(metrics)
        window = Window(
            self._windows, self._env_steps, self._clock.seconds, self._tenure.made_by, len(data.episode_returns),
            metrics, smoothed, judgement,
        )  # fmt: skip
        self._announcer.judged(window, is_probing=tuner.is_probing)
        return window

    def _keep(self, metrics: EvalMetrics | None, window: Window) -> None:
        """Commit P_k, with its score and H_{k-1}, if it is among the best."""
        registry, before, tenure = self._parts.registry, self._best, self._tenure
        if metrics is None or not registry.would_keep(metrics.primary_score):
            return
        if window.number < self._replayed_until and registry.holds(metrics, tenure.made_by):
            return  # committed before this run was resumed
        snapshot = self._guard.attempt(lambda: registry.save(tenure.agent, metrics, tenure.made_by))
        if snapshot is not None:
            self._best = registry.best
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
        metrics, agent, tuner = window.metrics, self._tenure.agent, self._parts.tuner
        if metrics is None or agent.warming_up:
            return
        since, episodes = self._since_tick, self._episodes_since_tick
        self._since_tick, self._episodes_since_tick = self._spent(), 0
        previous = self._tracker.previous
        if previous is None:
            return
        env_steps = self._env_steps - since.env_steps
        tuner.observe(TuningEvidence(window.made_by.params, metrics.primary_score, previous, env_steps, episodes))
        before = agent.get_hyperparams()
        after = tuner.suggest(before.copy(), self._tracker.history)
        if after.params != before.params:
            agent.set_hyperparams(after)
        self._announcer.tuned(before.params, after.params, window)

    def _learn(self, data: EpisodeData) -> None:
        tenure = self._tenure
        made_by = tenure.agent.get_hyperparams().copy()
        tenure.diagnostics = dict(tenure.agent.learn(data) or {})
        tenure.made_by, tenure.is_scored = made_by, False

    # -- continuations and the end -----------------------------------------------------------------------------

    def _continue_after(self, ending: Ending) -> bool:
        """Ask the callbacks for an agent to go on with."""
        view = RunView(
            self._tenure.agent, self._best, tuple(self._tracker.history), self._env_steps, self._windows
        )  # fmt: skip
        offers: list[Continuation | None] = self._parts.callbacks.call("after_dormant", view)
        offer = next((offer for offer in offers if offer is not None), None)
        if offer is None:
            return False
        agent, is_new = as_agent(offer.agent), offer.agent is not self._tenure.agent
        require_same_networks(self._parts.agent, agent)
        if is_new:
            agent.seed(self._parts.streams.stream(f"agent {self._n_tenures}"))
            self._parts.pipeline.set_agent(agent)
        self._begin_tenure(agent, Budget(env_steps=offer.max_steps).after(self._spent()), is_new=is_new)
        self._announcer.decided("continued", f"a callback went on after: {ending.explanation}", self._standing())
        return True

    def _conclude(self, ending: Ending) -> RunResult:
        """The result stands before the last policy is evaluated: an error there loses nothing."""
        parts, closing, standing = self._parts, self._closing, self._standing()
        self._keep(closing.score_of_last_policy(self._tenure), standing)
        closing.restore(parts.registry)
        self.result = closing.result(
            ending, standing, self._judgement, self._best, run_dir=parts.files.path, commits=self._guard.health
        )
        parts.files.finished(self.result)
        self.result = closing.evaluated(self.result, self._config.evaluation_episodes, self._clock)
        parts.files.finished(self.result)
        self._announcer.decided("stopped", f"the run ended: {ending.reason.value}", self._standing())
        parts.callbacks.call("on_stop", self.result)
        self._reporter.finished(self.result)
        return self.result

    # -- exact continuation ------------------------------------------------------------------------------------

    def _boundary(self) -> State:
        """What the next window is going to change even before anything is learned from it."""
        return {"pipeline": self._parts.pipeline.state_dict(), "streams": self._parts.streams.state_dict()}

    def _commit(self, boundary: State) -> None:
        """Put the training state of this window boundary on disk."""
        agent = self._tenure.agent
        agent_state = agent.state_dict()
        state = {
            **boundary,
            "agent": agent_state,
            "bare_agent": None if agent_state is not None else {
                "policy": agent.policy_state(), "hyperparams": agent.get_hyperparams().params,
            },
            "software": software(),
            "loop": {
                "windows": self._windows, "env_steps": self._env_steps, "seconds": self._clock.seconds,
                "n_tenures": self._n_tenures, "run_start": asdict(self._run_start),
                "since_tick": asdict(self._since_tick), "episodes_since_tick": self._episodes_since_tick,
                "judgement": judgement_state(self._judgement),
            },
            "tenure": self._tenure.state_dict(),
            "parts": {name: part.state_dict() for name, part in self._stateful.items()},
        }  # fmt: skip
        writes_itself = state["bare_agent"] is not None and state["bare_agent"]["policy"] is None
        save_weights = agent.save_weights if writes_itself else None
        self._guard.attempt(lambda: self._states.commit(state, save_weights))

    def _resume(self) -> None:
        """Go on at the boundary where the newest training state was committed."""
        parts = self._parts
        self._states.sweep()
        parts.registry.sweep()
        state, weights = self._states.newest()
        try:
            self._load(state)
            self._load_agent(state, weights)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise CheckpointError(parts.files.path, f"holds a training state that does not fit: {error!r}") from error
        self._replayed_until = parts.files.cut_rows(self._windows)
        self._closing.notes.extend(
            f"resumed, but not bit for bit: {text}" for text in differences(state["software"], software())
        )
        self._announcer.decided("resumed", f"goes on with window {self._windows}", self._standing())

    def _load(self, state: State) -> None:
        loop = state["loop"]
        self._parts.streams.load_state_dict(state["streams"])
        if state["pipeline"] is not None:
            self._parts.pipeline.load_state_dict(state["pipeline"])
        for name, part in self._stateful.items():
            part.load_state_dict(state["parts"][name])
        self._tenure = Tenure.from_state(self._parts.agent, state["tenure"])
        self._windows, self._env_steps, self._n_tenures = loop["windows"], loop["env_steps"], loop["n_tenures"]
        self._run_start, self._since_tick = Spent(**loop["run_start"]), Spent(**loop["since_tick"])
        self._episodes_since_tick = loop["episodes_since_tick"]
        self._judgement = judgement_from(loop["judgement"])
        self._clock.start(loop["seconds"])

    def _load_agent(self, state: State, weights: str | None) -> None:
        agent, bare = self._parts.agent, state["bare_agent"]
        if bare is None:
            agent.load_state_dict(state["agent"])
            return
        if bare["policy"] is not None:
            agent.load_policy_state(bare["policy"])
        elif weights is not None:
            agent.load_weights(weights)
        agent.set_hyperparams(HyperparamSet(bare["hyperparams"]))

    @property
    def _stateful(self) -> dict[str, Stateful]:
        parts = self._parts
        return {
            "evaluator": parts.evaluator, "tuner": parts.tuner, "rule": parts.rule, "callbacks": parts.callbacks,
            "tracker": self._tracker, "counter": self._counter, "announcer": self._announcer,
        }  # fmt: skip

    # -- where the run stands ----------------------------------------------------------------------------------

    def _spent(self) -> Spent:
        return Spent(self._windows, self._env_steps, self._clock.seconds)

    def _standing(self) -> Window:
        """The present moment, between two windows."""
        return Window(
            self._windows, self._env_steps, self._clock.seconds, self._tenure.made_by, 0, None, None, None
        )  # fmt: skip

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
