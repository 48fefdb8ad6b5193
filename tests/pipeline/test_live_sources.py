"""The shipped sources, each against a real peer: a file that grows, a pipe, a TCP server, a WebSocket server."""

import json
import os
import socket
import sys
import threading

import pytest
from live_feeds import CountingAgent, balance, wait_until
from pipeline_agents import ConstantAgent

from tensor_optix import ConfigError, LiveFeedError, LivePipeline, MissingDependency
from tensor_optix.pipeline.live import CsvLines, FileSource, StdinSource, TcpSource, WebSocketSource
from tensor_optix.pipeline.live.line_formats import LineSplitter
from tensor_optix.pipeline.live.source import BadItem

MANY = LivePipeline.every_n_steps(1000)


def line(t, **more):
    return json.dumps({"observation": [t], "reward": t, **more}).encode() + b"\n"


def pipeline_on(source, boundary=MANY, **settings):
    return LivePipeline(source, settings.pop("agent", None) or CountingAgent(), boundary, **settings)


def all_windows(pipeline):
    try:
        return list(pipeline.episodes())
    finally:
        pipeline.teardown()
        assert balance(pipeline.health) == 0


# -- lines -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_bytes_arrive(size):
    data = b"one\n\ntwo\r\nthree\nfour"
    splitter, found = LineSplitter(), []
    for start in range(0, len(data), size):
        found += splitter.lines(data[start : start + size])
    found += splitter.last()
    assert [text for _, text in found] == [b"one", b"", b"two\r", b"three", b"four"]
    assert [position for position, _ in found] == [4, 5, 10, 16, 21]


def test_a_line_without_an_end_takes_no_memory():
    splitter = LineSplitter(max_bytes=10)
    for _ in range(1000):
        assert list(splitter.lines(b"x" * 100)) == []
        assert len(splitter._rest) <= 100
    (position, item), (_, following) = splitter.lines(b"\nok\n")
    assert isinstance(item, BadItem)
    assert (item.reason, position, following) == ("too_long", 100_001, b"ok")


CSV = b"time,open,close,reward,terminated,venue\n1,10,11,0.5,0,A\n2,11,12,-1,false,B\n3,12,13,2,1,C\n"


def test_csv_columns_become_observation_reward_ends_and_info(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_bytes(CSV)
    source = FileSource(path, CsvLines(["open", "close"]), follow=False)
    (window,) = all_windows(pipeline_on(source, key="time"))
    assert window.observations.tolist() == [[10, 11], [11, 12]]
    assert window.rewards == [-1, 2]
    assert window.terminated == [False, True]
    assert window.infos == [{"time": 2, "venue": "B"}, {"time": 3, "venue": "C"}]


@pytest.mark.parametrize(
    ("row", "reason"),
    [(b"1,2", "csv"), (b"1,2,x,0,0,A", "csv"), (b"1,nan,1,0,0,A", "not_finite"), (b"1,1,1,1e999,0,A", "not_finite"),
     (b"1,1,1,0,maybe,A", "flag"), (b'1,1,1,0,0,"A', "csv"), (b"\xff\xfe,1,1,0,0,A", "csv")],
)  # fmt: skip
def test_rows_of_csv_that_are_no_records_are_refused(tmp_path, row, reason):
    path = tmp_path / "prices.csv"
    path.write_bytes(CSV + row + b"\n")
    pipeline = pipeline_on(FileSource(path, CsvLines(["open", "close"]), follow=False))
    all_windows(pipeline)
    assert pipeline.rejections["by_reason"] == {reason: 1}


def test_csv_without_its_columns_is_refused(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_bytes(CSV)
    with pytest.raises(ConfigError, match="name its columns"):
        FileSource(path)
    with pytest.raises(LiveFeedError, match="there is no column 'high'"):
        all_windows(pipeline_on(FileSource(path, CsvLines(["high"]))))
    with pytest.raises(ConfigError, match="there is no column 'reward'"):
        CsvLines(["open"], columns=["open", "close"])


# -- files -----------------------------------------------------------------------------------------------------


def test_a_file_is_followed_while_it_grows_and_half_a_line_is_waited_for(tmp_path):
    path = tmp_path / "feed.jsonl"
    path.write_bytes(line(0) + line(1))
    pipeline = pipeline_on(FileSource(path), LivePipeline.every_n_steps(3))
    windows = pipeline.episodes()
    got = []
    thread = threading.Thread(target=lambda: got.append(next(windows)), daemon=True)
    thread.start()
    with path.open("ab", buffering=0) as file:
        wait_until(lambda: pipeline.health["received"] == 2)
        file.write(line(2)[:10])
        file.write(line(2)[10:] + line(3))
        thread.join(10)
    pipeline.teardown()
    assert got[0].rewards == [1, 2, 3]
    assert balance(pipeline.health) == 0


def test_a_rotated_file_is_read_from_its_beginning_behind_a_gap(tmp_path):
    path = tmp_path / "feed.jsonl"
    path.write_bytes(line(0) + line(1))
    pipeline = pipeline_on(FileSource(path), LivePipeline.every_n_steps(2))
    windows, got = pipeline.episodes(), []
    thread = threading.Thread(target=lambda: got.append(next(windows)), daemon=True)
    thread.start()
    wait_until(lambda: pipeline.health["received"] == 2)
    (tmp_path / "next").write_bytes(line(50) + line(51))
    (tmp_path / "next").replace(path)
    thread.join(10)
    pipeline.teardown()
    assert got[0].rewards == [1, 51]
    assert got[0].truncated == [True, False]
    assert pipeline.health["gaps"] == 1


def test_a_file_is_continued_behind_the_last_record_that_was_used(tmp_path):
    path = tmp_path / "feed.jsonl"
    path.write_bytes(b"".join(line(t) for t in range(20)))
    pipeline = pipeline_on(FileSource(path, follow=False), LivePipeline.every_n_steps(5))
    windows = pipeline.episodes()
    next(windows)
    state = pipeline.state_dict()
    expected = [window.rewards for window in windows]
    pipeline.teardown()
    other = pipeline_on(FileSource(path, follow=False), LivePipeline.every_n_steps(5))
    other.load_state_dict(state)
    assert [window.rewards for window in all_windows(other)] == expected
    assert "gaps" not in other.health
    assert other.health == pipeline.health


def test_csv_is_continued_with_the_columns_of_its_first_line(tmp_path):
    path = tmp_path / "prices.csv"
    path.write_bytes(b"a,reward\n" + b"".join(b"%d,%d\n" % (t, t) for t in range(9)))
    first = pipeline_on(FileSource(path, CsvLines(["a"]), follow=False), LivePipeline.every_n_steps(4))
    next(first.episodes())
    first.teardown()
    other = pipeline_on(FileSource(path, CsvLines(["a"]), follow=False), LivePipeline.every_n_steps(4))
    other.load_state_dict(first.state_dict())
    assert [window.rewards for window in all_windows(other)] == [[5, 6, 7, 8]]


def test_a_file_that_is_not_there_yet_is_waited_for(tmp_path):
    path = tmp_path / "feed.jsonl"
    slept = []

    def sleep(seconds):
        slept.append(seconds)
        if len(slept) == 3:
            path.write_bytes(line(0) + line(1))

    (window,) = all_windows(pipeline_on(FileSource(path, follow=False), sleep=sleep))
    assert window.rewards == [1]
    assert len(slept) == 3


def test_what_is_no_plain_file_is_an_error_and_not_a_wait(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    pipeline = pipeline_on(FileSource(tmp_path / "pipe"), max_outage=1.0, clock=iter(range(10_000)).__next__,
                           sleep=lambda seconds: None)  # fmt: skip
    with pytest.raises(LiveFeedError, match="no plain file"):
        all_windows(pipeline)


# -- standard input --------------------------------------------------------------------------------------------


def test_lines_of_standard_input_are_read_until_it_ends(monkeypatch):
    reading, writing = os.pipe()
    os.write(writing, line(0) + b"\n" + line(1) + line(2)[:5])
    os.write(writing, line(2)[5:].rstrip())  # the last line lacks its end
    os.close(writing)
    with os.fdopen(reading) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        (window,) = all_windows(pipeline_on(StdinSource()))
    assert window.rewards == [1, 2]


def test_csv_on_standard_input_begins_with_its_columns():
    reading, writing = os.pipe()
    os.write(writing, b"a,reward\n1,1\n2,2\n3,3\n")
    os.close(writing)
    (window,) = all_windows(pipeline_on(StdinSource(CsvLines(["a"]), descriptor=reading)))
    os.close(reading)
    assert window.rewards == [2, 3]


def test_a_silent_standard_input_does_not_hold_up_the_end():
    reading, writing = os.pipe()
    pipeline = pipeline_on(StdinSource(descriptor=reading))
    pipeline.start_reading()
    pipeline.teardown()
    assert "feeder_blocked" not in pipeline.health
    os.close(reading)
    os.close(writing)


# -- sockets ---------------------------------------------------------------------------------------------------


class Peer:
    """A TCP server on this machine that serves one connection after the other with the given functions."""

    def __init__(self, *connections):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(10)
        self.port = self.listener.getsockname()[1]
        self.connections = connections
        self.thread = threading.Thread(target=self.serve)

    def serve(self):
        for serve in self.connections:
            connection, _ = self.listener.accept()
            connection.settimeout(10)
            with connection:
                serve(connection)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.thread.join(10)
        self.listener.close()


def sending(*parts):
    return lambda connection: [connection.sendall(part) for part in parts]


def test_lines_from_a_tcp_server_are_read_until_it_hangs_up():
    with Peer(sending(line(0) + line(1)[:4], line(1)[4:] + b"\n", line(2))) as peer:
        (window,) = all_windows(pipeline_on(TcpSource("127.0.0.1", peer.port), reconnect_on_disconnect=False))
    assert window.rewards == [1, 2]


def test_a_lost_tcp_connection_is_made_anew_behind_a_gap():
    with Peer(sending(line(0), line(1)), sending(line(10), line(11))) as peer:
        pipeline = pipeline_on(TcpSource("127.0.0.1", peer.port), LivePipeline.every_n_steps(2), sleep=lambda s: None)
        window = next(pipeline.episodes())
        pipeline.teardown()
    assert window.rewards == [1, 11]
    assert window.truncated == [True, False]
    assert pipeline.health["reconnects"] == 1


def test_a_connection_that_is_refused_is_an_outage():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    pipeline = pipeline_on(TcpSource("127.0.0.1", port), max_outage=5.0, sleep=lambda s: None,
                           clock=iter(range(10_000)).__next__)  # fmt: skip
    with pytest.raises(LiveFeedError, match=r"max_outage is 5 .*refused"):
        all_windows(pipeline)


def test_actions_go_back_on_the_connection_and_are_answered():
    asked = []

    def serve(connection):
        """Pays for the action that was sent; the first record needs none."""
        connection.sendall(line(0))
        with connection.makefile() as lines:
            for t in range(1, 6):
                asked.append(json.loads(next(lines))["action"])
                connection.sendall(line(t, reward=100 * t + asked[-1]))
            next(lines)  # closing on what has not been read would reset the connection

    with Peer(serve) as peer:
        pipeline = pipeline_on(TcpSource("127.0.0.1", peer.port, sends_actions=True), reconnect_on_disconnect=False)
        (window,) = all_windows(pipeline)
    assert window.actions.tolist() == asked == [0, 1, 2, 3, 4]
    assert window.rewards == [100, 201, 302, 403, 504]


def test_a_silent_tcp_connection_does_not_hold_up_the_end():
    done = threading.Event()
    with Peer(lambda connection: done.wait(10)) as peer:
        pipeline = pipeline_on(TcpSource("127.0.0.1", peer.port))
        pipeline.start_reading()
        pipeline.teardown()
        assert "feeder_blocked" not in pipeline.health
        done.set()


# -- WebSocket -------------------------------------------------------------------------------------------------


@pytest.fixture
def websocket_server():
    """Starts a server around a handler; gives its address."""
    server_module = pytest.importorskip("websockets.sync.server", reason="needs the extra live")
    opened = []

    def start(handler):
        server = server_module.serve(handler, "127.0.0.1", 0)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        opened.append((server, thread))
        return f"ws://127.0.0.1:{server.socket.getsockname()[1]}/feed?token=secret"

    yield start
    for server, thread in opened:
        server.shutdown()
        thread.join(10)


def test_messages_of_a_websocket_are_records(websocket_server):
    subscribed = []

    def handler(connection):
        subscribed.append(connection.recv(timeout=10))
        for t in range(3):
            connection.send(line(t).decode())
        connection.send(line(3))

    source = WebSocketSource(websocket_server(handler), subscribe='{"op": "subscribe"}')
    assert "secret" not in source.description
    (window,) = all_windows(pipeline_on(source, reconnect_on_disconnect=False))
    assert window.rewards == [1, 2, 3]
    assert subscribed == ['{"op": "subscribe"}']


def test_a_lost_websocket_is_opened_anew_behind_a_gap(websocket_server):
    served = []

    def handler(connection):
        served.append(len(served))
        for t in range(10 * served[-1], 10 * served[-1] + 2):
            connection.send(line(t))
        if served[-1] == 0:
            connection.socket.shutdown(socket.SHUT_RDWR)  # without a closing handshake

    source = WebSocketSource(websocket_server(handler))
    pipeline = pipeline_on(source, LivePipeline.every_n_steps(2), sleep=lambda s: None)
    window = next(pipeline.episodes())
    pipeline.teardown()
    assert window.rewards == [1, 11]
    assert window.truncated == [True, False]


def test_a_websocket_takes_actions(websocket_server):
    asked = []

    def handler(connection):
        connection.send(line(0))
        for t in range(1, 4):
            asked.append(json.loads(connection.recv(timeout=10))["action"])
            connection.send(line(t))

    source = WebSocketSource(websocket_server(handler), sends_actions=True)
    (window,) = all_windows(pipeline_on(source, reconnect_on_disconnect=False))
    assert window.actions.tolist() == asked


def test_a_silent_websocket_does_not_hold_up_the_end(websocket_server):
    done, connected = threading.Event(), threading.Event()

    def handler(connection):
        connected.set()
        done.wait(10)

    pipeline = pipeline_on(WebSocketSource(websocket_server(handler)))
    pipeline.start_reading()
    assert connected.wait(10)
    pipeline.teardown()
    done.set()
    assert "feeder_blocked" not in pipeline.health


def test_without_the_library_a_websocket_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "websockets", None)
    monkeypatch.delitem(sys.modules, "websockets.sync", raising=False)
    with pytest.raises(MissingDependency, match=r'websockets is needed here.*\.\[live\]'):
        WebSocketSource("ws://127.0.0.1:1")


def test_a_source_without_waiting_drops_the_oldest_and_one_that_waits_drops_nothing():
    assert LivePipeline(TcpSource("127.0.0.1", 1), ConstantAgent())._buffer._overflow.waits is False
    assert LivePipeline(FileSource("x.jsonl"), ConstantAgent())._buffer._overflow.waits is True
