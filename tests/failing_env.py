"""An environment that fails again and again, and works in between."""

from tensor_optix.testing import FailingEnv


class FailsEverySecondEpisode(FailingEnv):
    """In its second step."""

    resets = 0

    def reset(self, *, seed=None, options=None):
        self.resets += 1
        self.at_step = 2 if self.resets % 2 == 0 else 100
        return super().reset(seed=seed)
