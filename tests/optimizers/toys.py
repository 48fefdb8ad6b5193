"""Agents of one line whose best hyperparameters are known, and a loop that treats a tuner as the real one does."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from tensor_optix.core.hyperparams import Param, Space
from tensor_optix.core.types import EvalMetrics, HyperparamSet, TuningEvidence

SPACE = Space(
    rate=Param("log_float", 1e-5, 1e-1, default=1e-3, limits="(0, inf)", tunable=True),
    width=Param("float", 0.0, 1.0, default=0.5, tunable=True),
    size=Param("int", 8, 64, default=16),
)


def unit(params):
    """Positions of the hyperparameters in their bounds."""
    return np.array([np.log10(params["rate"]) / 4 + 5 / 4, params["width"]])


def params_at(position):
    rate, width = position
    return {"rate": float(10 ** (4 * rate - 5)), "width": float(width)}


@dataclass
class LevelToy:
    """The score responds at once: 1 - Σ (x - optimum)² for the hyperparameters that made the policy."""

    optimum: tuple[float, float] = (0.5, 0.5)
    noise: float = 0.02
    level: float = 0.0

    def learn(self, position):
        self.level = 1.0 - float(np.sum((position - self.optimum) ** 2))

    def score(self, rng):
        return self.level + self.noise * rng.standard_normal()


@dataclass
class SkillToy:
    """Learning is fast near the optimum: the skill closes 3 % of what is left at each step there."""

    optimum: tuple[float, float] = (0.5, 0.5)
    noise: float = 0.02
    reach: float = 0.25
    responds: bool = True
    skill: float = 0.0

    def learn(self, position):
        distance = float(np.sum(((position - self.optimum) / self.reach) ** 2)) if self.responds else 0.0
        self.skill += 0.03 * np.exp(-distance / 2) * (1.0 - self.skill)

    def score(self, rng):
        return self.skill + self.noise * rng.standard_normal()


@dataclass
class Trace:
    """What happened: scores, and the hyperparameters in force at each learn call."""

    scores: list = field(default_factory=list)
    made_by: list = field(default_factory=list)
    final: dict = field(default_factory=dict)


def train(toy, tuner, start, n_ticks=300, seed=0, scale=1.0, shift=0.0):
    """Score P_k, let the tuner observe (H_{k-1}, score of P_k) and suggest H_k, learn with H_k."""
    rng = np.random.default_rng(seed)
    tuner.expect(SPACE)
    tuner.seed(np.random.default_rng(seed + 1))
    params, made_by, previous, history, trace = dict(start), dict(start), None, [], Trace()
    toy.learn(unit(params))
    for _ in range(n_ticks):
        score = scale * toy.score(rng) + shift
        history.append(EvalMetrics(score, {}, len(history)))
        trace.scores.append(score)
        trace.made_by.append(made_by)
        if previous is not None:
            tuner.observe(TuningEvidence(made_by, score, previous, 1, 1))
            params = dict(tuner.suggest(HyperparamSet(dict(params)), history).params)
        previous, made_by = score, params
        toy.learn(unit(params))
    trace.final = tuner.settled(HyperparamSet(params)).params
    return trace


def distance(params, optimum=(0.5, 0.5)):
    return float(np.linalg.norm(unit(params) - np.asarray(optimum)))
