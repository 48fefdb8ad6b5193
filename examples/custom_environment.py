"""An environment of your own: written, checked, and trained on.

    python examples/custom_environment.py

A thermostat keeps a room at 20 degrees while the weather outside changes. Needs PyTorch: pip install -e ".[torch]"
"""

from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

from tensor_optix import RLOptimizer, VectorBatchPipeline, check_env_pipeline, make_agent

WANTED, HEATER, LEAK = 20.0, 3.0, 0.1


class Thermostat(gym.Env[np.ndarray, int]):
    """Observation: room and outside temperature, in tens of degrees from the wanted one. Action: heater off, on."""

    observation_space = Box(-np.inf, np.inf, (2,), np.float32)
    action_space = Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)                                     # makes self.np_random: draw from nothing else
        self._room, self._outside = self.np_random.uniform(5.0, 25.0), self.np_random.uniform(-10.0, 15.0)
        self._hours = 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict]:
        self._room += HEATER * action - LEAK * (self._room - self._outside)
        self._outside += self.np_random.normal(0.0, 0.5)
        self._hours += 1
        is_frozen = self._room < 0.0                                 # the end of the task: nothing comes after it
        is_over = self._hours == 48                                  # the end of our patience: it would go on
        return self._seen(), -abs(self._room - WANTED) / 10.0, is_frozen, is_over, {}

    def _seen(self) -> np.ndarray:
        return np.array([self._room - WANTED, self._outside - WANTED], np.float32) / 10.0


def main() -> None:
    for claim in check_env_pipeline(Thermostat):
        print("checked:", claim)
    pipeline = VectorBatchPipeline(Thermostat, n_envs=8, window_size=128)
    agent = make_agent(pipeline, "ppo", "torch", seed=0)
    opt = RLOptimizer(agent=agent, pipeline=pipeline, seed=0, verbose=True)
    opt.run()
    assert opt.result is not None
    print(f"{opt.result.reason.value}: {opt.result.explanation}")


if __name__ == "__main__":
    main()
