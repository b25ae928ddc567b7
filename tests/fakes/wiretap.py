"""Is every byte that a model server gets one that the gateway wrote for it? A tap that keeps and judges all of them.

The tap reads as strictly as nobody else does: one form of request line, an allow-list of header names, each once, one
``Content-Length`` in plain digits, and nothing between requests. Whatever does not fit is a violation.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Asked", "Tap", "TappedServer", "answer_echo", "tapped"]

ALLOWED = frozenset({
    "host", "user-agent", "accept-encoding", "authorization", "content-type", "x-request-id", "via", "content-length",
    "traceparent", "tracestate",
})  # fmt: skip
REQUEST_LINE = re.compile(r"POST (/[a-z0-9/]+) HTTP/1\.1")
PRINTABLE = re.compile(r"[\x20-\x7e]*")
LENGTH = re.compile(r"0|[1-9][0-9]{0,17}")


@dataclass(frozen=True)
class Asked:
    """One request as a server got it. ``raw`` is all of it."""

    path: str
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Tap:
    """All that came over one connection."""

    received: bytearray = field(default_factory=bytearray)
    asked: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    _read: int = 0

    def feed(self, data: bytes) -> list[Asked]:
        """Take bytes; return the requests that they made whole."""
        self.received += data
        found = []
        while not self.violations and (one := self._next()) is not None:
            self.asked.append(one)
            found.append(one)
        return found

    @property
    def whole(self) -> bool:
        """Whether what came are whole, proper requests and nothing else."""
        return not self.violations and self._read == len(self.received)

    def _next(self) -> Asked | None:
        head_end = self.received.find(b"\r\n\r\n", self._read)
        if head_end < 0:
            return None
        path, headers = self._head(bytes(self.received[self._read : head_end]).decode("latin-1"))
        body_start = head_end + 4
        body_end = body_start + int(headers.get("content-length", "0"))
        if self.violations or len(self.received) < body_end:
            return None
        raw, self._read = bytes(self.received[self._read : body_end]), body_end
        return Asked(path, headers, raw[body_start - body_end :] if body_end > body_start else b"", raw)

    def _head(self, text: str) -> tuple[str, dict[str, str]]:
        first, *lines = text.split("\r\n")
        matched = REQUEST_LINE.fullmatch(first)
        self._check(matched, f"a request line: {first!r}")
        headers: dict[str, str] = {}
        for line in lines:
            name, colon, value = line.partition(": ")
            self._check(colon and name in ALLOWED and name not in headers, f"a header: {line!r}")
            self._check(PRINTABLE.fullmatch(value), f"a value: {line!r}")
            headers[name] = value
        length = headers.get("content-length", "")
        if not self._check(LENGTH.fullmatch(length), f"a length: {length!r}"):
            headers["content-length"] = "0"
        return matched.group(1) if matched else "", headers

    def _check(self, fits: object, what: str) -> bool:
        if not fits:
            self.violations.append(what)
        return bool(fits)


Answering = Callable[[Asked], Sequence[bytes]]
"""What a server says to a request, cut into the writes that it makes."""


def answer_echo(asked: Asked) -> list[bytes]:
    """A proper answer that says what was asked, so that one which goes astray is noticed."""
    seen = asked.json
    said = json.dumps(seen.get("messages"))
    if not seen.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = json.dumps({"object": "chat.completion", "model": "m", "choices": [choice], "usage": usage}).encode()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
        return [head % len(body) + body]
    events = [
        {"choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]},
        {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]},
    ]
    texts = [b"data: %b\n\n" % json.dumps(event).encode() for event in events] + [b"data: [DONE]\n\n"]
    chunks = [b"%x\r\n%b\r\n" % (len(text), text) for text in texts]
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    return [head, *chunks, b"0\r\n\r\n"]


class TappedServer:
    """A model server on a real socket that keeps every byte. ``answering`` may be changed at any time."""

    def __init__(self, answering: Answering = answer_echo) -> None:
        self.answering = answering
        self.taps: list[Tap] = []
        self.open = 0
        self.port = 0
        self.transports: list[asyncio.Transport] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def asked(self) -> list[Asked]:
        """The requests of all connections, connection by connection."""
        return [one for tap in self.taps for one in tap.asked]

    def assert_clean(self) -> None:
        """Nothing came but whole requests of the gateway's own making."""
        for tap in self.taps:
            assert not tap.violations, (tap.violations, bytes(tap.received[-2000:]))
            assert tap.whole, bytes(tap.received[-2000:])


class _Connection(asyncio.Protocol):
    def __init__(self, server: TappedServer) -> None:
        self._server = server
        self._tap = Tap()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._server.open += 1
        self._server.taps.append(self._tap)
        self._server.transports.append(transport)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        for asked in self._tap.feed(data):
            for piece in self._server.answering(asked):
                self._transport.write(piece)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.open -= 1


@asynccontextmanager
async def tapped(answering: Answering = answer_echo) -> AsyncIterator[TappedServer]:
    """Start a server with a tap, and stop it."""
    server = TappedServer(answering)
    listener = await asyncio.get_running_loop().create_server(lambda: _Connection(server), "127.0.0.1", 0)
    server.port = listener.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listener.close()
        for transport in server.transports:
            transport.abort()
        await listener.wait_closed()
