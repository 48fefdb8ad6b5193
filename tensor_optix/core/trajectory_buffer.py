"""From a window to what policy gradients need: advantages, returns and minibatches. NumPy on the host."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from tensor_optix.errors import ConfigError

MANY_ENVS = 10
"""Above so many environments one NumPy operation a step beats one Python float a row (benchmarks/gae.py)."""


def compute_gae(
    rewards: ArrayLike,
    values: ArrayLike,
    dones: ArrayLike,
    gamma: float = 0.99,
    gae_lambda: float = 0.95,
    last_value: ArrayLike = 0.0,
    *,
    terminated: ArrayLike | None = None,
    next_values: ArrayLike | None = None,
    segments: Sequence[tuple[int, int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Advantages and returns, float32 [T] each (Schulman et al. 2016, "GAE", eq. 16).

        δ_t = r_t + γ V(s'_t) (1 - terminated_t) - V(s_t)
        A_t = δ_t + γ λ (1 - end_t) A_{t+1}             R_t = A_t + V(s_t)

    rewards, values, dones: [T]; ``dones`` is terminated-or-truncated. end_t: dones, and the end of each segment.

    terminated, next_values: [T], given together. ``next_values`` is V of the true successor of each row, so that a
    truncated row bootstraps from its final observation. Without them ``dones`` cuts the bootstrap too, V(s'_t) is
    the next row's value, and ``last_value`` (a number, or one a segment) that of each segment's last row.

    segments: row ranges that belong to different environments; default: all rows are one.
    Raises ConfigError when lengths differ.
    """
    reward, value = np.asarray(rewards, dtype=np.float64), np.asarray(values, dtype=np.float64)
    end = np.array(dones, dtype=bool)
    if (terminated is None) != (next_values is None):
        raise ConfigError("compute_gae takes terminated and next_values together, got only one of them")
    last_rows = [stop - 1 for start, stop in segments or [(0, len(reward))] if stop > start]
    if terminated is None or next_values is None:
        cut, successor = end.copy(), np.roll(value, -1)
        successor[last_rows] = last_value
    else:
        cut, successor = np.asarray(terminated, dtype=bool), np.asarray(next_values, dtype=np.float64)
    lengths = {name: len(x) for name, x in _named(rewards=reward, values=value, dones=end, terminated=cut)}
    if len({*lengths.values(), len(successor)}) > 1:
        raise ConfigError(f"compute_gae needs rows of equal length, got {lengths}, next_values: {len(successor)}")
    end[last_rows] = True
    delta = reward + gamma * np.where(cut, 0.0, successor) - value  # not a product: NaN · 0 is NaN
    advantage = _discounted_sums(delta, gamma * gae_lambda * ~end, _equal_length(segments, len(reward)))
    return _float32(advantage), _float32(advantage + value)


def _float32(x: np.ndarray) -> np.ndarray:
    """``x`` in float32; what is too large for it becomes its largest number, and not infinite."""
    limit = float(np.finfo(np.float32).max)
    narrow: np.ndarray = np.clip(x, -limit, limit).astype(np.float32)
    return narrow


def _named(**arrays: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    yield from arrays.items()


def _equal_length(segments: Sequence[tuple[int, int]] | None, n_rows: int) -> int | None:
    """The length of the segments, where there are many, all equally long, and they hold every row in order."""
    if segments is None or len(segments) <= MANY_ENVS or n_rows % len(segments):
        return None
    length = n_rows // len(segments)
    starts = range(0, n_rows, length) if length else ()
    return length if list(map(tuple, segments)) == [(start, start + length) for start in starts] else None


def _discounted_sums(terms: np.ndarray, decay: np.ndarray, segment_length: int | None) -> np.ndarray:
    """``x_t = terms_t + decay_t x_{t+1}``, backwards, [T]; the same numbers, bit for bit, by either way."""
    if segment_length is None:
        return np.array(_sums_of_floats(terms, decay))
    totals = np.ascontiguousarray(terms.reshape(-1, segment_length).T)                               # [T/N, N]
    factors = np.ascontiguousarray(decay.reshape(-1, segment_length).T)
    for step in range(segment_length - 2, -1, -1):
        totals[step] += factors[step] * totals[step + 1]
    return totals.T.reshape(-1)


def _sums_of_floats(terms: np.ndarray, decay: np.ndarray) -> list[float]:
    """One row after the other. Python floats: seven times faster here than NumPy scalars."""
    total, sums = 0.0, []
    for term, factor in zip(terms[::-1].tolist(), decay[::-1].tolist(), strict=True):
        total = term + factor * total
        sums.append(total)
    sums.reverse()
    return sums


def make_minibatches(
    data: Mapping[str, np.ndarray],
    minibatch_size: int,
    shuffle: bool = True,
    *,
    rng: np.random.Generator | None = None,
) -> Iterator[dict[str, np.ndarray]]:
    """All rows of ``data`` once, ``minibatch_size`` at a time; the last minibatch may be smaller.

    rng: the source of the shuffle; without it the order differs from call to call.
    Raises ConfigError for a minibatch_size below 1.
    """
    if minibatch_size < 1:
        raise ConfigError(f"minibatch_size must be at least 1, got {minibatch_size}")
    n_rows = len(next(iter(data.values()))) if data else 0
    order = np.arange(n_rows)
    if shuffle:
        order = (rng or np.random.default_rng()).permutation(n_rows)
    for start in range(0, n_rows, minibatch_size):
        rows = order[start : start + minibatch_size]
        yield {name: column[rows] for name, column in data.items()}


def minibatch_rows(n_rows: int, minibatch_size: int, n_epochs: int, rng: np.random.Generator) -> np.ndarray:
    """Which rows each update sees, int64 [E, M, B]: a fresh permutation each epoch.

    Every minibatch has one shape, so that the update compiles once: what is left of an epoch's permutation after M
    full minibatches is dropped (each row has the same chance to be). Fewer rows than a minibatch: one minibatch
    of all rows.
    """
    size = min(minibatch_size, n_rows)
    n_minibatches = n_rows // size
    epochs = [rng.permutation(n_rows)[: n_minibatches * size] for _ in range(n_epochs)]
    return np.stack(epochs).astype(np.int64, copy=False).reshape(n_epochs, n_minibatches, size)
