"""An agent that remembers what it was shown."""

from tensor_optix.core.base_agent import BaseAgent
from tensor_optix.core.types import HyperparamSet


class Watching(BaseAgent):
    """Always action 0; remembers every observation that it was asked about."""

    def __init__(self):
        self.seen = []

    def act(self, observation):
        self.seen.append(observation.copy())
        return 0

    def learn(self, episode_data):
        return {}

    def get_hyperparams(self):
        return HyperparamSet({})

    def set_hyperparams(self, hyperparams): ...
    def save_weights(self, path): ...
    def load_weights(self, path): ...
