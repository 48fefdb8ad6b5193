"""Which transitions does a window hold, and which of them lead to something other than the next row?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError


@dataclass(frozen=True)
class Rows:
    """Transitions on their way into a ring; rows of one environment lie together, in time order.

    columns: observation, action, reward, terminated; [R, ...] each.
    ends, successors: the rows [E], ascending, whose successor is not the next row, and their true successors [E, ...].
    segments: the row range of each environment; may_go_on: whether its last row is the middle of an env episode.
    """

    columns: dict[str, np.ndarray]
    ends: np.ndarray
    successors: np.ndarray
    segments: list[tuple[int, int]]
    may_go_on: list[bool]

    def __len__(self) -> int:
        return len(self.columns["reward"])

    def last(self, n: int) -> Rows:
        """The last ``n`` rows."""
        cut = len(self) - n
        kept = self.ends >= cut
        segments = [(max(start - cut, 0), max(stop - cut, 0)) for start, stop in self.segments]
        columns = {name: column[cut:] for name, column in self.columns.items()}
        return Rows(columns, self.ends[kept] - cut, self.successors[kept], segments, self.may_go_on)


def rows_of(window: EpisodeData) -> Rows:
    """The transitions of ``window``.

    A row that did not terminate and whose successor nobody recorded (the last one of a window built by hand) is no
    transition: it is left out, and its observation still serves as the successor of the row before.
    """
    observation = np.asarray(window.observations)
    terminated = np.asarray(window.terminated, dtype=bool)
    ends, segments = window.boundary_rows, window.row_ranges
    may_go_on = [
        stop > start and not (window.terminated[stop - 1] or window.truncated[stop - 1]) for start, stop in segments
    ]
    columns = {
        "observation": observation,
        "action": np.asarray(window.actions),
        "reward": _float32(window.rewards),
        "terminated": terminated,
    }
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ConfigError(f"the columns of a window must be equally long, got {lengths}")
    rows = Rows(columns, ends, window.boundary_observations, segments, may_go_on)
    unknown = [row for row in ends.tolist() if not (_is_recorded(window, row) or terminated[row])]
    return _without(rows, np.asarray(unknown)) if unknown else rows


def _is_recorded(window: EpisodeData, row: int) -> bool:
    return row in window.final_observations or (row == window.length - 1 and window.final_obs is not None)


def _without(rows: Rows, unknown: np.ndarray) -> Rows:
    """``rows`` less those at ``unknown``, each of which becomes the final observation of the row before it."""
    observation = rows.columns["observation"]
    successor = dict(zip(rows.ends.tolist(), rows.successors, strict=True))
    starts = {start for start, _ in rows.segments} | {row + 1 for row in rows.ends.tolist()}
    for row in unknown.tolist():
        del successor[row]
        if row not in starts:
            successor[row - 1] = observation[row]
    keep = np.ones(len(rows), dtype=bool)
    keep[unknown] = False
    moved = np.concatenate([[0], np.cumsum(keep)])  # row -> its place among those kept
    ends = np.array(sorted(successor), dtype=np.int64)
    segments = [(int(moved[start]), int(moved[stop])) for start, stop in rows.segments]
    cut = set(unknown.tolist())
    may_go_on = [going and stop - 1 not in cut for going, (_, stop) in zip(rows.may_go_on, rows.segments, strict=True)]
    successors = np.stack([successor[row] for row in ends.tolist()]) if len(ends) else observation[:0]
    columns = {name: column[keep] for name, column in rows.columns.items()}
    return Rows(columns, moved[ends], successors, segments, may_go_on)


def _float32(x: Any) -> np.ndarray:
    """``x`` in float32; what is too large for it becomes its largest number, and not infinite."""
    narrow: np.ndarray = np.asarray(x, dtype=np.float64).clip(-_LARGEST, _LARGEST).astype(np.float32)
    return narrow


_LARGEST = float(np.finfo(np.float32).max)
