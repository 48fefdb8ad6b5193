"""Which actions has a vector environment been given since it was started, while they are few enough to be repeated?"""

from __future__ import annotations

import numpy as np

MAX_NUMBERS = 200_000
"""Two megabytes in every commit, and some seconds to repeat on resume: more is not worth it."""


class ActionHistory:
    """Batches of actions, one a step, in arrays that only grow: what was given out is never written over."""

    def __init__(self) -> None:
        self.clear()

    def clear(self) -> None:
        """The vector is started anew."""
        self._batches = np.zeros((0, 1))
        self.n_steps = 0

    @property
    def is_complete(self) -> bool:
        """False where there were too many steps: then none is remembered."""
        return self.n_steps == 0 or len(self._batches) > 0

    @property
    def actions(self) -> np.ndarray:
        """[n_steps, n_envs, ...] while they are remembered, else without rows."""
        return self._batches[: self.n_steps]

    def add(self, batch: np.ndarray) -> None:
        """The vector is stepped with this one."""
        self.n_steps += 1
        if self.n_steps * batch.size > MAX_NUMBERS:
            self._batches = self._batches[:0]
            return
        if self.n_steps > len(self._batches):
            grown = np.zeros((max(64, 2 * len(self._batches)), *batch.shape), dtype=batch.dtype)
            grown[: self.n_steps - 1] = self._batches[: self.n_steps - 1].reshape(-1, *batch.shape)
            self._batches = grown
        self._batches[self.n_steps - 1] = batch
