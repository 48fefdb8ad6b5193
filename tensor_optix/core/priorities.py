"""With what probability is each row of a replay drawn, and what makes up for it?

Proportional prioritisation (Schaul et al. 2016, "Prioritized experience replay").
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tensor_optix.core.sum_tree import SumTree
from tensor_optix.errors import ConfigError, NonFiniteError


def importance_weights(probability: np.ndarray, n_rows: int, beta: float) -> np.ndarray:
    """What makes the mean over drawn rows a mean over all rows again, at β = 1 (section 3.4).

        w_i = (N P(i))^-β / max_j w_j

    probability: P(i), [K, B]; the maximum is that of each batch (row), so that weights only ever shrink an update.
    """
    weight = (n_rows * probability) ** -beta
    scaled: np.ndarray = weight / weight.max(axis=-1, keepdims=True)
    return scaled


class Priorities:
    """p_i of every row, and draws with P(i) = p_i^α / Σ p_j^α; with α = 0 all rows are alike and nothing is stored.

    New rows get the largest priority so far, so that each is learned from soon. p_i = |δ_i| + eps after an update.
    ``alpha`` may be changed at any time: priorities are kept as they are, and only their powers are computed anew.
    """

    def __init__(self, capacity: int, *, alpha: float, eps: float) -> None:
        if not 0.0 < eps < np.inf:
            raise ConfigError(f"eps must be a finite number above 0 (else a row with error 0 is lost), got {eps}")
        self._capacity = capacity
        self._eps = eps
        self._alpha = _checked_alpha(alpha)
        self._largest = 1.0
        self._n_rows = 0
        self._priority: np.ndarray | None = None
        self._tree: SumTree | None = None

    @property
    def alpha(self) -> float:
        """α: 0 draws uniformly, 1 in proportion to the priorities."""
        return self._alpha

    @alpha.setter
    def alpha(self, alpha: float) -> None:
        if _checked_alpha(alpha) != self._alpha:
            self._alpha = float(alpha)
            self._tree = None

    @property
    def nbytes(self) -> int:
        """Bytes that priorities and tree take."""
        return (0 if self._priority is None else self._priority.nbytes) + (self._tree.nbytes if self._tree else 0)

    def add(self, rows: np.ndarray, n_rows: int) -> None:
        """``rows`` hold new transitions, ``n_rows`` are filled by now."""
        self._n_rows = n_rows
        if self._priority is not None:
            self._set(rows, np.full(len(rows), self._largest, dtype=np.float32))

    def update(self, rows: np.ndarray, td_error: np.ndarray) -> None:
        """Priorities |δ| + eps for ``rows``, [M] each. Raises NonFiniteError or ConfigError and changes nothing."""
        error = np.abs(np.asarray(td_error, dtype=np.float64))
        if not np.isfinite(error).all():
            raise NonFiniteError("td_error must be finite, got NaN or infinity: lower the learning rate")
        priority = np.minimum(error + self._eps, np.finfo(np.float32).max).astype(np.float32)
        where = np.asarray(rows)
        if where.shape != priority.shape or (where.size and not 0 <= where.min() <= where.max() < self._n_rows):
            raise ConfigError(
                f"td_error must be one number for each drawn row, and rows lie in 0 to {self._n_rows - 1}: got "
                f"{priority.shape} numbers for {where.shape} rows"
            )
        if priority.size:
            self._set(where, priority)
            self._largest = max(self._largest, float(priority.max()))

    def draw(self, n_batches: int, batch_size: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """``(rows, P of each)``, [K, B] each: every batch draws once from each of B equal parts of the mass."""
        tree = self._current_tree()
        parts = np.arange(batch_size) + rng.random((n_batches, batch_size))
        rows = tree.find((parts * (tree.total / batch_size)).ravel())
        probability = tree.mass(rows) / tree.total
        return rows.reshape(parts.shape), probability.reshape(parts.shape)

    def state_dict(self) -> dict[str, Any]:
        """All priorities; the tree is a function of them."""
        priority = None if self._priority is None else self._priority[: self._n_rows].copy()
        return {"alpha": self._alpha, "largest": self._largest, "priority": priority}

    def load_state_dict(self, state: dict[str, Any], *, n_rows: int) -> None:
        """Continue where ``state_dict`` was taken, with ``n_rows`` rows. Raises ConfigError and changes nothing."""
        alpha, largest, priority = _checked_alpha(state["alpha"]), float(state["largest"]), state["priority"]
        known = np.array([largest]) if priority is None else np.append(priority, largest)
        is_complete = priority is None or np.shape(priority) == (n_rows,)
        if not is_complete or not (np.isfinite(known) & (known > 0.0)).all():
            raise ConfigError(f"stored priorities must be {n_rows} finite numbers above 0")
        self._alpha, self._largest, self._n_rows = alpha, largest, n_rows
        self._priority = self._tree = None
        if priority is not None:
            self._stored()[:n_rows] = priority

    def _set(self, rows: np.ndarray, priority: np.ndarray) -> None:
        stored = self._stored()
        stored[rows] = priority
        if self._tree is not None:
            self._tree.set(rows, self._powers(stored[rows]))

    def _stored(self) -> np.ndarray:
        if self._priority is None:
            self._priority = np.zeros(self._capacity, dtype=np.float32)
            self._priority[: self._n_rows] = self._largest
        return self._priority

    def _current_tree(self) -> SumTree:
        if self._tree is None:
            self._tree = SumTree(self._capacity)
            self._tree.rebuild(self._powers(self._stored()[: self._n_rows]))
        return self._tree

    def _powers(self, priority: np.ndarray) -> np.ndarray:
        powers: np.ndarray = priority.astype(np.float64) ** self._alpha
        return powers


def _checked_alpha(alpha: float) -> float:
    if not 0.0 <= alpha < np.inf:
        raise ConfigError(f"alpha must be a finite number of at least 0 (0: uniform), got {alpha}")
    return float(alpha)
