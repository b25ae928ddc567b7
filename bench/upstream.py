"""What stands in for a model server? One child process that answers with fixed bytes: ``python -m bench.upstream``.

It prints its port and serves until it is ended. Every event of a stream is a write of its own, in a turn of the event
loop of its own, as an engine's would be; there is no pause between them.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from bench.answers import MODEL_LIST, SHAPES, STREAM_MARK, Shape

__all__ = ["Upstream", "event_loop_factory"]

_PLAIN, _STREAM = SHAPES
_STREAM_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


class Upstream(asyncio.Protocol):
    """One connection: requests one after the other, GET for the list of models and POST for answers."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """End a stream that nobody reads."""
        del exc
        self._transport = None

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole."""
        self._received += data
        head, end, rest = bytes(self._received).partition(b"\r\n\r\n")
        if not end or len(rest) < _content_length(head):
            return
        self._received.clear()
        if not head.startswith(b"POST"):
            known = head.startswith(b"GET /v1/models ")
            self._write(_whole(b"200 OK", MODEL_LIST) if known else _whole(b"404 Not Found", b"{}"))
        elif STREAM_MARK in rest:
            self._write(_STREAM_HEAD)
            self._write_event(_STREAM, 0)
        else:
            self._write(_whole(b"200 OK", _PLAIN.body))

    def _write_event(self, shape: Shape, number: int) -> None:
        part = shape.parts[number]
        is_last = number == len(shape.parts) - 1
        self._write(b"%x\r\n%b\r\n%b" % (len(part), part, b"0\r\n\r\n" if is_last else b""))
        if not is_last and self._transport is not None:
            asyncio.get_running_loop().call_soon(self._write_event, shape, number + 1)

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)


def event_loop_factory() -> asyncio.AbstractEventLoop:
    """Make an uvloop where it is installed, as the gateway does."""
    try:
        import uvloop  # noqa: PLC0415 - it is not there on every system
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def _content_length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


def _whole(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


async def _serve() -> None:
    server = await asyncio.get_running_loop().create_server(Upstream, "127.0.0.1", 0, backlog=1024)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        runner.run(_serve())
