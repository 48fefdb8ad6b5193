"""BackoffOptimizer: one hyperparameter after the other, by finite differences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.finite_difference import SIGNS, gain_difference
from tensor_optix.optimizers.tuner import AnchoredTuner, Design, Move, Offsets, Standing

MIN_EXPERIMENTS, MAX_EXPERIMENTS = 3, 8
SIGNIFICANT = (9.9, 5.8, 4.6, 4.0, 3.7, 3.5)
"""|t| for a move after 3, 4, ... experiments: 1 % false moves each (Student's t), since one looks six times."""

MAX_AFTER_IMPROVEMENT, MAX_AFTER_PLATEAU = 0.3, 0.5


class CyclingDifferences(Design):
    """+ - - + on one hyperparameter, repeated until the effect is significant or it is the next one's turn.

    scale: how far a probe goes and a move leads, in units of the range; it grows when the run improves (a move
    worked), and doubles on a plateau. min_effect: smaller effects, in units of the scores' range, count as none.
    """

    def __init__(self, scale: float, min_effect: float) -> None:
        self._scale, self._min_effect = scale, min_effect
        self._turn, self._done, self._effects = 0, 0, list[float]()

    def after(self, standing: Standing) -> Move:
        name = list(standing.box)[self._turn % len(standing.box)]
        commit: Offsets = {}
        if self._done == len(SIGNS):
            self._done = 0
            self._effects.append(gain_difference(standing.scores))
            sign = self._verdict()
            if sign or len(self._effects) == MAX_EXPERIMENTS:
                commit = {name: sign * self._scale}
                self._turn, self._effects = self._turn + 1, []
                name = list(standing.box)[self._turn % len(standing.box)]
        self._done += 1
        return Move(commit, probe={name: SIGNS[self._done - 1] * self._scale})

    def interrupted(self) -> None:
        self._done, self._effects = 0, []

    def on_improvement(self) -> None:
        self._scale = max(self._scale, min(1.2 * self._scale, MAX_AFTER_IMPROVEMENT))

    def on_plateau(self) -> None:
        self._scale = min(2.0 * self._scale, MAX_AFTER_PLATEAU)
        self.interrupted()

    def state_dict(self) -> dict[str, Any]:
        return {"scale": self._scale, "turn": self._turn, "done": self._done, "effects": list(self._effects)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._scale, self._turn, self._done = state["scale"], state["turn"], state["done"]
        self._effects = list(state["effects"])

    def _verdict(self) -> int:
        n = len(self._effects)
        if n < MIN_EXPERIMENTS:
            return 0
        mean, error = float(np.mean(self._effects)), float(np.std(self._effects, ddof=1)) / n**0.5
        is_clear = abs(mean) > max(SIGNIFICANT[n - MIN_EXPERIMENTS] * error, self._min_effect)
        return int(np.sign(mean)) if is_clear else 0


class BackoffOptimizer(AnchoredTuner):
    """Cycles through the hyperparameters, each by a finite difference in the order + - - +.

    param_bounds: what to tune (see ``AnchoredTuner``). perturbation_scale: width of a probe in units of the range.
    min_delta: effects below this, in units of the scores' range so far, count as none; gradient_threshold: the same
    for the effect divided by the width.
    """

    def __init__(
        self,
        param_bounds: Mapping[str, tuple[float, float]] | None = None,
        perturbation_scale: float = 0.05,
        min_delta: float = 1e-4,
        gradient_threshold: float = 1e-10,
    ) -> None:
        if not 0 < perturbation_scale <= MAX_AFTER_PLATEAU:
            raise ConfigError(f"perturbation_scale must be in (0, {MAX_AFTER_PLATEAU}], got {perturbation_scale}")
        if not (min_delta >= 0 and gradient_threshold >= 0):
            raise ConfigError(
                f"min_delta and gradient_threshold must be at least 0, got {min_delta} and {gradient_threshold}"
            )
        min_effect = max(min_delta, gradient_threshold * perturbation_scale)
        super().__init__(CyclingDifferences(perturbation_scale, min_effect), param_bounds)
