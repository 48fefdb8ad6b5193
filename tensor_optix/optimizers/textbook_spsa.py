"""SPSA as Spall (1992) gives it: two measurements of the score, one gradient estimate, one step."""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.optimizers.tuner import Design, Move, Offsets, Standing

MAX_PERTURBATION = 0.2


class TextbookSPSA(Design):
    """In the unit cube, with Δ drawn from {-1, +1} for each hyperparameter:

        f⁺ = score after learning at x + c Δ        f⁻ = score after learning at x - c Δ
        ĝ_i = clip((f⁺ - f⁻) / (2 c Δ_i))           x ← clip(x + a ĝ, 0, 1)

    Its bias is O(c²). It compares levels: progress between the two measurements, and their noise, enter the estimate.
    perturbation: c, between ``min_perturbation`` and 0.2; it shrinks when the run improves and doubles on a plateau.
    learning_rate: a. gradient_clip: bound on each |ĝ_i|.
    """

    def __init__(
        self, perturbation: float, learning_rate: float, *, min_perturbation: float, gradient_clip: float
    ) -> None:
        self._c, self._a = perturbation, learning_rate
        self._min_c, self._clip = min_perturbation, gradient_clip
        self._delta: dict[str, float] = {}
        self._f_plus: float | None = None

    def after(self, standing: Standing) -> Move:
        score = standing.scores[-1]
        if not self._delta:
            self._delta = {name: float(standing.rng.choice((-1.0, 1.0))) for name in standing.box}
            return Move(probe=self._perturbation(+1))
        if self._f_plus is None:
            self._f_plus = score
            return Move(probe=self._perturbation(-1))
        step = self._step(self._f_plus, score)
        self.interrupted()
        return Move(commit=step)

    def interrupted(self) -> None:
        self._delta, self._f_plus = {}, None

    def on_improvement(self) -> None:
        self._c = max(0.8 * self._c, self._min_c)

    def on_plateau(self) -> None:
        self._c = min(2.0 * self._c, MAX_PERTURBATION)
        self.interrupted()

    def state_dict(self) -> dict[str, Any]:
        return {"c": self._c, "delta": dict(self._delta), "f_plus": self._f_plus}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._c, self._delta, self._f_plus = state["c"], dict(state["delta"]), state["f_plus"]

    def _perturbation(self, sign: int) -> Offsets:
        return {name: sign * self._c * delta for name, delta in self._delta.items()}

    def _step(self, f_plus: float, f_minus: float) -> Offsets:
        gradient = {name: (f_plus - f_minus) / (2 * self._c * delta) for name, delta in self._delta.items()}
        return {name: self._a * float(np.clip(g, -self._clip, self._clip)) for name, g in gradient.items()}
