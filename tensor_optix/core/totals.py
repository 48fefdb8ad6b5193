"""Where a loop stands, as numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from tensor_optix.core.budget import Spent
from tensor_optix.core.convergence import Judgement, judgement_from, judgement_state


@dataclass
class Totals:
    """windows: collected and done, and so the number of the next one. env_steps: collected. tenures: begun.
    rollbacks: so far. restart: how the rule was restarted since its last tick ("new" or "same" agent), if it was.

    run_start: what had been spent when this ``run()`` began. steps_since_tick, episodes_since_tick: env steps
    collected, and env episodes ended, since the last tick. reached_target: the last one of which that was told.
    judgement: the last one of this tenure.
    """

    windows: int = 0
    env_steps: int = 0
    tenures: int = 0
    run_start: Spent = field(default_factory=Spent)
    steps_since_tick: int = 0
    episodes_since_tick: int = 0
    rollbacks: int = 0
    restart: str = ""
    reached_target: float | None = None
    judgement: Judgement | None = None

    def spent(self, seconds: float) -> Spent:
        """These totals in the terms of a budget."""
        return Spent(self.windows, self.env_steps, seconds)

    def state_dict(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "judgement": judgement_state(self.judgement)}

    @classmethod
    def from_state(cls, state: dict[str, Any]) -> Totals:
        """The inverse of ``state_dict``."""
        run_start = Spent(**state["run_start"])
        return cls(**{**state, "run_start": run_start, "judgement": judgement_from(state["judgement"])})
