"""How are windows collected from a stream that nobody can reset?"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tensor_optix.core.base_agent import BaseAgent, as_agent
from tensor_optix.core.base_pipeline import BasePipeline, EpisodeBoundaryFn
from tensor_optix.core.rng import RandomStreams, fresh_seed
from tensor_optix.core.types import EpisodeData
from tensor_optix.errors import ConfigError, LiveFeedError
from tensor_optix.pipeline.actions import action_converter
from tensor_optix.pipeline.live.boundaries import Boundary, EveryNSeconds, EveryNSteps, OnDoneSignal
from tensor_optix.pipeline.live.feed_buffer import FeedBuffer
from tensor_optix.pipeline.live.feeder import LOSSES, ConnectionRules, Feeder
from tensor_optix.pipeline.live.key_order import KeyOrder
from tensor_optix.pipeline.live.overflow import overflow_named
from tensor_optix.pipeline.live.place import Place
from tensor_optix.pipeline.live.record import KeyFn, Record, RecordReader
from tensor_optix.pipeline.live.source import as_source
from tensor_optix.pipeline.live.stream_window import StreamWindow

logger = logging.getLogger(__name__)

WAIT_SECONDS = 0.1
"""So often a consumer that waits looks up: for a boundary in time, and for a connection that has gone silent."""
MAX_WINDOW_STEPS = 10_000
OWN_COUNTS = (
    "rewards_without_action", "rows_cut_by_gaps", "records_passed", "late_rewards", "actions_lost", "feeder_blocked",
)  # fmt: skip


class LivePipeline(BasePipeline):
    """Windows from a stream of records ``(observation, reward, terminated, truncated, info)``.

    A record says what the world looks like now, and what came of what was done before. The reward of record t+1 is
    therefore credited to the action chosen at record t (``pipeline/live/stream_window.py`` has the exact rule).

    data_source: an object with ``stream()`` (called anew for every connection; it returns an iterable or an async
    iterable of records), any iterable or async iterable (used once; where it ends, the run ends), a function (of an
    iterable for every connection, or of one record a call), or one of the sources in ``tensor_optix.pipeline.live``:
    FileSource, StdinSource, TcpSource, WebSocketSource. An object with ``act(action)`` gets every action, in the
    agent's units or, with ``action_space``, in those of the space. A source that waits for its consumer is asked for
    record t+1 only once it has got action t; from one that does not wait, whatever came before an action was sent
    is credited to the action before it. Without ``act`` actions are recorded only (forecasts, paper trading).

    episode_boundary_fn: (rows so far, seconds so far, latest observation) -> True to end the window; asked after each
    row and about ten times a second while nothing comes. Default ``on_done_signal()``: a window for each env episode.
    Every window ends after ``max_window_steps`` rows.

    buffer_size, overflow: the queue between the reading thread and the loop, and what happens when it is full:
    "block" (default for sources that can wait), "drop_oldest" (default for sockets), "drop_newest" or "coalesce".
    Whatever is missing afterwards is a gap, and nothing is credited or bootstrapped across a gap.

    reconnect_on_disconnect: connect again after a loss, after U(0, min(60, 0.5 · 2^k)) seconds; LiveFeedError once
    nothing has come for ``max_outage`` seconds (default: never). disconnect_errors: what means a loss; any other
    error of the source surfaces as LiveFeedError. idle_timeout: seconds of silence after which a connection counts
    as lost (default: the source's own; none for files and iterables).

    key: where a record's sequence key is, the name of an entry of its info or a function of the info. Then duplicates
    and late records are dropped; ``reorder_window`` records are held back so that a late one can take its place;
    ``unique_keys`` refuses another record with the same key. Records that are none are refused and counted, see
    ``rejections``; more than half of the last hundred: LiveFeedError.

    A run that is resumed goes on behind the last record that a committed window used, where the source can seek
    (``stream(after=key)`` or ``resume_from(key)``, and files); elsewhere there is a gap. health: where every record
    is, ``received = delivered + dropped_overflow + dropped_duplicate + dropped_late + rejected_malformed + in_queue``
    at every moment, and what else had to be left out. clock, sleep: of the boundary and of reconnecting.
    """

    def __init__(
        self,
        data_source: Any,
        agent: Any = None,
        episode_boundary_fn: EpisodeBoundaryFn | None = None,
        buffer_size: int = 1000,
        reconnect_on_disconnect: bool = True,
        *,
        overflow: str | None = None,
        key: str | KeyFn | None = None,
        reorder_window: int = 0,
        unique_keys: bool = False,
        max_outage: float | None = None,
        idle_timeout: float | None = None,
        disconnect_errors: tuple[type[Exception], ...] = LOSSES,
        max_window_steps: int = MAX_WINDOW_STEPS,
        observation_space: Any = None,
        action_space: Any = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        source = as_source(data_source)
        policy = overflow_named(overflow or ("block" if source.waits else "drop_oldest"))
        self._boundary = episode_boundary_fn if episode_boundary_fn is not None else OnDoneSignal()
        if not callable(self._boundary):
            raise ConfigError(f"episode_boundary_fn must be a function, got {self._boundary!r}")
        if max_window_steps < 1:
            raise ConfigError(f"max_window_steps must be at least 1, got {max_window_steps!r}")
        self.max_window_steps = max_window_steps
        self.observation_space, self.action_space = observation_space, action_space
        self._source, self._clock = source, clock
        is_lock_step = source.takes_actions and policy.waits
        self._catches_up = source.takes_actions and not policy.waits
        order = KeyOrder(reorder_window, unique=unique_keys)
        self._buffer = FeedBuffer(buffer_size, policy, order, is_lock_step=is_lock_step)
        like = None if observation_space is None else (observation_space.shape, observation_space.dtype)
        self._reader = RecordReader(key, like)
        self._rules = ConnectionRules(
            clock=clock,
            reconnects=reconnect_on_disconnect,
            max_outage=_seconds("max_outage", max_outage),
            idle_timeout=_seconds("idle_timeout", idle_timeout if idle_timeout is not None else source.idle_timeout),
            losses=tuple(disconnect_errors),
            sleep=sleep,
        )
        self._agent: BaseAgent | None = None if agent is None else as_agent(agent)
        self._counts: Counter[str] = Counter()
        self._place = Place()
        self._windows = 0
        self._sent_at = 0
        self._is_set_up = self._is_reading = False
        self._feeder: Feeder | None = None
        self.seed(RandomStreams(fresh_seed()))

    # -- boundaries --------------------------------------------------------------------------------------------

    @staticmethod
    def every_n_steps(n: int) -> EpisodeBoundaryFn:
        """Windows of ``n`` rows."""
        return EveryNSteps(n)

    @staticmethod
    def every_n_seconds(n: float) -> EpisodeBoundaryFn:
        """Windows of ``n`` seconds, and of one row at least."""
        return EveryNSeconds(n)

    @staticmethod
    def on_done_signal() -> EpisodeBoundaryFn:
        """A window for each env episode."""
        return OnDoneSignal()

    # -- the contract ------------------------------------------------------------------------------------------

    def setup(self) -> None:
        """Get ready. The source is read from the first window on: a resumed run has to say first where."""
        agent = self._attached_agent()
        if self.observation_space is not None and self.action_space is not None:
            agent.check_spaces(self.observation_space, self.action_space)
        self._buffer.stay()
        self._is_set_up = True

    def start_reading(self) -> None:
        """Read the source now, in a thread of its own, without waiting for the first window to be asked for."""
        if not self._is_set_up:
            self.setup()
        if self._feeder is None:
            self._feeder = Feeder(self._source, self._reader, self._buffer, self._rules, self._reconnect_rng)
        if not self._is_reading:
            self._is_reading = True
            self._feeder.start()

    def episodes(self) -> Iterator[EpisodeData]:
        """Windows, until the source ends or ``leave_window`` is called. Raises LiveFeedError.

        A window that an exception breaks off is dropped. Each of them goes on where the last one left off.
        """
        while (window := self._next_window()) is not None:
            yield window

    def teardown(self) -> None:
        """Stop reading. What has been read already stays queued for a ``setup`` that may follow."""
        self._stop_reading()
        self._is_set_up = False

    def leave_window(self) -> None:
        """End the current window with the rows that it has; the stream ends there until the next ``setup``."""
        self._buffer.leave()

    @property
    def is_live(self) -> bool:
        return True

    def set_agent(self, agent: Any) -> None:
        self._agent = as_agent(agent)

    def seed(self, streams: RandomStreams) -> None:
        """Acting and the jitter of reconnecting draw from ``streams``."""
        self._streams = streams
        self._reconnect_rng = np.random.default_rng(streams.counter_seed("reconnect"))
        if self._feeder is not None:
            self._feeder.rng = self._reconnect_rng

    @property
    def description(self) -> str:
        return self._source.description

    @property
    def continues_exactly(self) -> bool:
        """True where the source can be asked to go on behind a record."""
        return self._source.can_seek

    @property
    def health(self) -> Counter[str]:
        """Where every record is, and what had to be left out; 0 for whatever did not happen."""
        own = {name: self._counts[name] for name in OWN_COUNTS if self._counts[name]}
        return Counter({**self._buffer.health, **own})

    @property
    def rejections(self) -> dict[str, Any]:
        """Refused records: how many for each reason, and the first few as text."""
        refused = self._buffer.rejections
        return {"by_reason": dict(refused.by_reason), "samples": list(refused.samples)}

    def state_dict(self) -> dict[str, Any]:
        """Counters, the acting stream, the place in the feed and in the open env episode."""
        return {
            "acting": self._streams.stream("acting").bit_generator.state,
            "windows": self._windows,
            "counts": {name: self._counts[name] for name in OWN_COUNTS},
            "place": self._place.state_dict(),
            "reader": self._reader.state_dict(),
            "feed": self._buffer.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on behind the last record that was used; behind a gap where the source cannot go back there."""
        self._stop_reading()
        self._streams.stream("acting").bit_generator.state = state["acting"]
        self._windows = state["windows"]
        self._counts = Counter(state["counts"])
        self._reader.load_state_dict(state["reader"])
        self._buffer.load_state_dict(state["feed"])
        self._place = Place.from_state(state["place"])
        can_go_on = self._source.can_seek and self._buffer.delivered_position is not None
        if self._buffer.health["delivered"] and not can_go_on:
            self._place = self._place.lost()
            self._buffer.count("lost_at_resume", state["feed"]["in_queue"])
            self._buffer.mark_gap()

    def _stop_reading(self) -> None:
        if self._feeder is None or not self._is_reading:
            return
        self._is_reading = False
        if not self._feeder.stop():
            self._counts["feeder_blocked"] += 1
            logger.warning(
                "the live feed %s blocks its reading thread and cannot be interrupted: give the source a close() "
                "that ends a blocked read, or let it yield None now and then", self.description,
            )  # fmt: skip

    # -- collecting --------------------------------------------------------------------------------------------

    def _next_window(self) -> EpisodeData | None:
        """The next window; None where the stream has ended. A window that an exception breaks off is dropped."""
        self.start_reading()
        window, began = StreamWindow(self._place, self._counts), self._clock()
        self._place = self._place.lost()
        self._catch_up(window)
        while not (self._is_complete(window, began) or self._is_over):
            if window.needs_action:
                self._decide(window)
            try:
                record = self._next_record(window)
            except LiveFeedError:
                if window.length:
                    break  # these rows are sound; the next window raises
                raise
            if record is not None:
                window.arrived(record)
        self._place = window.place
        if not window.length:
            return None
        self._windows += 1
        return window.data(self._windows - 1)

    @property
    def _is_over(self) -> bool:
        return self._buffer.is_leaving or self._buffer.is_exhausted

    def _is_complete(self, window: StreamWindow, began: float) -> bool:
        if not window.length:
            return False
        if window.length >= self.max_window_steps:
            return True
        if isinstance(self._boundary, Boundary) and self._boundary.ends_with_env_episodes and window.ends_with_episode:
            return True
        return bool(self._boundary(window.length, self._clock() - began, window.latest_observation))

    def _decide(self, window: StreamWindow) -> None:
        """Choose an action for the latest observation, and send it where somebody listens."""
        agent = self._attached_agent()
        actions, extras = agent.act_batch(window.observe(), rng=self._streams.stream("acting"), deterministic=False)
        window.decided(actions, extras)
        if self._source.takes_actions:
            self._send(agent, actions[0])

    def _send(self, agent: BaseAgent, action: Any) -> None:
        if self.action_space is not None:
            action = action_converter(self.action_space, in_unit_box=agent.acts_in_unit_box)(action)
        self._sent_at = self._buffer.received  # read first: an answer may be here before act() returns
        try:
            self._source.act(action)
        except self._rules.losses:
            self._counts["actions_lost"] += 1  # the reading thread sees the loss, too, and connects anew

    def _next_record(self, window: StreamWindow) -> Record | None:
        """What came of the action in force; None where nothing came for a moment."""
        record = self._buffer.take(WAIT_SECONDS)
        if record is None:
            if self._feeder is not None:
                self._feeder.check_silence()
            return None
        if not self._catches_up or not window.place.is_open or record.gap or record.done:
            return record
        if record.number <= self._sent_at:
            window.late(record.reward)
            return None
        return self._newest(record)

    def _newest(self, record: Record) -> Record:
        """``record`` and those behind it that are here already, as one, so that the agent acts on the latest."""
        while (following := self._buffer.take_unless_gap()) is not None:
            following.reward += record.reward
            record = following
            if record.done:
                break
        return record

    def _catch_up(self, window: StreamWindow) -> None:
        """What came of its own accord while the agent was learning is past: there was no new action."""
        if self._catches_up:
            for _ in range(self._buffer.health["in_queue"]):
                if (record := self._buffer.take_at_once()) is not None:
                    window.passed(record)

    def _attached_agent(self) -> BaseAgent:
        if self._agent is None:
            raise ConfigError("LivePipeline has no agent: give agent=... or call set_agent(agent)")
        return self._agent


def _seconds(name: str, value: float | None) -> float | None:
    if value is not None and not value > 0:
        raise ConfigError(f"{name} must be a number of seconds above 0, or None, got {value!r}")
    return value
