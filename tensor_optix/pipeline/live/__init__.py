"""What a live feed is made of: sources, records, their order, the queue between two threads, and windows."""

from tensor_optix.pipeline.live.file_source import FileSource
from tensor_optix.pipeline.live.line_formats import CsvLines, JsonLines, LineFormat
from tensor_optix.pipeline.live.socket_source import TcpSource
from tensor_optix.pipeline.live.source import GAP, BadItem, LiveSource, Positioned
from tensor_optix.pipeline.live.stdin_source import StdinSource
from tensor_optix.pipeline.live.websocket_source import WebSocketSource

__all__ = [
    "GAP",
    "BadItem",
    "CsvLines",
    "FileSource",
    "JsonLines",
    "LineFormat",
    "LiveSource",
    "Positioned",
    "StdinSource",
    "TcpSource",
    "WebSocketSource",
]
