"""How do records become the transitions of a window?

Record t shows observation o_t; the agent chooses a_t on it; record t+1 brings the reward of a_t and its successor:

    row t = (o_t, a_t, r_{t+1}, o_{t+1}, terminated_{t+1}, truncated_{t+1})

The first record of an env episode has nothing to answer: its reward is left out. A record with an end holds the last
observation of its env episode, and the next record is the first of another one. Across a gap nothing is credited:
the row that waits for its answer is dropped, the row before it ends as truncated, with the observation that did come
of it as its final one. Advantages and n-step returns therefore stop there.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from tensor_optix.core.types import EpisodeData
from tensor_optix.pipeline.live.place import Place
from tensor_optix.pipeline.live.record import Record
from tensor_optix.pipeline.live.stream_rows import StreamRows


class StreamWindow:
    """A window that is being collected. counts: what had to be left out, by name."""

    def __init__(self, place: Place, counts: Counter[str]) -> None:
        self.place = place
        self.ends_with_episode = False
        self._counts = counts
        self._rows = StreamRows()
        self._latest = np.empty(0) if place.observation is None else place.observation
        self._decision: tuple[np.ndarray, dict[str, np.ndarray]] | None = None

    @property
    def length(self) -> int:
        """Complete rows so far."""
        return self._rows.length

    @property
    def latest_observation(self) -> np.ndarray:
        """The observation of the record that came last."""
        return self._latest

    @property
    def needs_action(self) -> bool:
        """True when the agent stands on an observation and has not acted on it."""
        return self.place.is_open and self._decision is None

    def observe(self) -> np.ndarray:
        """The observation to act on, as a batch of one."""
        return self._standing_on()[np.newaxis]

    def decided(self, actions: np.ndarray, extras: dict[str, np.ndarray]) -> None:
        """What the agent chose there; batches of one."""
        self._decision = (actions, extras)

    def arrived(self, record: Record) -> None:
        """The next record."""
        self._latest = record.observation
        if record.gap and self.place.is_open:
            self._cut(record)
        elif not self.place.is_open:
            self._begin(record)
        else:
            self._answer(record)

    def passed(self, record: Record) -> None:
        """A record that came while the agent was learning, under the last action of a window that is gone."""
        if record.gap or not self.place.is_open:
            self.arrived(record)
        else:
            self._counts["records_passed"] += 1
            self.place = self.place.after(record, steps=0)

    def late(self, reward: float) -> None:
        """A reward that was on its way when the waiting action was sent: it belongs to the action before that."""
        self._counts["late_rewards"] += 1
        self.place = self.place.with_late_reward(reward)
        if self._rows.goes_on:
            self._rows.rewards[-1] += reward

    def data(self, number: int) -> EpisodeData:
        """The window."""
        return self._rows.data(number, self.place.observation if self._rows.goes_on else None)

    def _begin(self, record: Record) -> None:
        if record.reward:
            self._counts["rewards_without_action"] += 1
        self.place = self.place.begin(record)

    def _cut(self, record: Record) -> None:
        self._counts["rows_cut_by_gaps"] += self._decision is not None
        self._rows.cut(self._standing_on())
        self._decision = None
        self._begin(record)

    def _answer(self, record: Record) -> None:
        assert self._decision is not None
        (actions, extras), before, observation = self._decision, self.place, self._standing_on()
        self.place, self._decision = before.after(record), None
        self._rows.add(
            observation, actions, extras, record.reward, record.terminated, record.truncated, record.info
        )  # fmt: skip
        self.ends_with_episode = record.done
        if record.done:
            episode = (before.episode_return + record.reward, before.steps + 1) if before.is_whole else None
            self._rows.end_episode(record.observation, episode)

    def _standing_on(self) -> np.ndarray:
        assert self.place.observation is not None
        return self.place.observation
