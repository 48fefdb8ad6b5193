"""Where do transitions live so that each observation is stored once, and n-step targets cross no episode's end?

A ring of rows, one array a field. Every row knows its successor: either another row (the next step of the same
environment), or, at the ends of env episodes and at the open end of each environment, a final observation in a pool.
n-step targets follow these links when they are asked for, so n and γ may differ from one call to the next.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.observation_pool import ObservationPool
from tensor_optix.core.replay_rows import Rows
from tensor_optix.errors import ConfigError

NO_ROW = -1
MAX_CAPACITY = 2**31 - 1  # links are 32 bits
FIELDS = ("observation", "action", "reward", "terminated")


class TransitionRing:
    """The newest ``capacity`` transitions, the oldest being written over first."""

    def __init__(self, capacity: int) -> None:
        if not 1 <= capacity <= MAX_CAPACITY:
            raise ConfigError(f"capacity must lie in [1, {MAX_CAPACITY}], got {capacity}")
        self.capacity = capacity
        self._size = 0
        self._head = 0  # where the next row goes
        self._columns: dict[str, np.ndarray] = {}
        self._link = np.zeros(0, dtype=np.int32)  # row -> row of its successor, or ~slot of it in the pool
        self._finals = ObservationPool()
        self._open_rows: list[int] = []  # by environment: its newest row, where its env episode may go on

    def __len__(self) -> int:
        return self._size

    @property
    def nbytes(self) -> int:
        """Bytes that all arrays take once the ring is full."""
        return sum(column.nbytes for column in self._columns.values()) + self._link.nbytes + self._finals.nbytes

    def append(self, rows: Rows) -> np.ndarray:
        """Store ``rows``; returns where, [R] (the last ``capacity`` of them where there are more)."""
        if len(rows) > self.capacity:
            rows = rows.last(self.capacity)
        self._fit(rows)
        where = (self._head + np.arange(len(rows))) % self.capacity
        self._forget(where)
        self._join(rows, where)
        for name, column in rows.columns.items():
            self._write(self._columns[name], column)
        self._write(self._link, (where + 1) % self.capacity)
        self._link[where[rows.ends]] = ~self._finals.put(rows.successors)
        self._head = (self._head + len(rows)) % self.capacity
        self._size = min(self._size + len(rows), self.capacity)
        return where

    def close(self) -> None:
        """Nothing that comes goes on where the rows so far left off."""
        self._open_rows = []

    def transitions(self, index: np.ndarray, *, n_step: int, gamma: float) -> dict[str, np.ndarray]:
        """n-step transitions that start at the rows ``index``, [M, ...] by name.

            reward = Σ_{k<m} γ^k r_{t+k}        next_observation = s_{t+m}        discount = γ^m (1 - terminated)

        m (``n_used``) is n, or less where the env episode ends sooner or nothing newer is known of it yet. The
        target reward + discount · V(next_observation) is right for every m (Sutton & Barto 2018, eq. 7.1).
        """
        row, link = index, self._link.take(index)
        reward = self._columns["reward"].take(index)
        n_used = np.ones(len(index), dtype=np.int64)
        power: Any = np.float32(gamma)  # γ^m
        for step in range(1, n_step):
            goes_on = link >= 0
            row = np.where(goes_on, link, row)
            reward += self._columns["reward"].take(row) * (goes_on * np.float32(gamma**step))
            n_used += goes_on
            power = np.where(goes_on, np.float32(gamma ** (step + 1)), power)
            link = self._link.take(row)
        terminated = self._columns["terminated"].take(row)
        return {
            "observation": self._columns["observation"].take(index, axis=0),
            "action": self._columns["action"].take(index, axis=0),
            "reward": reward,
            "next_observation": self._successors(link),
            "terminated": terminated.astype(np.float32),
            "discount": ~terminated * power,
            "n_used": n_used,
        }

    def state_dict(self) -> dict[str, Any]:
        """The filled rows, in copies."""
        return {
            "capacity": self.capacity,
            "head": self._head,
            "size": self._size,
            "open_rows": list(self._open_rows),
            "columns": {name: column[: self._size].copy() for name, column in self._columns.items()},
            "links": {"link": self._link[: self._size].copy()} if self._columns else {},
            "finals": self._finals.state_dict(),
        }

    @classmethod
    def from_state(cls, capacity: int, state: dict[str, Any]) -> TransitionRing:
        """The ring whose ``state_dict`` this is. Raises ConfigError for what no ring of this capacity gave."""
        if state["capacity"] != capacity:
            raise ConfigError(f"the stored replay has capacity {state['capacity']}, this one {capacity}")
        ring = cls(capacity)
        ring._head, ring._size, ring._open_rows = state["head"], state["size"], list(state["open_rows"])
        ring._finals.load_state_dict(state["finals"])
        if state["columns"]:
            ring._allocate({name: np.asarray(state["columns"][name]) for name in FIELDS})
            for name in FIELDS:
                ring._columns[name][: ring._size] = state["columns"][name]
            ring._link[: ring._size] = state["links"]["link"]
        ring._check()
        return ring

    def _successors(self, link: np.ndarray) -> np.ndarray:
        observation = self._columns["observation"].take(link, axis=0, mode="clip")
        in_pool = (link < 0).nonzero()[0]
        if in_pool.size:
            observation[in_pool] = self._finals.take(~link[in_pool])
        return observation

    def _write(self, stored: np.ndarray, column: np.ndarray) -> None:
        """Put ``column`` from the head on: in one stretch, or in two where the ring begins anew."""
        n_first = min(len(column), self.capacity - self._head)
        stored[self._head : self._head + n_first] = column[:n_first]
        if n_first < len(column):
            stored[: len(column) - n_first] = column[n_first:]

    def _forget(self, where: np.ndarray) -> None:
        """Free what the rows at ``where``, which are about to be written over, have in the pool."""
        if self._size + len(where) <= self.capacity:
            return
        links = self._link[where]
        self._finals.free((~links[links < 0]).tolist())
        n_after_head = [(row - self._head) % self.capacity for row in self._open_rows]
        self._open_rows = [
            row if row != NO_ROW and distance >= len(where) else NO_ROW
            for row, distance in zip(self._open_rows, n_after_head, strict=True)
        ]

    def _join(self, rows: Rows, where: np.ndarray) -> None:
        """Link the open row of each environment to its next one: the same observation shows that it goes on."""
        if len(self._open_rows) != len(rows.segments):
            self._open_rows = [NO_ROW] * len(rows.segments)
        for env, (start, stop) in enumerate(rows.segments):
            if stop == start:
                continue
            newest = self._open_rows[env]
            if newest != NO_ROW:
                slot = ~int(self._link[newest])
                if (self._finals[slot] == rows.columns["observation"][start]).all():
                    self._link[newest] = where[start]
                    self._finals.free([slot])
            self._open_rows[env] = int(where[stop - 1]) if rows.may_go_on[env] else NO_ROW

    def _fit(self, rows: Rows) -> None:
        """Arrays for these rows: allocated at first, of a wider type where whole numbers become fractions later."""
        if not self._columns:
            self._allocate(rows.columns)
        for name, column in rows.columns.items():
            stored = self._columns[name]
            if stored.shape[1:] != column.shape[1:]:
                raise ConfigError(
                    f"{name} has shape {column.shape[1:]} but the replay holds rows of shape {stored.shape[1:]}"
                )
            if stored.dtype != column.dtype:
                self._columns[name] = stored.astype(np.result_type(stored, column), copy=False)
        self._finals.fit(self._columns["observation"])

    def _allocate(self, columns: dict[str, np.ndarray]) -> None:
        for name, column in columns.items():
            if column.dtype.kind not in "biuf":
                raise ConfigError(f"{name} must hold numbers, got {column.dtype}")
            self._columns[name] = np.zeros((self.capacity, *column.shape[1:]), dtype=column.dtype)
        self._link = np.zeros(self.capacity, dtype=np.int32)
        self._finals.fit(self._columns["observation"])

    def _check(self) -> None:
        link, rows = self._link[: self._size], [row for row in self._open_rows if row != NO_ROW]
        is_sound = (
            0 <= self._size <= self.capacity
            and self._head == (self._head if self._size == self.capacity else self._size) % self.capacity
            and 0 <= self._head < self.capacity
            and len(link) == (self._size if self._columns else 0)
            and (not len(link) or (link.max() < self._size and -1 - link.min() < len(self._finals)))
            and all(0 <= row < self._size and link[row] < 0 for row in rows)
        )
        if not is_sound:
            raise ConfigError("the stored replay contradicts itself: its rows, links or counters are out of range")
