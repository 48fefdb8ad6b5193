"""F40 to F46: disconnects, silence, bad records, disorder, bursts, failures, restarts. Fake feeds, fake clock."""

import gc
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

sys.path.append(str(Path(__file__).parent.parent / "pipeline"))

from live_feeds import CountingAgent, FakeClock, ScriptedFeed, SeekableFeed, SilentFeed, balance, record, wait_until
from pipeline_agents import ConstantAgent

from tensor_optix import LiveFeedError, LivePipeline
from tensor_optix.core.rng import RandomStreams
from tensor_optix.pipeline.live import GAP, LiveSource

MANY = LivePipeline.every_n_steps(100_000)


def pipeline_on(source, agent=None, boundary=MANY, clock=None, **settings):
    clock = clock or FakeClock()
    pipeline = LivePipeline(source, agent or CountingAgent(), boundary, clock=clock, sleep=clock.sleep, **settings)
    pipeline.seed(RandomStreams(11))
    return pipeline


def all_windows(pipeline):
    try:
        return list(pipeline.episodes())
    finally:
        pipeline.teardown()
        assert balance(pipeline.health) == 0
        assert not [thread for thread in threading.enumerate() if thread.name == "live feed"]


# -- F40: disconnects ------------------------------------------------------------------------------------------


def test_f40_lost_seven_times_refused_twenty_times_it_goes_on_behind_gaps_after_the_delays_of_its_seed():
    drops = [[record(10 * n + t) for t in range(10)] + [ConnectionError("lost")] for n in range(7)]
    refusals = [[ConnectionRefusedError("refused")] for _ in range(20)]
    last = [record(1000), record(1001)]
    clock = FakeClock()
    pipeline = pipeline_on(ScriptedFeed(*drops, *refusals, last), clock=clock)
    (window,) = all_windows(pipeline)
    jitter = np.random.default_rng(RandomStreams(11).counter_seed("reconnect"))
    # every connection that brings a record starts the back-off anew: six drops, then 1 + 20 failures in a row, the end
    failures = [1] * 6 + list(range(1, 22)) + [1]
    longest = [min(60.0, 0.5 * 2 ** (k - 1)) for k in failures]
    assert clock.slept == [float(jitter.uniform(0.0, limit)) for limit in longest]
    assert window.rewards == [10.0 * n + t for n in range(7) for t in range(1, 10)] + [1001]
    assert np.flatnonzero(window.truncated).tolist() == [8, 17, 26, 35, 44, 53, 62]
    health = pipeline.health
    assert (health["disconnects"], health["reconnects"], health["gaps"]) == (28, 7, 8)


def test_f40_the_longest_delay_is_a_minute():
    clock = FakeClock()
    all_windows(pipeline_on(ScriptedFeed(*[[OSError("away")] for _ in range(60)]), clock=clock))
    assert 50 < max(clock.slept) <= 60


def test_f40_an_outage_has_an_end_and_the_rows_before_it_are_kept():
    feed = ScriptedFeed([record(0), record(1), OSError("lost")], *[[OSError("away")] for _ in range(1000)])
    clock = FakeClock()
    pipeline = pipeline_on(feed, clock=clock, max_outage=300.0)
    windows = pipeline.episodes()
    assert next(windows).rewards == [1]
    with pytest.raises(LiveFeedError, match=r"ScriptedFeed has been away for 300 seconds .*OSError: away"):
        next(windows)
    pipeline.teardown()
    assert clock.now == pytest.approx(300.0)


def test_f40_without_reconnecting_an_end_is_the_end_and_a_broken_connection_is_an_error():
    ended = pipeline_on(ScriptedFeed([record(0), record(1)], [record(5)]), reconnect_on_disconnect=False)
    assert [window.rewards for window in all_windows(ended)] == [[1]]
    broken = pipeline_on(ScriptedFeed([record(0), record(1), OSError("cut")]), reconnect_on_disconnect=False)
    with pytest.raises(LiveFeedError, match=r"OSError: cut.*reconnect_on_disconnect=True"):
        all_windows(broken)


def test_f40_a_feed_that_can_seek_is_continued_without_a_gap():
    class Dropping(SeekableFeed):
        def stream(self, after=None):
            for n, item in enumerate(super().stream(after)):
                if n == 7:
                    raise ConnectionResetError("every seven records")
                yield item

    pipeline = pipeline_on(Dropping(30), key="t")
    (window,) = all_windows(pipeline)
    assert window.rewards == list(range(2, 31))
    assert not any(window.truncated)
    assert "gaps" not in pipeline.health
    assert pipeline.health["reconnects"] == 4


def test_f40_errors_of_a_clients_own_library_can_mean_a_disconnect():
    class ClientError(Exception):
        pass

    feed = ScriptedFeed([record(0), record(1), ClientError()], [record(5), record(6)])
    (window,) = all_windows(pipeline_on(feed, disconnect_errors=(ClientError,)))
    assert window.rewards == [1, 6]


# -- F41: silence ----------------------------------------------------------------------------------------------


def test_f41_an_open_connection_that_is_silent_is_made_anew_and_heartbeats_are_silence():
    clock = FakeClock()

    def heartbeat():
        clock.now += 10.0

    feed = ScriptedFeed([record(0), record(1), *[heartbeat] * 100], [record(5), record(6)])
    pipeline = pipeline_on(feed, clock=clock, idle_timeout=60.0)
    (window,) = all_windows(pipeline)
    assert window.rewards == [1, 6]
    assert pipeline.health["idle_timeouts"] == 1
    assert pipeline.health["received"] == 4
    assert clock.now < 150  # 70 seconds of silence and the delays


def test_f41_silence_that_is_broken_in_time_is_no_loss():
    clock = FakeClock()

    def heartbeat():
        clock.now += 10.0

    feed = ScriptedFeed([record(t) if t % 6 == 0 else heartbeat for t in range(61)])
    pipeline = pipeline_on(feed, clock=clock, idle_timeout=60.0)
    (window,) = all_windows(pipeline)
    assert window.length == 10
    assert "idle_timeouts" not in pipeline.health


def test_f41_a_source_that_blocks_in_silence_is_interrupted_and_asked_again():
    class Reopening(SilentFeed):
        connections = 0

        def stream(self):
            self.connections += 1
            self.closed.clear()
            yield record(10 * self.connections)
            yield record(10 * self.connections + 1)
            self.closed.wait()
            raise ValueError("I/O operation on closed file")  # what closing does to a blocked read

    feed, clock = Reopening(), FakeClock()
    pipeline = pipeline_on(feed, boundary=LivePipeline.every_n_steps(2), clock=clock, idle_timeout=60.0)
    windows, got = pipeline.episodes(), []
    thread = threading.Thread(target=lambda: got.append(next(windows)), daemon=True)
    thread.start()
    wait_until(lambda: pipeline.health["delivered"] == 2)
    clock.now += 61
    thread.join(10)
    pipeline.teardown()
    assert got[0].rewards == [11, 21]
    assert pipeline.health["idle_timeouts"] == 1


# -- F42 is in tests/pipeline/test_live_records.py, F43 in tests/pipeline/test_live_order.py ---------------------

# -- F44: bursts -----------------------------------------------------------------------------------------------


class Burst(LiveSource):
    """Many records at once, from a source that does not wait."""

    waits, ends = False, True

    def __init__(self, n):
        self.n, self.is_over = n, threading.Event()

    def stream(self, after=None):
        observation = np.zeros(4, dtype=np.float32)
        for t in range(self.n):
            observation[0] = t
            yield observation, 1.0, False, False, {}
        self.is_over.set()


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "coalesce"])
def test_f44_a_burst_is_accounted_for_to_the_record_and_the_newest_is_there_at_once(policy):
    n = 30_000
    feed = Burst(n)
    pipeline = LivePipeline(feed, ConstantAgent(), MANY, 1000, overflow=policy, max_window_steps=100_000)
    pipeline.start_reading()
    assert feed.is_over.wait(120)
    health = pipeline.health
    assert balance(health) == 0
    assert (health["received"], health["in_queue"], health["dropped_overflow"]) == (n, 1000, n - 1000)
    (window,) = pipeline.episodes()
    pipeline.teardown()
    assert window.length == 999
    assert window.final_obs[0] == (999 if policy == "drop_newest" else n - 1)
    assert pipeline.health["delivered"] == 1000
    if policy == "coalesce":
        assert sum(window.rewards) == n - 1  # nothing that was earned is lost


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "coalesce"])
def test_f44_a_burst_takes_no_more_memory_than_its_queue(policy):
    feed = Burst(20_000)
    pipeline = LivePipeline(feed, ConstantAgent(), MANY, 1000, overflow=policy)
    tracemalloc.start()
    pipeline.start_reading()
    assert feed.is_over.wait(120)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    pipeline.teardown()
    assert peak < 2_000_000  # all 20,000 records take 12 MB


# -- F45: failures and closing ---------------------------------------------------------------------------------


def failing(where):
    def fail(*arguments):
        raise KeyError(f"in {where}")

    return fail


class FailsInStream(LiveSource):
    def stream(self, after=None):
        yield record(0)
        failing("stream")()


class FailsAtOnce(LiveSource):
    def stream(self, after=None):
        return failing("stream")()


class Exits(LiveSource):
    def stream(self, after=None):
        yield record(0)
        raise SystemExit("in stream")


class AsyncFailure:
    async def stream(self):
        yield record(0)
        failing("async stream")()


@pytest.mark.parametrize(
    ("source", "settings", "message"),
    [
        (FailsInStream(), {}, "FailsInStream raised KeyError: 'in stream'"),
        (FailsAtOnce(), {}, "FailsAtOnce raised KeyError"),
        (Exits(), {}, "Exits raised SystemExit: in stream"),
        (AsyncFailure(), {}, "AsyncFailure raised KeyError: 'in async stream'"),
        ([record(0)], {"key": lambda info: 1 / 0}, "ZeroDivisionError"),
        (lambda: failing("function")(), {}, "KeyError: 'in function'"),
    ],
    ids=["stream", "stream at once", "exit", "async stream", "key", "function"],
)
def test_f45_what_a_source_raises_surfaces_where_the_loop_sees_it(source, settings, message):
    pipeline = pipeline_on(source, **settings)
    began = time.monotonic()
    with pytest.raises(LiveFeedError, match=message) as caught:
        all_windows(pipeline)
    assert caught.value.__cause__ is not None
    assert time.monotonic() - began < 30  # it surfaces at all; a lost error would wait for ever


def test_f45_a_clock_that_fails_surfaces_too():
    class BrokenClock(FakeClock):
        def sleep(self, seconds):
            failing("sleep")()

    with pytest.raises(LiveFeedError, match="KeyError: 'in sleep'"):
        all_windows(pipeline_on(ScriptedFeed([OSError("lost")], [record(0)]), clock=BrokenClock()))


async def never():
    import asyncio

    yield record(0)
    await asyncio.Event().wait()


STATES = {
    "while it waits for a record": lambda: ScriptedFeed([record(0), *[lambda: time.sleep(0.01)] * 100_000]),
    "while it waits to connect again": lambda: ScriptedFeed([OSError("lost")], [record(0)]),
    "while its queue is full": lambda: [record(t) for t in range(100)],
    "while its source blocks": SilentFeed,
    "while an async source waits": never,
    "when it has ended": lambda: [],
    "when it has failed": FailsAtOnce,
}


@pytest.mark.parametrize("state", STATES)
def test_f45_closing_ends_the_thread_in_every_state(state, monkeypatch):
    monkeypatch.setattr("tensor_optix.pipeline.live.reconnecting.FIRST_DELAY_SECONDS", 60.0)  # a long sleep to end
    pipeline = LivePipeline(STATES[state](), CountingAgent(), buffer_size=5)
    pipeline.seed(RandomStreams(1))
    pipeline.start_reading()
    threads = [thread for thread in threading.enumerate() if thread.name == "live feed"]
    time.sleep(0.05)  # into the state
    began = time.monotonic()
    pipeline.teardown()
    assert not any(thread.is_alive() for thread in threads)
    assert time.monotonic() - began < 10  # 1 s by the limits of Feeder.stop; generous, for a loaded machine
    assert "feeder_blocked" not in pipeline.health
    pipeline.teardown()  # a second time is no error


# -- F46: restarts ---------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(1, 4), st.booleans()), min_size=1, max_size=6), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_f46_killed_anywhere_the_committed_windows_hold_every_transition_once(lives, size):
    """Each life collects some windows; the state is committed after each but, where it is killed, not the last."""
    n, state, committed = 60, None, []
    for windows, is_killed in [*lives, (100, False)]:
        boundary = LivePipeline.every_n_steps(size)
        pipeline = LivePipeline(SeekableFeed(n), CountingAgent(), boundary, key="t", buffer_size=7)
        if state is not None:
            pipeline.load_state_dict(state)
        collected = []
        for number, window in zip(range(windows), pipeline.episodes(), strict=False):
            collected.append(window.rewards)
            if not (is_killed and number == windows - 1):
                state = pipeline.state_dict()
                committed += collected
                collected = []
        pipeline.teardown()
        assert balance(pipeline.health) == 0
    assert [reward for rewards in committed for reward in rewards] == list(range(2, n + 1))


def test_f46_a_feed_that_cannot_seek_marks_a_gap_and_says_what_was_lost():
    boundary = LivePipeline.every_n_steps(3)
    first = LivePipeline([record(t) for t in range(50)], CountingAgent(), boundary, buffer_size=10)
    next(first.episodes())
    wait_until(lambda: first.health["in_queue"] == 10)
    state = first.state_dict()
    first.teardown()
    second = LivePipeline([record(t) for t in range(100, 104)], CountingAgent(), MANY)
    second.load_state_dict(state)
    (window,) = all_windows(second)
    assert window.rewards == [101, 102, 103]
    assert (second.health["gaps"], second.health["lost_at_resume"]) == (1, 10)
    assert second.health["delivered"] == 8


# -- everything at once ----------------------------------------------------------------------------------------

ITEM = st.one_of(
    st.integers(0, 20),
    st.sampled_from(["bad", "gap", "idle", "lost", "end of episode", "cut"]),
)


@given(
    st.lists(st.lists(ITEM, max_size=25), max_size=6),
    st.sampled_from(["block", "drop_oldest", "drop_newest", "coalesce"]),
    st.integers(1, 6), st.integers(0, 3), st.integers(1, 7),
)  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_whatever_a_feed_does_the_books_balance_and_windows_are_sound(connections, policy, buffer_size, window, size):
    def item(what):
        if isinstance(what, int):
            return record(what, what, key=what)
        return {
            "bad": "no record", "gap": GAP, "idle": None, "lost": OSError("lost"),
            "end of episode": record(30, 30, terminated=True, key=30), "cut": record(31, 31, truncated=True, key=31),
        }[what]  # fmt: skip

    feed = ScriptedFeed(*[[item(what) for what in connection] for connection in connections])
    pipeline = pipeline_on(feed, boundary=LivePipeline.every_n_steps(size), overflow=policy, buffer_size=buffer_size,
                           key="key", reorder_window=window)  # fmt: skip
    seen, last_key = [], -1
    for data in pipeline.episodes():
        assert balance(pipeline.health) == 0
        assert 1 <= data.length <= size
        assert len(data.next_observations) == data.length
        keys = [info["key"] for info in data.infos]
        assert keys == sorted(keys)
        assert not keys or keys[0] >= last_key
        last_key = keys[-1]
        for row, (end, key) in enumerate(zip(data.dones, keys, strict=True)):
            if not end and row + 1 < data.length:  # credit never skips a record: rows hang together
                np.testing.assert_array_equal(data.next_observations[row], data.observations[row + 1])
            assert data.next_observations[row][0] == key
        seen += keys
    pipeline.teardown()
    health = pipeline.health
    assert balance(health) == 0
    assert health["in_queue"] == 0
    assert len(seen) <= health["delivered"]


def test_a_soak_of_fifty_thousand_records_leaves_nothing_behind():
    def records():
        observation = np.zeros(4, dtype=np.float32)
        for t in range(50_000):
            observation[0] = t
            if t % 997 == 500:
                yield "bad"
            yield observation, 1.0, t % 50 == 49, False, {"t": t}
            if t % 1009 == 100:
                yield observation, 1.0, t % 50 == 49, False, {"t": t}

    pipeline = LivePipeline(records(), ConstantAgent(), LivePipeline.every_n_steps(500), key="t")
    n_objects = []
    for number, _ in enumerate(pipeline.episodes()):
        if number in (10, 90):
            gc.collect()
            n_objects.append(sys.getallocatedblocks())
    pipeline.teardown()
    health = pipeline.health
    assert balance(health) == 0
    assert health["received"] == 50_000 + 50 + 50
    assert (health["rejected_malformed"], health["dropped_duplicate"]) == (50, 50)
    assert n_objects[1] - n_objects[0] < 20_000  # one a record would be 40,000; a full queue has 7,000
