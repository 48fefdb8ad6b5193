"""Which env episodes ended in a window, with their whole returns: for windows whose pipeline did not say."""

from __future__ import annotations

from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError


class EpisodeCounter:
    """Fills ``episode_returns``, ``episode_lengths`` and ``episode_ends`` where a pipeline left them empty.

    An env episode that is open at the end of a window is carried into the next one, environment by environment.
    """

    def __init__(self) -> None:
        self._open: list[tuple[float, int]] = []

    def restart(self) -> None:
        """The next window begins with fresh env episodes."""
        self._open = []

    def complete(self, data: EpisodeData) -> EpisodeData:
        """``data``, completed in place. Raises ConfigError when its columns do not belong together."""
        _check_columns(data)
        if data.episode_ends is None and not data.episode_returns:
            self._count(data)
        elif data.episode_ends is None:
            data.episode_ends = [row for row, done in enumerate(data.dones) if done]
        for name, column in (("episode_lengths", data.episode_lengths), ("episode_ends", data.episode_ends or [])):
            if len(column) != len(data.episode_returns):
                raise ConfigError(
                    f"window {data.episode_id} has {len(data.episode_returns)} episode_returns but {len(column)} "
                    f"{name}: a pipeline gives one of each for every env episode that ended, or none at all"
                )
        return data

    def state_dict(self) -> dict[str, list[list[float]]]:
        """The open env episodes."""
        return {"open": [[total, length] for total, length in self._open]}

    def load_state_dict(self, state: dict[str, list[list[float]]]) -> None:
        """Continue where ``state_dict`` was taken."""
        self._open = [(float(total), int(length)) for total, length in state["open"]]

    def _count(self, data: EpisodeData) -> None:
        ranges, dones = data.row_ranges, data.dones
        still_open = self._open if len(self._open) == len(ranges) else [(0.0, 0)] * len(ranges)
        data.episode_ends, self._open = [], []
        for (start, stop), (total, length) in zip(ranges, still_open, strict=True):
            for row in range(start, stop):
                total, length = total + float(data.rewards[row]), length + 1
                if dones[row]:
                    data.episode_returns.append(total)
                    data.episode_lengths.append(length)
                    data.episode_ends.append(row)
                    total, length = 0.0, 0
            self._open.append((total, length))


def _check_columns(data: EpisodeData) -> None:
    for name, column in (("terminated", data.terminated), ("truncated", data.truncated),
                         ("observations", data.observations), ("actions", data.actions)):  # fmt: skip
        if len(column) != data.length:
            raise ConfigError(f"window {data.episode_id} has {data.length} rewards but {len(column)} {name}")
