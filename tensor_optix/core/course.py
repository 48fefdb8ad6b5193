"""Where does the loop stand: who acts and learns now, and how far has it come?"""

from __future__ import annotations

from collections.abc import Callable

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.budget import Budget, RunClock, Spent
from tensor_optix.core.tenure import Tenure
from tensor_optix.core.totals import Totals
from tensor_optix.core.window import Window


class Course:
    """The present tenure, the totals and the run's clock: what the parts of the loop share and move on."""

    def __init__(self, agent: BaseAgent, clock: Callable[[], float]) -> None:
        self.totals = Totals()
        self.tenure = Tenure.begin(agent, Budget())
        self.clock = RunClock(clock)

    @property
    def agent(self) -> BaseAgent:
        """Who acts and learns now."""
        return self.tenure.agent

    @property
    def spent(self) -> Spent:
        """So far, in the terms of a budget."""
        return self.totals.spent(self.clock.seconds)

    @property
    def standing(self) -> Window:
        """The present moment, between two windows."""
        totals = self.totals
        return Window(totals.windows, totals.env_steps, self.clock.seconds, self.tenure.made_by)
