"""Where are single observations kept that come and go one by one?"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.errors import ConfigError


class ObservationPool:
    """Observations in numbered slots; a slot that was freed is used again, and more are made by doubling."""

    def __init__(self) -> None:
        self._slots: np.ndarray | None = None
        self._free: list[int] = []

    def __len__(self) -> int:
        return 0 if self._slots is None else len(self._slots)

    @property
    def nbytes(self) -> int:
        """Bytes that all slots take."""
        return 0 if self._slots is None else self._slots.nbytes

    def fit(self, like: np.ndarray) -> None:
        """Hold observations of this shape and type."""
        if self._slots is None:
            self._slots = np.zeros((0, *like.shape[1:]), dtype=like.dtype)
        elif self._slots.dtype != like.dtype:
            self._slots = self._slots.astype(like.dtype)

    def put(self, observations: np.ndarray) -> np.ndarray:
        """Store ``observations``; returns their slots."""
        n = len(observations)
        assert self._slots is not None  # fit comes first
        while len(self._free) < n:
            n_slots = len(self._slots)
            grown = np.zeros((max(16, 2 * n_slots), *self._slots.shape[1:]), dtype=self._slots.dtype)
            grown[:n_slots] = self._slots
            self._free = [*range(len(grown) - 1, n_slots - 1, -1), *self._free]
            self._slots = grown
        slots = np.array(self._free[len(self._free) - n :], dtype=np.int64)
        del self._free[len(self._free) - n :]
        if n:
            self._slots[slots] = observations
        return slots

    def take(self, slots: np.ndarray) -> np.ndarray:
        """The observations in ``slots``."""
        assert self._slots is not None
        return self._slots.take(slots, axis=0)

    def __getitem__(self, slot: int) -> Any:
        """The observation in ``slot``."""
        assert self._slots is not None
        return self._slots[slot]

    def free(self, slots: list[int]) -> None:
        """Their observations are needed no more."""
        self._free += slots

    def state_dict(self) -> dict[str, Any]:
        """All slots, in copies, and which of them are free."""
        if self._slots is None:
            return {}
        return {"slots": self._slots.copy(), "free": np.array(self._free, dtype=np.int64)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue where ``state_dict`` was taken. Raises ConfigError for slots that are not there."""
        self._slots = np.array(state["slots"]) if state else None
        self._free = np.asarray(state["free"]).tolist() if state else []
        if not all(0 <= slot < len(self) for slot in self._free) or len(set(self._free)) < len(self._free):
            raise ConfigError("the stored replay contradicts itself: its free slots are out of range")
