"""What does a line of a feed say?"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

from tensor_optix.errors import ConfigError
from tensor_optix.pipeline.live.record import MalformedRecord
from tensor_optix.pipeline.live.source import BadItem, Positioned
from tensor_optix.storage.strict_json import FormatError, loads

MAX_LINE_BYTES = 1 << 20


class LineFormat(ABC):
    """Turns the bytes of one line into a table, as the records of a live feed may be."""

    has_header = False
    """True when the first line names the columns."""

    @abstractmethod
    def decode(self, line: bytes) -> Any:
        """The record; None where the line says nothing (a heartbeat). Raises MalformedRecord."""

    def read_header(self, line: bytes) -> None:
        """Take the first line; only asked where ``has_header``. Raises MalformedRecord."""


class JsonLines(LineFormat):
    """One JSON object (or list of five) a line, read strictly: no NaN, no key twice, nothing deeply nested."""

    def __init__(self, max_bytes: int = MAX_LINE_BYTES) -> None:
        self._max_bytes = max_bytes

    def decode(self, line: bytes) -> Any:
        if not line.strip():
            return None
        try:
            value = loads(line, self._max_bytes)
        except FormatError as error:
            raise MalformedRecord("json", f"the line {error}") from None
        if value is None:
            raise MalformedRecord("not_a_record", "null is no record; a heartbeat is an empty line")
        return value


class CsvLines(LineFormat):
    """Comma-separated numbers.

    observation: the columns that form it, in this order; reward, terminated, truncated: one column each (the last
    two may be missing from the file). Every other column joins the info, as a number where it is one.
    columns: the names in order; None: the first line has them.
    """

    def __init__(
        self,
        observation: Sequence[str],
        reward: str = "reward",
        *,
        terminated: str = "terminated",
        truncated: str = "truncated",
        columns: Sequence[str] | None = None,
    ) -> None:
        if isinstance(observation, str) or not observation:
            raise ConfigError(f"observation must list the columns that form it, got {observation!r}")
        self._observation, self._reward = tuple(observation), reward
        self._ends = (terminated, truncated)
        self.has_header = columns is None
        self._columns: tuple[str, ...] = ()
        if columns is not None:
            self._take_columns(columns)

    def read_header(self, line: bytes) -> None:
        try:
            self._take_columns(_fields(line))
        except ConfigError as error:
            raise MalformedRecord("header", str(error)) from None

    def decode(self, line: bytes) -> Any:
        if not line.strip():
            return None
        fields = _fields(line)
        if len(fields) != len(self._columns):
            raise MalformedRecord("csv", f"the line has {len(fields)} fields, not {len(self._columns)}")
        row = dict(zip(self._columns, fields, strict=True))
        own = {*self._observation, self._reward, *self._ends}
        return (
            [_float(row[name]) for name in self._observation],
            _float(row[self._reward]),
            *(_flag(row.get(name, "0")) for name in self._ends),
            {name: _value(text) for name, text in row.items() if name not in own},
        )

    def _take_columns(self, columns: Sequence[str]) -> None:
        self._columns = tuple(name.strip() for name in columns)
        if lacking := [name for name in (*self._observation, self._reward) if name not in self._columns]:
            raise ConfigError(f"there is no column {lacking[0]!r}; the columns are {', '.join(self._columns)}")


class LineSplitter:
    """Cuts bytes into lines, each with the position behind it; a line longer than ``max_bytes`` is a bad item."""

    def __init__(self, position: int = 0, *, max_bytes: int = MAX_LINE_BYTES) -> None:
        self.position = position
        self._max_bytes = max_bytes
        self._rest = b""
        self._is_too_long = False

    def lines(self, data: bytes) -> Iterator[tuple[int, bytes | BadItem]]:
        """The lines that ``data`` completes."""
        *complete, self._rest = (self._rest + data).split(b"\n")
        for line in complete:
            self.position += len(line) + 1
            is_too_long, self._is_too_long = self._is_too_long or len(line) > self._max_bytes, False
            yield self.position, self._too_long(line) if is_too_long else line
        if len(self._rest) > self._max_bytes:  # the line goes on: of what is too long nothing need be kept
            self.position += len(self._rest) - 1
            self._rest, self._is_too_long = self._rest[:1], True

    def last(self) -> Iterator[tuple[int, bytes | BadItem]]:
        """What stands behind the last line end, when nothing more will come."""
        if self._rest or self._is_too_long:
            yield from self.lines(b"\n")

    def _too_long(self, line: bytes) -> BadItem:
        return BadItem("too_long", f"the line has more than {self._max_bytes} bytes", line)


def decoded(line_format: LineFormat, position: int, line: bytes | BadItem) -> Any:
    """The record of ``line`` with its position, a bad item, or None where it says nothing."""
    if isinstance(line, BadItem):
        return line
    try:
        item = line_format.decode(line)
    except MalformedRecord as error:
        return BadItem(error.reason, str(error), line)
    return None if item is None else Positioned(position, item)


def _fields(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode("utf-8-sig").rstrip("\r")], strict=True))
    except (UnicodeDecodeError, csv.Error, StopIteration) as error:
        raise MalformedRecord("csv", f"the line is no CSV in UTF-8: {error}") from None


def _float(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise MalformedRecord("csv", f"{text[:40]!r} is no number") from None


def _flag(text: str) -> bool:
    flags = {"": False, "0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}
    if text.strip().lower() not in flags:
        raise MalformedRecord("flag", f"{text[:40]!r} is neither true nor false")
    return flags[text.strip().lower()]


def _value(text: str) -> int | float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
