"""Trainings whose outcome is known: the score rises to a level that depends on the hyperparameters."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tensor_optix import BaseAgent, BasePipeline, HyperparamSet, Param, Space, TrialOrchestrator
from tests.core.scripted import window_of

SPACE = Space(
    learning_rate=Param("log_float", 1e-5, 1e-1, default=1e-4, limits="(0, inf)", tunable=True),
    gamma=Param("float", 0.9, 0.9999, default=0.99, limits="[0, 1)", tunable=True),
    width=Param("int", 8, 64, default=16),
)
WINDOW_STEPS = 10

RUGGED = Space(
    learning_rate=Param("log_float", 1e-5, 1e-1, default=1e-3, limits="(0, inf)", tunable=True),
    gamma=Param("float", 0.9, 0.999, default=0.99, limits="[0, 1)", tunable=True),
    clip_ratio=Param("float", 0.0, 1.0, default=0.5, tunable=True),
    entropy_coef=Param("log_float", 1e-4, 1e-1, default=1e-2, limits="(0, inf)", tunable=True),
)
WINDOWS = 20
"""Of one training on the rugged surface."""


@dataclass(frozen=True)
class Surface:
    """Four hyperparameters, positions 0 to 1: level exp(-|x - optimum|² / 2 w²), speed growing with the first.

    So curves cross. One training in ten, by its seed, reaches a tenth of its level. defaults lie a quarter of each
    range from the optimum. width: with w = 0.32 the best of 20 random trainings is at 0.63 of the optimum's level.
    """

    optimum: tuple[float, ...]
    signs: tuple[int, ...]
    width: float = 0.32
    fails: float = 0.1
    noise: float = 0.05

    @classmethod
    def drawn(cls, number):
        rng = np.random.default_rng([7, number])
        return cls(tuple(rng.uniform(0.2, 0.8, 4)), tuple(int(sign) for sign in rng.choice([-1, 1], 4)))

    @property
    def defaults(self):
        shifted = np.clip(np.array(self.optimum) + 0.25 * np.array(self.signs), 0.0, 1.0)
        return {
            "learning_rate": float(10 ** (4 * shifted[0] - 5)), "gamma": float(1 - 10 ** (-2 * shifted[1] - 1)),
            "clip_ratio": float(shifted[2]), "entropy_coef": float(10 ** (3 * shifted[3] - 4)),
        }  # fmt: skip

    @staticmethod
    def position(params):
        return np.array([
            (np.log10(params["learning_rate"]) + 5) / 4, -(np.log10(1 - params["gamma"]) + 1) / 2,
            params["clip_ratio"], (np.log10(params["entropy_coef"]) + 4) / 3,
        ])  # fmt: skip

    def level(self, params):
        return float(np.exp(-np.sum((self.position(params) - self.optimum) ** 2) / (2 * self.width**2)))

    def score(self, params, updates, fate):
        speed = 0.05 + 0.3 * self.position(params)[0]
        return self.level(params) * (0.1 if fate < self.fails else 1.0) * (1 - np.exp(-speed * updates))


def picked_level(surface, folder, seed, n_trainings, *, is_random=False):
    """The level of what a TrialOrchestrator picks for the steps of so many trainings, and its number of trials.

    What pruning saves is spent on more trials: the search is continued until the steps are used up.
    """
    settings = {"n_startup_trials": 1000, "pruner_warmup_steps": 10 * WINDOWS} if is_random else {}
    n_trials, left = 0, n_trainings * WINDOWS
    while left >= WINDOWS:
        n_trials += left // WINDOWS
        orchestrator = TrialOrchestrator(
            lambda params: RuggedAgent({**surface.defaults, **params}, surface),
            lambda: SurfacePipeline(noise=surface.noise), n_trials=n_trials, trial_steps=WINDOWS * WINDOW_STEPS,
            rloptimizer_kwargs={"checkpoint_dir": folder}, seed=seed, **settings,
        )  # fmt: skip
        params, _ = orchestrator.run()
        spent = sum(len(trial.intermediate_values) for trial in orchestrator.study.get_trials(deepcopy=False))
        left = n_trainings * WINDOWS - spent
    return surface.level(params), n_trials


def level(params):
    """1 at learning_rate = 1e-3 and gamma = 0.99, falling with the distance in decades."""
    off = (np.log10(params["learning_rate"]) + 3) ** 2 / 4 + (np.log10(1 - params.get("gamma", 0.99)) + 2) ** 2 / 4
    return float(np.exp(-off))


class SurfaceAgent(BaseAgent):
    """Its score is the level times how far it has got. kills: (a folder for marks, how many trials die)."""

    def __init__(self, params, kills=None):
        self.params, self.updates, self.kills = {**SPACE.defaults, **params}, 0, kills

    @property
    def param_space(self):
        return SPACE

    def act(self, observation):
        return 0

    def learn(self, episode_data):
        self.updates += 1
        if self.kills and self.updates == 3:
            self._die_once()
        return {}

    def _die_once(self):
        for number in range(self.kills[1]):
            mark = Path(self.kills[0]) / f"killed-{number}"
            if not mark.exists():
                mark.touch()
                os.kill(os.getpid(), 9)

    def get_hyperparams(self):
        return HyperparamSet(dict(self.params))

    def set_hyperparams(self, hyperparams):
        self.params = SPACE.checked(hyperparams.params)

    def save_weights(self, path):
        raise AssertionError

    def load_weights(self, path):
        raise AssertionError

    def policy_state(self):
        return {"updates": np.array(self.updates)}

    def load_policy_state(self, state):
        self.updates = int(state["updates"])

    def score(self):
        return level(self.params) * (1 - 0.8**self.updates)


class RuggedAgent(SurfaceAgent):
    """On a rugged surface; its seed decides whether it ever takes off."""

    def __init__(self, params, surface):
        super().__init__(params)
        self.params, self.surface, self.fate = dict(params), surface, 1.0

    @property
    def param_space(self):
        defaults = self.surface.defaults
        return Space(**{name: replace(param, default=defaults[name]) for name, param in RUGGED.items()})

    def seed(self, rng):
        self.fate = float(rng.random())

    def set_hyperparams(self, hyperparams):
        self.params = RUGGED.checked(hyperparams.params)

    def score(self):
        return self.surface.score(self.params, self.updates, self.fate)


class SurfacePipeline(BasePipeline):
    """One window: ten steps, one finished episode with the agent's score and some noise as its return."""

    def __init__(self, noise=0.02):
        self.noise, self.number = noise, 0

    def setup(self):
        pass

    def seed(self, streams):
        self.rng = streams.stream("surface")

    def set_agent(self, agent):
        self.agent = agent

    def episodes(self):
        while True:
            score = self.agent.score() + self.noise * self.rng.standard_normal()
            yield window_of([None] * (WINDOW_STEPS - 1) + [score], self.number)
            self.number += 1

    def teardown(self):
        pass

    @property
    def is_live(self):
        return False
