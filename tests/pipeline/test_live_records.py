"""What is a record, and what is refused? Forty bad ones between good ones."""

import json

import numpy as np
import pytest
from live_feeds import balance
from pipeline_agents import ConstantAgent

from tensor_optix import LiveFeedError, LivePipeline
from tensor_optix.pipeline.live import BadItem, FileSource, JsonLines
from tensor_optix.pipeline.live.line_formats import decoded
from tensor_optix.pipeline.live.record import MalformedRecord, RecordReader
from tensor_optix.pipeline.live.rejections import Rejections


def good(t):
    return json.dumps({"observation": [t, t], "reward": t}).encode()


def line(**parts):
    return json.dumps({"observation": [0, 0], "reward": 0, **parts}).encode()


BAD_LINES = {
    "json": [
        b"{", b"not json", b"[1, 2", b'{"observation": [NaN, 0], "reward": 0}',
        b'{"observation": [0, 0], "reward": Infinity}', b'{"observation": [0, 0], "reward": 1e999}',
        b'{"observation": [0, 0], "reward": 0, "reward": 1}', b"[" * 200_000, b'{"a":' * 200_000,
        b'{"observation": [0, 0], "reward": 0, "x": "\xff\xfe"}', b"\x00\x01\x02", b"\xff",
        b'{"observation": [0, 0], "reward": 1' + b"0" * 5000 + b"}", b'"\\ud800"' + b", ",
        b'{"observation": [0, 0], "reward": 0, "x": "\\ud800"}', b'{"__float__": "abc"}', b" " * (1 << 20) + b"x",
    ],
    "not_a_record": [b"5", b"null", b'"text"', b"[]", b"[1, 2, 3]", b"true"],
    "missing_entry": [b"{}", b'{"observation": [0, 0]}', b'{"reward": 0}', b'{"Observation": [0, 0], "reward": 0}'],
    "observation": [line(observation="text"), line(observation={"a": 1}),
                    line(observation=[1, [2]]), line(observation=["1", "2"])],
    "shape": [line(observation=None), line(observation=[1, 2, 3]), line(observation=5), line(observation=[[1, 2]])],
    "not_finite": [line(observation=[10**60, 0]), line(observation=[1e300, 0])],
    "reward": [line(reward="1"), line(reward=None), line(reward=[1]), line(reward={})],
    "flag": [line(terminated=2), line(truncated="yes"), line(terminated=None), line(truncated=[True])],
    "info": [line(info=[1]), line(info="x")],
}  # fmt: skip


BAD = [(reason, bad) for reason, lines in BAD_LINES.items() for bad in lines]


@pytest.mark.parametrize(("reason", "bad"), BAD, ids=[f"{reason} {number}" for number, (reason, _) in enumerate(BAD)])
def test_a_bad_line_is_refused_for_its_reason(reason, bad):
    reader = RecordReader()
    reader.read(json.loads(good(0)))
    item = decoded(JsonLines(), 0, bad)
    if isinstance(item, BadItem):
        assert item.reason == reason
        return
    with pytest.raises(MalformedRecord) as caught:
        reader.read(item.item)
    assert caught.value.reason == reason


def test_good_lines_between_all_the_bad_ones_are_delivered_in_order(tmp_path):
    path = tmp_path / "feed.jsonl"
    path.write_bytes(b"".join(good(t) + b"\n" + bad + b"\n" + good(t) + b"\n" for t, (_, bad) in enumerate(BAD)))
    pipeline = LivePipeline(FileSource(path, follow=False), ConstantAgent(), LivePipeline.every_n_steps(1000))
    (window,) = pipeline.episodes()
    pipeline.teardown()
    n = len(BAD)
    assert n >= 40
    # between the two good lines behind each bad one there is one whole transition: (t, t + 1)
    assert window.rewards == [float(t) for t in range(1, n)]
    assert pipeline.health["rejected_malformed"] == n
    assert pipeline.health["delivered"] == 2 * n
    assert sum(pipeline.rejections["by_reason"].values()) == n
    assert balance(pipeline.health) == 0


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ((np.zeros(2), 0.0, False, False), "not_a_record"),
        ((np.zeros(2), 0.0, False, False, {}, 0), "not_a_record"),
        (object(), "not_a_record"),
        (np.zeros(5), "not_a_record"),
        ((np.array([np.nan, 0]), 0.0, False, False, {}), "not_finite"),
        ((np.array([np.inf, 0]), 0.0, False, False, {}), "not_finite"),
        ((np.zeros(3), 0.0, False, False, {}), "shape"),
        ((np.zeros(2, dtype=object), 0.0, False, False, {}), "observation"),
        ((np.zeros(2, dtype=complex), 0.0, False, False, {}), "observation"),
        (([None, 1], 0.0, False, False, {}), "not_finite"),
        (([1, [2, 3]], 0.0, False, False, {}), "observation"),
        ((np.zeros(2), float("nan"), False, False, {}), "not_finite"),
        ((np.zeros(2), -float("inf"), False, False, {}), "not_finite"),
        ((np.zeros(2), 10**400, False, False, {}), "not_finite"),
        ((np.zeros(2), 1j, False, False, {}), "reward"),
        ((np.zeros(2), np.zeros(2), False, False, {}), "reward"),
        ((np.zeros(2), 0.0, "False", False, {}), "flag"),
        ((np.zeros(2), 0.0, float("nan"), False, {}), "flag"),
        ((np.zeros(2), 0.0, False, False, 5), "info"),
        ((np.zeros(2), 0.0, False, False, {}), "key"),
        ((np.zeros(2), 0.0, False, False, {"t": float("nan")}), "key"),
        ((np.zeros(2), 0.0, False, False, {"t": "later"}), "key"),
        ((np.zeros(2), 0.0, False, False, {"t": True}), "key"),
        ((np.zeros(2), 0.0, False, False, {"t": [1]}), "key"),
    ],
)
def test_what_is_no_record_is_refused_for_its_reason(item, reason):
    reader = RecordReader(key="t")
    reader.read((np.zeros(2), 0.0, False, False, {"t": 1}))
    with pytest.raises(MalformedRecord) as caught:
        reader.read(item)
    assert caught.value.reason == reason


def test_an_observation_is_a_copy_that_the_source_may_write_over():
    buffer = np.zeros(2, dtype=np.float32)
    record = RecordReader().read((buffer, 0, 0, 0, None))
    buffer[:] = 7
    np.testing.assert_array_equal(record.observation, [0, 0])


@pytest.mark.parametrize(
    ("first", "later", "dtype"),
    [([1, 2], [1.5, 2], np.float32), (np.zeros(2), np.ones(2, dtype=np.float32), np.float64),
     (np.zeros(2, dtype=np.uint8), [3, 4], np.uint8), ([0, 0], np.ones(2), np.float32)],
)  # fmt: skip
def test_observations_keep_the_type_of_the_first(first, later, dtype):
    reader = RecordReader()
    reader.read((first, 0, False, False, {}))
    record = reader.read((later, 0, False, False, {}))
    assert record.observation.dtype == dtype
    np.testing.assert_array_equal(record.observation, later)


@pytest.mark.parametrize("value", [[0.5, 1], [300, 0], [-1, 0]])
def test_what_does_not_fit_into_whole_numbers_is_refused(value):
    reader = RecordReader()
    reader.read((np.zeros(2, dtype=np.uint8), 0, False, False, {}))
    with pytest.raises(MalformedRecord, match="does not fit into uint8"):
        reader.read((value, 0, False, False, {}))


def test_entries_of_a_table_that_are_none_of_the_five_join_the_info():
    record = RecordReader(key="time").read({"obs": [1], "reward": 2, "time": 3, "info": {"venue": "X"}})
    assert record.info == {"time": 3, "venue": "X"}
    assert record.key == 3


def test_a_key_may_be_computed():
    reader = RecordReader(key=lambda info: info["day"] * 100 + info["second"])
    record = reader.read(([1], 0, 0, 0, {"day": 2, "second": 5}))
    assert record.key == 205


def test_a_few_refused_records_are_kept_and_shortened():
    refused = Rejections()
    for t in range(5):
        refused.refused(f"{t}" * 10_000, MalformedRecord("json", "is not JSON"))
    assert len(refused.samples) == 3
    assert max(map(len, refused.samples)) <= 512
    assert refused.by_reason == {"json": 5}


def test_an_item_that_cannot_even_be_shown_is_refused_all_the_same():
    class Hostile:
        def __repr__(self):
            raise RuntimeError("no")

    refused = Rejections()
    refused.refused(Hostile(), MalformedRecord("not_a_record", "no"))
    assert "Hostile that cannot be shown" in refused.samples[0]


def test_half_of_the_last_hundred_may_be_refused_but_not_more():
    refused, problem = Rejections(), MalformedRecord("json", "")
    for _ in range(50):
        refused.accepted()
        refused.refused("", problem)
    assert not refused.is_alarming
    refused.refused("", problem)  # pushes a good one out
    assert refused.is_alarming
    refused.accepted()  # pushes a bad one out
    assert not refused.is_alarming


def test_a_feed_that_speaks_another_format_is_told_so():
    records = [([0, 0], 0, False, False, {})] + [{"price": t} for t in range(200)]
    pipeline = LivePipeline(records, ConstantAgent())
    with pytest.raises(LiveFeedError, match=r"more than half .* refused .*missing_entry.*'price': 0"):
        list(pipeline.episodes())
    pipeline.teardown()
    assert balance(pipeline.health) == 0
    assert pipeline.rejections["by_reason"] == {"missing_entry": 99}
