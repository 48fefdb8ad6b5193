"""How are rows drawn in proportion to their mass, when masses change all the time? A sum tree over blocks of rows."""

from __future__ import annotations

import numpy as np

from tensor_optix.errors import ConfigError

BLOCK = 8
"""Rows that one leaf stands for: few enough to add up, and a leaf for each row would take three times the memory."""
TOP = 512
"""Levels of up to so many nodes are handled whole: cheaper than picking nodes out of them (measured at M = 64)."""


class SumTree:
    """Masses of ``size`` rows; drawing and changing M of them takes O(M log size), a few NumPy calls a level.

    A complete binary tree lies in one array: node i has the children 2i and 2i + 1, node 1 is the root, leaves are
    the sums of blocks of rows. A sum is always computed from all its parts, never by adding differences: a tree
    built anew from its masses is equal bit for bit, and no rounding accumulates (Schaul et al. 2016, appendix B.2.1).
    """

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ConfigError(f"size must be at least 1, got {size}")
        self.size = size
        n_blocks = -(-size // BLOCK)
        self._masses = np.zeros(n_blocks * BLOCK)
        self._blocks = self._masses.reshape(n_blocks, BLOCK)
        self._n_leaves = 1 << (n_blocks - 1).bit_length()
        self._nodes = np.zeros(2 * self._n_leaves)

    @property
    def total(self) -> float:
        """The sum of all masses."""
        return float(self._nodes[1])

    @property
    def nbytes(self) -> int:
        """Bytes that the tree takes."""
        return self._masses.nbytes + self._nodes.nbytes

    def mass(self, rows: np.ndarray) -> np.ndarray:
        """The masses of ``rows``, as they are."""
        masses: np.ndarray = self._masses.take(rows)
        return masses

    def set(self, rows: np.ndarray, masses: np.ndarray | float) -> None:
        """Give ``rows`` new masses, finite and at least 0. Where a row occurs twice the last mass counts."""
        self._masses[rows] = masses
        blocks = np.asarray(rows) // BLOCK
        nodes, tree, first = blocks + self._n_leaves, self._nodes, self._n_leaves
        tree[nodes] = self._blocks.take(blocks, axis=0).sum(axis=1)  # a node met twice gets the same sum
        while first > max(TOP, 2 * len(nodes)):
            first >>= 1
            nodes = nodes >> 1
            left = nodes << 1
            tree[nodes] = tree.take(left) + tree.take(left + 1)
        self._sum_above(first)

    def rebuild(self, masses: np.ndarray) -> None:
        """Give the first ``len(masses)`` rows these masses, and the others none: O(size)."""
        self._masses[:] = 0.0
        self._masses[: len(masses)] = masses
        self._nodes[self._n_leaves : self._n_leaves + len(self._blocks)] = self._blocks.sum(axis=1)
        self._sum_above(self._n_leaves)

    def find(self, heights: np.ndarray) -> np.ndarray:
        """The row at each height of the stacked masses, [M]: row i covers [sum of those before, that plus its own).

        heights: in [0, total), [M]. A row without mass is never found while there is another.
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
        block = np.minimum(node - self._n_leaves, len(self._blocks) - 1)
        is_passed = self._blocks.take(block, axis=0).cumsum(axis=1) <= height[:, None]
        rows: np.ndarray = block * BLOCK + np.minimum(is_passed.sum(axis=1), BLOCK - 1)
        is_lost = self._masses.take(rows) == 0.0  # rounding left a height just past the last row with mass
        if is_lost.any():
            rows[is_lost] = int(self._masses.argmax())
        return rows

    def _sum_above(self, first: int) -> None:
        """Compute every level above the one that starts at node ``first``."""
        while first > 1:
            first >>= 1
            children = self._nodes[2 * first : 4 * first]
            np.add(children[0::2], children[1::2], out=self._nodes[first : 2 * first])
