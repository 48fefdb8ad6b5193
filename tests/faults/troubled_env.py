"""Environments that get into trouble in a process of their own; imports no more than that process needs."""

import os
import signal
import time

import gymnasium as gym
import numpy as np
from gymnasium.spaces import Box, Discrete

LENGTH = 6


class Troubled(gym.Env):
    """Observes [seeded draw, step, process id]; does ``trouble`` in step 3 unless ``flag`` says that it was done."""

    def __init__(self, trouble=None, flag=None, where="step"):
        self.observation_space = Box(-np.inf, np.inf, (3,), np.float64)
        self.action_space = Discrete(2)
        self.trouble, self.flag, self.where, self.steps = trouble, flag, where, 0
        self._get_into_trouble("start")

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps, self.draw = 0, self.np_random.random()
        self._get_into_trouble("reset")
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        if self.steps == 3:
            self._get_into_trouble("step")
        return self._observation(), 1.0, self.steps == LENGTH, False, {"worker": os.getpid()}

    def close(self):
        self._get_into_trouble("close")

    def _observation(self):
        return np.array([self.draw, self.steps, self.draw + self.steps])

    def _get_into_trouble(self, where):
        if self.trouble is None or where != self.where or (self.flag is not None and self.flag.exists()):
            return
        if self.flag is not None:
            self.flag.touch()
        TROUBLES[self.trouble]()


def fail():
    raise ValueError("out of order")


TROUBLES = {
    "dies": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "aborts": lambda: os.kill(os.getpid(), signal.SIGABRT),
    "hangs": lambda: time.sleep(3600),
    "raises": fail,
}
