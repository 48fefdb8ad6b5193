"""How are rows drawn in proportion to their mass, when masses change all the time? A sum tree in one array."""

from __future__ import annotations

import numpy as np

from tensor_optix.errors import ConfigError

TOP = 512
"""Levels of up to so many nodes are handled whole: cheaper than picking nodes out of them (measured at M = 64)."""


class SumTree:
    """Masses of ``size`` rows; drawing and changing M of them takes O(M log size), a few NumPy calls a level.

    A complete binary tree lies in one array: node i has the children 2i and 2i + 1, node 1 is the root, leaves are
    the masses. A parent is always computed as left + right, never by adding differences: a tree built anew from its
    leaves is equal bit for bit, and no rounding accumulates (Schaul et al. 2016, appendix B.2.1).
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ConfigError(f"size must be at least 1, got {size}")
        self.size = size
        self._n_leaves = 1 << (size - 1).bit_length()
        self._nodes = np.zeros(2 * self._n_leaves)

    @property
    def total(self) -> float:
        """The sum of all masses."""
        return float(self._nodes[1])

    @property
    def nbytes(self) -> int:
        """Bytes that the tree takes."""
        return self._nodes.nbytes

    def mass(self, rows: np.ndarray) -> np.ndarray:
        """The masses of ``rows``, as they are."""
        masses: np.ndarray = self._nodes.take(rows + self._n_leaves)
        return masses

    def set(self, rows: np.ndarray, masses: np.ndarray | float) -> None:
        """Give ``rows`` new masses, finite and at least 0. Where a row occurs twice the last mass counts."""
        nodes, tree, first = np.asarray(rows) + self._n_leaves, self._nodes, self._n_leaves
        tree[nodes] = masses
        while first > max(TOP, 2 * len(nodes)):
            first >>= 1
            nodes = nodes >> 1
            left = nodes << 1
            tree[nodes] = tree.take(left) + tree.take(left + 1)  # a parent met twice gets the same sum
        self._sum_above(first)

    def rebuild(self, masses: np.ndarray) -> None:
        """Give the first ``len(masses)`` rows these masses, and the others none: O(size)."""
        self._nodes[:] = 0.0
        self._nodes[self._n_leaves : self._n_leaves + len(masses)] = masses
        self._sum_above(self._n_leaves)

    def find(self, heights: np.ndarray) -> np.ndarray:
        """The row at each height of the stacked masses: row i covers [sum of those before, that plus its own).

        heights: in [0, total). A row without mass is never found while there is another.
        """
        tree, first = self._nodes, min(TOP, self._n_leaves)
        level = tree[first : 2 * first]
        stacked = level.cumsum()
        node = np.minimum(stacked.searchsorted(heights, side="right"), first - 1)
        height = heights - (stacked - level).take(node)
        node += first
        while first < self._n_leaves:
            first <<= 1
            node <<= 1
            mass = tree.take(node)
            goes_right = height >= mass
            mass *= goes_right
            height -= mass
            node += goes_right
        is_lost = tree.take(node) == 0.0  # rounding left a height just past the last row with mass
        if is_lost.any():
            node[is_lost] = self._n_leaves + int(tree[self._n_leaves :].argmax())
        rows: np.ndarray = node - self._n_leaves
        return rows

    def _sum_above(self, first: int) -> None:
        """Compute every level above the one that starts at node ``first``."""
        while first > 1:
            first >>= 1
            children = self._nodes[2 * first : 4 * first]
            np.add(children[0::2], children[1::2], out=self._nodes[first : 2 * first])
