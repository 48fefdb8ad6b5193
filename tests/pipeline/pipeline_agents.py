"""Agents whose every action is known, for the tests of pipelines."""

import numpy as np

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import HyperparamSet


class ConstantAgent(BaseAgent):
    """Always the same action; learns nothing."""

    def __init__(self, action=0, *, acts_in_unit_box=False):
        self.action = action
        self.spaces = None
        self._acts_in_unit_box = acts_in_unit_box

    @property
    def acts_in_unit_box(self):
        return self._acts_in_unit_box

    def act(self, observation):
        return self.action

    def learn(self, episode_data):
        return {}

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams):
        pass

    def save_weights(self, path):
        pass

    def load_weights(self, path):
        pass

    def check_spaces(self, observation_space, action_space):
        self.spaces = (observation_space, action_space)


class RandomAgent(ConstantAgent):
    """Draws its actions from the caller's stream and reports the draw as an extra; deterministic: action 0."""

    def __init__(self, n=2):
        super().__init__()
        self.n = n

    def act_batch(self, observations, *, rng, deterministic=False):
        draws = np.zeros(len(observations)) if deterministic else rng.random(len(observations))
        return (draws * self.n).astype(int), {"draw": draws}
