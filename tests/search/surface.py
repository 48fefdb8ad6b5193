"""A training whose outcome is known: the score rises to a level that depends on the hyperparameters."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from tensor_optix import BaseAgent, BasePipeline, HyperparamSet, Param, Space
from tests.core.scripted import window_of

SPACE = Space(
    learning_rate=Param("log_float", 1e-5, 1e-1, default=1e-4, limits="(0, inf)", tunable=True),
    gamma=Param("float", 0.9, 0.9999, default=0.99, limits="[0, 1)", tunable=True),
    width=Param("int", 8, 64, default=16),
)
WINDOW_STEPS = 10


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
