"""How does the agent come back to its best policy in mid-run, and how often may it?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.cooling import can_be_cooled
from tensor_optix.core.course import Course
from tensor_optix.core.ending import Ending
from tensor_optix.core.keeping import Keeping
from tensor_optix.core.loop_parts import LoopParts
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import HyperparamSet, StopReason

MAX_ROLLBACKS = 3


class Recovery:
    """Restores a snapshot with half the learning rate; the random streams go on, so that it is not the same again.

    A learning rate under a schedule is left to it. What made the snapshot may have been an experiment of the tuner's,
    which one lucky score does not prove: the tuner's settled values stay.
    """

    def __init__(
        self,
        parts: LoopParts,
        course: Course,
        tracker: ScoreTracker,
        tuning: Tuning,
        keeping: Keeping,
        announcer: Announcer,
    ) -> None:
        self._parts = parts
        self._course = course
        self._tracker = tracker
        self._tuning = tuning
        self._keeping = keeping
        self._announcer = announcer

    @property
    def is_possible(self) -> bool:
        """True while there is a policy to come back to, and it has not been tried too often."""
        return self._keeping.best is not None and self._course.totals.rollbacks < MAX_ROLLBACKS

    def given_up(self, why: str) -> Ending:
        """What follows one fall too many."""
        return Ending(StopReason.COLLAPSED, f"fell again after {MAX_ROLLBACKS} rollbacks: {why}")

    def restore(self, why: str) -> None:
        """The tenure goes on from the best policy. The next tick has no previous score."""
        best, course = self._keeping.best, self._course
        assert best is not None, "only a policy that was kept can come back"
        course.totals.rollbacks += 1
        tenure, agent, standing = course.tenure, course.agent, course.standing
        rate = learning_rate(agent, self._tuning)
        snapshot = self._parts.registry.load_best(agent, before_window=standing.number + 1) or best
        self._tuning.settle(agent)
        _lower(agent, rate)
        self._tracker.restart()
        now = agent.get_hyperparams().params.get("learning_rate")
        evidence = {"snapshot": snapshot.snapshot_id, "score": snapshot.rank, "learning_rate": now}
        self._announcer.decided("rolled back", f"to snapshot {snapshot.snapshot_id}: {why}", standing, evidence)
        self._parts.callbacks.call("on_rollback", snapshot)
        course.tenure = Tenure.begin(agent, tenure.budget, came_after=tenure.came_after)


def learning_rate(agent: BaseAgent, tuning: Tuning) -> float | None:
    """The agent's, without experiments; None where it has none that is a number."""
    value = tuning.settled(agent.get_hyperparams()).params.get("learning_rate")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _lower(agent: BaseAgent, before: float | None) -> None:
    """Half the rate that went wrong, or of the snapshot's own where that is smaller."""
    params = agent.get_hyperparams().params
    if before is not None and can_be_cooled(agent):
        lower = min(before, params["learning_rate"]) / 2
        agent.set_hyperparams(HyperparamSet({**params, "learning_rate": lower}))
