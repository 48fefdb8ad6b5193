"""How are lines from a TCP connection a live feed?"""

from __future__ import annotations

import errno
import os
import selectors
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from tensor_optix.pipeline.live.line_formats import JsonLines, LineFormat, LineSplitter, decoded
from tensor_optix.pipeline.live.record import Key
from tensor_optix.pipeline.live.source import POLL_SECONDS, BadItem, LiveSource
from tensor_optix.storage.strict_json import dumps

READ_BYTES = 1 << 16
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
SEND_SECONDS = 1.0


class TcpSource(LiveSource):
    """Lines from ``host:port``. What comes while nobody looks is dropped by the queue's policy, and counted.

    sends_actions: every action goes back on the same connection, as a line ``{"action": ...}``.
    idle_timeout: seconds of silence (empty lines are heartbeats and count as silence) after which it connects anew.
    """

    waits = False

    def __init__(
        self,
        host: str,
        port: int,
        line_format: LineFormat | None = None,
        *,
        sends_actions: bool = False,
        idle_timeout: float | None = SILENCE_SECONDS,
    ) -> None:
        self._address = (host, port)
        self._format = line_format if line_format is not None else JsonLines()
        self.takes_actions = sends_actions
        self.idle_timeout = idle_timeout
        self._socket: socket.socket | None = None

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        # looking up a name may take its time; the address that comes first is the one to use (RFC 6724)
        family, kind, protocol, _, address = socket.getaddrinfo(*self._address, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as connection, selectors.DefaultSelector() as selector:
            connection.setblocking(False)
            yield from _connected(connection, selector, address)
            self._socket = connection
            try:
                yield from self._items(connection, selector)
            finally:
                self._socket = None

    def act(self, action: Any) -> None:
        """Send the action. Raises OSError where the connection is lost; it is made anew by the reading thread."""
        connection = self._socket
        if connection is None:
            raise ConnectionError("there is no connection to send the action on")
        send_all(connection, action_line(action))

    @property
    def description(self) -> str:
        return f"tcp {self._address[0]}:{self._address[1]}"

    def _items(self, connection: socket.socket, selector: selectors.BaseSelector) -> Iterator[Any]:
        splitter, knows_header = LineSplitter(), not self._format.has_header
        selector.modify(connection, selectors.EVENT_READ)
        while True:
            if not selector.select(POLL_SECONDS):
                yield None
                continue
            data = connection.recv(READ_BYTES)
            if not data:
                return
            for _, line in splitter.lines(data):
                if knows_header or isinstance(line, BadItem):
                    item = decoded(self._format, 0, line)
                    yield item if item is None or isinstance(item, BadItem) else item.item
                else:
                    self._format.read_header(line)
                    knows_header = True


def action_line(action: Any) -> bytes:
    """``{"action": ...}`` with its line end."""
    plain = action.tolist() if isinstance(action, np.ndarray | np.generic) else action
    return dumps({"action": plain}) + b"\n"


def send_all(connection: socket.socket, data: bytes) -> None:
    """Send on a socket that does not block. Raises OSError, TimeoutError where the peer does not read."""
    with selectors.DefaultSelector() as selector:
        selector.register(connection, selectors.EVENT_WRITE)
        while data:
            if not selector.select(SEND_SECONDS):
                raise TimeoutError("the peer takes no actions")
            data = data[connection.send(data) :]


def _connected(
    connection: socket.socket, selector: selectors.BaseSelector, address: tuple[Any, ...]
) -> Iterator[None]:
    """Yields None until the connection stands. Raises OSError."""
    status = connection.connect_ex(address)
    if status not in (0, errno.EINPROGRESS):
        raise OSError(status, os.strerror(status))
    selector.register(connection, selectors.EVENT_WRITE)
    for _ in range(round(CONNECT_SECONDS / POLL_SECONDS)):
        if selector.select(POLL_SECONDS):
            status = connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if status:
                raise OSError(status, os.strerror(status))
            with suppress(OSError):  # not every kind of socket has it
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            return
        yield None
    raise TimeoutError(f"{address[0]}:{address[1]} did not answer within {CONNECT_SECONDS:g} seconds")
