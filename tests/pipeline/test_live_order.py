"""In which order do records leave, and is every one of them accounted for? Random feeds, checked record by record."""

from collections import deque

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from live_feeds import balance, record
from pipeline_agents import ConstantAgent

from tensor_optix import LiveFeedError, LivePipeline
from tensor_optix.pipeline.live.feed_buffer import FeedBuffer
from tensor_optix.pipeline.live.key_order import KeyOrder, Verdict
from tensor_optix.pipeline.live.overflow import overflow_named
from tensor_optix.pipeline.live.record import MalformedRecord, Record


def a_record(key=None, reward=0.0, *, terminated=False, position=None):
    return Record(np.zeros(1), reward, terminated, key=key, position=position)


def order_of(keys, window=0, **settings):
    order, left, verdicts = KeyOrder(window, **settings), [], []
    for number, key in enumerate(keys):
        each = a_record(*key) if isinstance(key, tuple) else a_record(key)
        each.number = number
        verdict, leaving = order.offer(each)
        verdicts.append(verdict)
        left += leaving
    return left + order.flush(), verdicts


def test_an_exact_duplicate_is_dropped_and_a_late_record_too():
    left, verdicts = order_of([1, 2, 2, 4, 3, 5, 1])
    assert [each.key for each in left] == [1, 2, 4, 5]
    assert verdicts == [Verdict.TAKEN, Verdict.TAKEN, Verdict.DUPLICATE, Verdict.TAKEN, Verdict.LATE, Verdict.TAKEN,
                        Verdict.DUPLICATE]  # fmt: skip


def test_equal_keys_with_different_content_leave_in_the_order_of_arrival():
    left, _ = order_of([(1, 0.1), (2, 0.3), (2, 0.2), (2, 0.3), (3, 0.0)], window=2)
    assert [(each.key, each.reward) for each in left] == [(1, 0.1), (2, 0.3), (2, 0.2), (3, 0.0)]


def test_equal_keys_with_different_content_can_be_refused():
    _, verdicts = order_of([(1, 0.1), (1, 0.2), (1, 0.1)], unique=True)
    assert verdicts == [Verdict.TAKEN, Verdict.KEY_NOT_UNIQUE, Verdict.DUPLICATE]


def test_records_take_their_place_within_the_window():
    left, verdicts = order_of([3, 1, 2, 6, 4, 5, 7], window=2)
    assert [each.key for each in left] == [1, 2, 3, 4, 5, 6, 7]
    assert set(verdicts) == {Verdict.TAKEN}


@given(st.lists(st.integers(0, 30), max_size=80), st.integers(0, 8))
@settings(max_examples=300, deadline=None)
def test_whatever_comes_what_leaves_is_in_order_and_nothing_is_unaccounted(keys, window):
    order, left, verdicts = KeyOrder(window), [], []
    for number, key in enumerate(keys):
        each = a_record(key)
        each.number = number
        verdict, leaving = order.offer(each)
        verdicts.append(verdict)
        left += leaving
        assert order.held <= window
    left += order.flush()
    out = [each.key for each in left]
    assert out == sorted(set(out))  # equal keys have equal content here
    assert len(out) + sum(v is not Verdict.TAKEN for v in verdicts) == len(keys)
    seen = set()
    for key, verdict in zip(keys, verdicts, strict=True):
        assert (verdict is Verdict.DUPLICATE) == (key in seen)
        seen |= {key} if verdict is Verdict.TAKEN else set()


@given(st.permutations(range(40)), st.integers(0, 10), st.data())
@settings(max_examples=200, deadline=None)
def test_records_displaced_by_no_more_than_the_window_all_arrive(keys, window, data):
    jitter = [key + data.draw(st.floats(0, window)) for key in sorted(keys)]
    arrival = [key for _, key in sorted(zip(jitter, sorted(keys), strict=True))]
    left, verdicts = order_of(arrival, window)
    assert [each.key for each in left] == sorted(keys)
    assert set(verdicts) == {Verdict.TAKEN}


SCRIPT = st.lists(
    st.one_of(
        st.tuples(st.just("offer"), st.integers(0, 12)),
        st.tuples(st.just("keyless"), st.booleans()),
        st.tuples(st.sampled_from(["reject", "gap", "take", "take", "take"]), st.just(0)),
    ),
    max_size=120,
)


@given(
    SCRIPT, st.sampled_from(["block", "drop_oldest", "drop_newest", "coalesce"]), st.integers(1, 5),
    st.integers(0, 4), st.booleans(),
)  # fmt: skip
@settings(max_examples=400, deadline=None)
def test_the_books_balance_after_every_step_of_any_script(script, policy, maxsize, window, unique):
    buffer = FeedBuffer(maxsize, overflow_named(policy), KeyOrder(window, unique=unique))
    taken = []
    for action, value in script:
        try:
            if action == "offer":
                buffer.offer(a_record(value, reward=float(value % 2), position=value))
            elif action == "keyless":
                buffer.offer(a_record(terminated=value))
            elif action == "reject":
                buffer.reject("x", MalformedRecord("json", "bad"))
            elif action == "gap":
                buffer.mark_gap()
            elif (record := buffer.take_at_once()) is not None:
                taken.append(record)
        except LiveFeedError:
            pass  # too many bad ones: counted all the same
        health = buffer.health
        assert balance(health) == 0
        assert health["delivered"] == len(taken)
        assert health["in_queue"] <= maxsize + 2 * window + 1 or policy == "block"
    keys = [record.key for record in taken if record.key is not None]
    assert keys == sorted(keys)


def arriving(policy, records, maxsize=3):
    """What a queue of three holds after all these came."""
    buffer = FeedBuffer(maxsize, overflow_named(policy), KeyOrder())
    for each in records:
        buffer.offer(each)
    left = deque(iter(buffer.take_at_once, None))
    return [(each.reward, each.gap) for each in left], buffer.health["dropped_overflow"]


def test_drop_oldest_keeps_the_newest_behind_a_gap():
    held, dropped = arriving("drop_oldest", [a_record(reward=t) for t in range(6)])
    assert held == [(3, True), (4, False), (5, False)]
    assert dropped == 3


def test_drop_newest_keeps_the_oldest_and_marks_the_next_that_finds_room():
    buffer = FeedBuffer(2, overflow_named("drop_newest"), KeyOrder())
    for t in range(4):
        buffer.offer(a_record(reward=t))
    buffer.take_at_once()
    buffer.offer(a_record(reward=9))
    left = list(iter(buffer.take_at_once, None))
    assert [(each.reward, each.gap) for each in left] == [(1, False), (9, True)]
    assert buffer.health["dropped_overflow"] == 2


def test_coalesce_adds_rewards_up_and_leaves_no_gap():
    held, dropped = arriving("coalesce", [a_record(reward=t) for t in range(6)])
    assert held == [(0, False), (1, False), (2 + 3 + 4 + 5, False)]
    assert dropped == 3


def test_coalesce_never_hides_the_end_of_an_env_episode():
    records = [a_record(reward=0), a_record(reward=1), a_record(reward=2, terminated=True), a_record(reward=3)]
    held, _ = arriving("coalesce", records)
    assert held == [(1, True), (2, False), (3, False)]


def test_the_reorder_window_works_through_the_pipeline():
    arrival = [0, 2, 1, 3, 5, 4, 4, 6, 7]
    feed, boundary = [record(t, t=t) for t in arrival], LivePipeline.every_n_steps(99)
    pipeline = LivePipeline(feed, ConstantAgent(), boundary, key="t", reorder_window=2)
    (window,) = pipeline.episodes()
    pipeline.teardown()
    assert window.rewards == [1, 2, 3, 4, 5, 6, 7]
    assert pipeline.health["dropped_duplicate"] == 1
    assert balance(pipeline.health) == 0


def test_late_records_are_dropped_without_a_reorder_window():
    feed, boundary = [record(t, t=t) for t in [0, 2, 1, 3]], LivePipeline.every_n_steps(99)
    pipeline = LivePipeline(feed, ConstantAgent(), boundary, key="t")
    (window,) = pipeline.episodes()
    pipeline.teardown()
    assert window.rewards == [2, 3]
    assert pipeline.health["dropped_late"] == 1


def test_records_of_a_resumed_feed_that_come_again_are_duplicates():
    buffer = FeedBuffer(10, overflow_named("block"), KeyOrder())
    for t in (1, 2, 3):
        buffer.offer(a_record(t, position=t))
    buffer.take_at_once(), buffer.take_at_once()
    other = FeedBuffer(10, overflow_named("block"), KeyOrder())
    other.load_state_dict(buffer.state_dict())
    for t in (2, 3, 1):
        other.offer(a_record(t, position=t))
    assert [each.key for each in iter(other.take_at_once, None)] == [3]
    assert (other.health["dropped_duplicate"], other.health["dropped_late"]) == (1, 1)
    assert balance(other.health) == 0
