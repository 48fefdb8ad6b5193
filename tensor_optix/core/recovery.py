"""How does the agent come back to its best policy in mid-run, and how often may it?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.callbacks import CallbackList
from tensor_optix.core.checkpoint_registry import CheckpointRegistry
from tensor_optix.core.score_tracker import ScoreTracker
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.tuning import Tuning
from tensor_optix.core.types import HyperparamSet, PolicySnapshot
from tensor_optix.core.window import Window

MAX_ROLLBACKS = 3


class Recovery:
    """Restores a snapshot with half the learning rate; the random streams go on, so that it is not the same again."""

    def __init__(
        self,
        registry: CheckpointRegistry,
        tracker: ScoreTracker,
        tuning: Tuning,
        announcer: Announcer,
        callbacks: CallbackList,
    ) -> None:
        self._registry = registry
        self._tracker = tracker
        self._tuning = tuning
        self._announcer = announcer
        self._callbacks = callbacks

    def restore(self, tenure: Tenure, best: PolicySnapshot, why: str, standing: Window) -> Tenure:
        """The tenure goes on from the best policy: its successor. The next tick has no previous score."""
        agent, rate = tenure.agent, learning_rate(tenure.agent, self._tuning)
        snapshot = self._registry.load_best(agent, before_window=standing.number + 1) or best
        _lower(agent, rate)
        self._tracker.restart()
        now = agent.get_hyperparams().params.get("learning_rate")
        evidence = {"snapshot": snapshot.snapshot_id, "score": snapshot.rank, "learning_rate": now}
        self._announcer.decided("rolled back", f"to snapshot {snapshot.snapshot_id}: {why}", standing, evidence)
        self._callbacks.call("on_rollback", snapshot)
        return Tenure.begin(agent, tenure.budget, came_after=tenure.came_after)


def learning_rate(agent: BaseAgent, tuning: Tuning) -> float | None:
    """The agent's, without experiments; None where it has none that is a number."""
    value = tuning.settled(agent.get_hyperparams()).params.get("learning_rate")
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _lower(agent: BaseAgent, before: float | None) -> None:
    """Half the rate that went wrong, or of the snapshot's own where that is smaller."""
    params = agent.get_hyperparams().params
    if before is not None and "learning_rate" in params:
        lower = min(before, params["learning_rate"]) / 2
        agent.set_hyperparams(HyperparamSet({**params, "learning_rate": lower}))
