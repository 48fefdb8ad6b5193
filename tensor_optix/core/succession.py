"""Nothing more is to be gained: does somebody go on, and with what?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.budget import Budget
from tensor_optix.core.callbacks import Continuation, RunView
from tensor_optix.core.course import Course
from tensor_optix.core.ending import Ending
from tensor_optix.core.judging import Judging
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.mid_run_evaluation import MidRunEvaluation
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.tenure import Tenure, require_same_networks
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import EvalMetrics, StopReason
from tensor_optix.core.watchdog import Watchdog
from tensor_optix.core.window import Window


class Restartable(Protocol):
    """A part that follows one policy."""

    def restart(self) -> None:
        """Another policy is followed from here on."""


class Succession:
    """Begins tenures: the user's agent, those that callbacks offer, and the watch over a policy that only acts.

    followers: the parts that start afresh with every tenure, besides the rules.
    """

    def __init__(
        self,
        parts: LoopParts,
        course: Course,
        judging: Judging,
        tuning: Tuning,
        keeping: Keeping,
        announcer: Announcer,
        followers: Sequence[Restartable],
        *,
        watches: bool,
    ) -> None:
        self._parts = parts
        self._course = course
        self._judging = judging
        self._tuning = tuning
        self._keeping = keeping
        self._announcer = announcer
        self._followers = followers
        self._watches = watches
        self.watchdog = Watchdog()

    def begin(
        self, agent: BaseAgent, budget: Budget, *, is_new: bool, came_after: StopReason | None = None
    ) -> None:
        """Follow this agent's policy as a P_0 from here on: a fresh clock, and nothing to compare it with.

        is_new: another agent than before, of which it is not known that it has learned anything.
        """
        course, totals = self._course, self._course.totals
        course.tenure = Tenure.begin(agent, budget, came_after=came_after)
        for part in self._followers:
            part.restart()
        self._judging.restart(is_new_agent=is_new)
        totals.tenures += 1
        totals.judgement, totals.steps_since_tick, totals.episodes_since_tick = None, 0, 0

    def goes_on(self, ending: Ending, history: Sequence[EvalMetrics], evaluation: MidRunEvaluation) -> bool:
        """Whether the loop goes on after this ending: as a callback wants it, or watching.

        history: what is known of the policies so far, for the callbacks.
        """
        return self._continues(ending, history, evaluation) or self._begins_watching(ending)

    def _continues(self, ending: Ending, history: Sequence[EvalMetrics], evaluation: MidRunEvaluation) -> bool:
        """Ask the callbacks for an agent to go on with."""
        parts, course = self._parts, self._course
        view = self._view(history, evaluation)
        offers: list[Continuation | None] = parts.callbacks.call("after_dormant", view)
        offer = next((offer for offer in offers if offer is not None), None)
        if offer is None:
            return False
        agent, is_new = as_agent(offer.agent), offer.agent is not course.agent
        require_same_networks(parts.agent, agent)
        if is_new:
            agent.seed(parts.streams.stream(f"agent {course.totals.tenures}"))
            parts.pipeline.set_agent(agent)
            if parts.val_pipeline is not None:
                parts.val_pipeline.set_agent(agent)
        budget = Budget(env_steps=offer.max_steps).after(course.spent)
        self.begin(agent, budget, is_new=is_new, came_after=ending.reason)
        text = f"a callback went on after: {ending.explanation}"
        evidence = {"is_new_agent": is_new, "max_steps": offer.max_steps}
        self._announcer.decided("continued", text, course.standing, evidence)
        return True

    def _view(self, history: Sequence[EvalMetrics], evaluation: MidRunEvaluation) -> RunView:
        parts, course = self._parts, self._course

        def tell(kind: str, text: str, evidence: Mapping[str, Any]) -> None:
            self._announcer.decided(kind, text, course.standing, evidence)

        return RunView(course.agent, self._keeping.best, tuple(history), course.totals.env_steps,
                       course.totals.windows, parts.registry, evaluation, parts.streams.stream("callbacks"),
                       tell)  # fmt: skip

    # -- watching ----------------------------------------------------------------------------------------------

    def _begins_watching(self, ending: Ending) -> bool:
        """With ``on_dormant="watch"``: the best policy acts on, and nothing is learned until it has become worse."""
        if not self._watches or self.watchdog.is_on:
            return False
        agent = self._course.agent
        self._parts.registry.load_best(agent)
        self._tuning.settle(agent)
        self.begin(agent, Budget(), is_new=False)
        self.watchdog.start()
        text = f"acts on without learning after: {ending.explanation}"
        self._announcer.decided("watching", text, self._course.standing, {"reason": ending.reason.value})
        return True

    def watched(self, metrics: EvalMetrics | None, tracker: ScoreTracker) -> Window:
        """One window of a policy that is only watched: no verdict, no learning."""
        score = metrics.primary_score if metrics else None
        window = replace(self._course.standing, metrics=metrics, train_score=score, smoothed=tracker.smoothed)
        why = None if score is None else self.watchdog.heard(score)
        if why is not None and metrics is not None:
            self._announcer.fallen(window, metrics, why, {})
            self.watchdog.stop()
            self.begin(self._course.agent, Budget(), is_new=False)
            self._announcer.decided("active", "learns again", window)
        return window
