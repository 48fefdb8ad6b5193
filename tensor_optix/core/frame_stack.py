"""How do the last few observations become one? Vectors end to end, images as the channels of one image."""

from __future__ import annotations

from collections import deque

import numpy as np


def joined(frames: np.ndarray) -> np.ndarray:
    """n observations [n, ...] as one: vectors end to end, images as channels.

    [n, D] as [n D]; [n, H, W] stays; [n, H, W, C] as [H, W, n C]; [n, C, H, W] as [n C, H, W].
    """
    if frames.ndim == 2:
        return frames.reshape(-1)
    if frames.ndim == 3:
        return frames
    channels_last = frames.shape[-1] <= min(frames.shape[1:3])
    return np.concatenate(list(frames), axis=-1 if channels_last else 0)


class FrameStack:
    """The newest ``n`` observations as one; after ``reset`` the first observation fills the places before it."""

    def __init__(self, n: int) -> None:
        self._frames: deque[np.ndarray] = deque(maxlen=n)

    def reset(self) -> None:
        """A new env episode begins."""
        self._frames.clear()

    def __call__(self, observation: np.ndarray) -> np.ndarray:
        """``observation`` and those before it; with n = 1 the observation itself."""
        n = self._frames.maxlen or 1
        if n == 1:
            return observation
        self._frames.extend([observation] * (n if not self._frames else 1))
        return joined(np.stack(self._frames))
