"""MomentumOptimizer: Adam on finite-difference estimates of each hyperparameter's effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tensor_optix.errors import ConfigError
from tensor_optix.optimizers.finite_difference import SIGNS, gain_difference
from tensor_optix.optimizers.tuner import AnchoredTuner, Design, Move, Offsets, Standing

SIGNIFICANT = 2.6


@dataclass(frozen=True)
class Moments:
    """Adam's two moving averages of one hyperparameter's effect g (Kingma & Ba 2015, algorithm 1).

    m ← β₁ m + (1 - β₁) g,   v ← β₂ v + (1 - β₂) g²,   both divided by 1 - βᵗ when read.
    """

    m: float = 0.0
    v: float = 0.0
    t: int = 0

    def after(self, g: float, beta1: float, beta2: float) -> Moments:
        """The averages after one more effect."""
        return Moments(beta1 * self.m + (1 - beta1) * g, beta2 * self.v + (1 - beta2) * g * g, self.t + 1)

    def step(self, beta1: float, beta2: float, eps: float) -> float:
        """m̂ / (√v̂ + ε) where it is significant, else 0.

        For effects that are noise alone, m̂ / √v̂ has the deviation √(Σ w_i²) of the weights w_i that m̂ gives them.
        """
        mean, root = self.m / (1 - beta1**self.t), math.sqrt(self.v / (1 - beta2**self.t))
        error = math.sqrt((1 - beta1) / (1 + beta1) * (1 + beta1**self.t) / (1 - beta1**self.t))
        ratio = mean / (root + eps)
        return ratio if self.t > 3 and abs(ratio) > SIGNIFICANT * error else 0.0


class AdamOnDifferences(Design):
    """+ - - + on one hyperparameter after the other; each experiment updates its moments, and may move it."""

    def __init__(
        self, alpha: float, beta1: float, beta2: float, eps: float, *, probe_scale: float, min_effect: float
    ) -> None:
        self._alpha, self._adam = alpha, (beta1, beta2, eps)
        self._probe_scale, self._min_effect = probe_scale, min_effect
        self._moments: dict[str, Moments] = {}
        self._turn, self._done = 0, 0

    def after(self, standing: Standing) -> Move:
        names = list(standing.box)
        commit: Offsets = {}
        if self._done == len(SIGNS):
            name = names[self._turn % len(names)]
            commit = {name: self._step(name, gain_difference(standing.scores))}
            self._turn, self._done = self._turn + 1, 0
        self._done += 1
        probed = names[self._turn % len(names)]
        return Move(commit, probe={probed: SIGNS[self._done - 1] * self._probe_scale})

    def interrupted(self) -> None:
        self._done = 0

    def state_dict(self) -> dict[str, Any]:
        moments = {name: asdict(moment) for name, moment in self._moments.items()}
        return {"moments": moments, "turn": self._turn, "done": self._done}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._moments = {name: Moments(**moment) for name, moment in state["moments"].items()}
        self._turn, self._done = state["turn"], state["done"]

    def _step(self, name: str, effect: float) -> float:
        beta1, beta2, eps = self._adam
        g = effect if abs(effect) > self._min_effect else 0.0
        self._moments[name] = self._moments.get(name, Moments()).after(g, beta1, beta2)
        return self._alpha * self._moments[name].step(beta1, beta2, eps)


class MomentumOptimizer(AnchoredTuner):
    """Adam over the hyperparameters, on effects measured one hyperparameter at a time in the order + - - +.

    param_bounds: what to tune (see ``AnchoredTuner``). alpha: step in units of the range; beta1, beta2, eps: Adam's.
    probe_scale: width of a probe in units of the range. min_delta: effects below this, in units of the scores' range
    so far, count as none.
    """

    def __init__(
        self,
        param_bounds: Mapping[str, tuple[float, float]] | None = None,
        alpha: float = 0.05,
        beta1: float = 0.9,
        beta2: float = 0.999,
        eps: float = 1e-8,
        probe_scale: float = 0.05,
        min_delta: float = 1e-7,
    ) -> None:
        if not (0 < alpha <= 0.5 and 0 < probe_scale <= 0.5):
            raise ConfigError(f"alpha and probe_scale must be in (0, 0.5], got {alpha} and {probe_scale}")
        if not (0 <= beta1 < 1 and 0 <= beta2 < 1 and eps > 0):
            raise ConfigError(f"beta1 and beta2 must be in [0, 1) and eps above 0, got {beta1}, {beta2}, {eps}")
        if not min_delta >= 0:
            raise ConfigError(f"min_delta must be at least 0, got {min_delta}")
        design = AdamOnDifferences(alpha, beta1, beta2, eps, probe_scale=probe_scale, min_effect=min_delta)
        super().__init__(design, param_bounds)
