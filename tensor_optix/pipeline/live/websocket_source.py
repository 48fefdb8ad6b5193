"""How are the messages of a WebSocket a live feed?"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from tensor_optix._lazy import missing
from tensor_optix.pipeline.live.line_formats import MAX_LINE_BYTES, JsonLines, LineFormat, decoded
from tensor_optix.pipeline.live.record import Key
from tensor_optix.pipeline.live.socket_source import SILENCE_SECONDS, action_line
from tensor_optix.pipeline.live.source import POLL_SECONDS, BadItem, LiveSource

OPEN_SECONDS = 5.0
CLOSE_SECONDS = 0.3


class WebSocketSource(LiveSource):
    """One record a message, from ``ws://`` or ``wss://``. Needs the library websockets.

    subscribe: a message to send after connecting, as many services want. sends_actions, idle_timeout: as for
    ``TcpSource``. Compression is declined: a small message can stand for gigabytes.
    Raises MissingDependency where the library is not installed.
    """

    waits = False

    def __init__(
        self,
        url: str,
        line_format: LineFormat | None = None,
        *,
        subscribe: str | None = None,
        sends_actions: bool = False,
        idle_timeout: float | None = SILENCE_SECONDS,
    ) -> None:
        self._url = url
        self._format = line_format if line_format is not None else JsonLines()
        self._subscribe = subscribe
        self.takes_actions = sends_actions
        self.idle_timeout = idle_timeout
        self._connection: Any = None
        self._client, self._websocket_errors = _library()

    def stream(self, after: Key | None = None) -> Iterator[Any]:
        try:
            connection = self._client.connect(
                self._url, open_timeout=OPEN_SECONDS, close_timeout=CLOSE_SECONDS, max_size=MAX_LINE_BYTES,
                compression=None,
            )  # fmt: skip
            with connection:
                self._connection = connection
                if self._subscribe is not None:
                    connection.send(self._subscribe)
                yield from self._items(connection)
        except self._websocket_errors.ConnectionClosedOK:
            return
        except self._websocket_errors.WebSocketException as error:
            raise ConnectionError(f"{self._url}: {error}") from error
        finally:
            self._connection = None

    def act(self, action: Any) -> None:
        """Send the action as a message. Raises OSError where the connection is lost."""
        connection = self._connection
        if connection is None:
            raise ConnectionError("there is no connection to send the action on")
        try:
            connection.send(action_line(action).decode().rstrip("\n"))
        except self._websocket_errors.ConnectionClosed as error:
            raise ConnectionError(f"{self._url}: {error}") from error

    def interrupt(self) -> None:
        connection = self._connection
        if connection is not None:
            with suppress(OSError):
                connection.socket.close()

    @property
    def description(self) -> str:
        return self._url.partition("?")[0]  # what follows may be a secret

    def _items(self, connection: Any) -> Iterator[Any]:
        while True:
            try:
                message = connection.recv(timeout=POLL_SECONDS)
            except TimeoutError:
                yield None
                continue
            item = decoded(self._format, 0, message.encode() if isinstance(message, str) else message)
            yield item if item is None or isinstance(item, BadItem) else item.item


def _library() -> tuple[Any, Any]:
    """The parts of websockets that are used here."""
    try:
        from websockets import exceptions
        from websockets.sync import client
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "websockets":
            raise
        raise missing("websockets") from None
    return client, exceptions
