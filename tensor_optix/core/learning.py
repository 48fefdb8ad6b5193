"""How does P_k become P_{k+1}?"""

from __future__ import annotations

from tensor_optix.core.announcer import Announcer
from tensor_optix.core.cooling import cooled
from tensor_optix.core.course import Course
from tensor_optix.core.diagnosis import Diagnosis
from tensor_optix.core.recovery import Recovery
from tensor_optix.core.types import EpisodeData
from tensor_optix.core.weight_average import WeightAverage
from tensor_optix.errors import NonFiniteError


class Learning:
    """One learn call a window, cooled where a cool-down is on, with a look at whether it went well."""

    def __init__(
        self,
        course: Course,
        average: WeightAverage,
        diagnosis: Diagnosis,
        recovery: Recovery,
        announcer: Announcer,
    ) -> None:
        self._course = course
        self._average = average
        self._diagnosis = diagnosis
        self._recovery = recovery
        self._announcer = announcer

    def from_window(self, data: EpisodeData) -> None:
        """Learn from what P_k has done. Numbers that are not finite bring the best policy back, a few times."""
        course, tenure, judgement = self._course, self._course.tenure, self._course.totals.judgement
        made_by = tenure.agent.get_hyperparams().copy()
        try:
            factor = judgement.cooldown if judgement else None
            with self._diagnosis.treating(tenure.agent), cooled(tenure.agent, factor):
                diagnostics = tenure.agent.learn(data.for_learning())
        except NonFiniteError as error:
            if not self._recovery.is_possible:
                raise
            self._recovery.restore(str(error))
            return
        tenure.diagnostics = dict(diagnostics or {})
        tenure.made_by, tenure.is_scored = made_by, False
        self._average.after(tenure.agent, judgement)
        found = self._diagnosis.after(course.totals.windows, tenure.agent, tenure.diagnostics, data.actions)
        for rule, text in found:
            self._announcer.decided("diagnosed", text, course.standing, {"rule": rule})
        for kind, text, evidence in tenure.agent.decisions:
            self._announcer.decided(kind, text, course.standing, evidence)
