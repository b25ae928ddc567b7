"""What stands in for a model server? A process that answers with fixed bytes: ``python -m bench.upstream``.

It prints its port and serves until it is ended. Every event of a stream is a write of its own. One clock of a
millisecond serves all streams: a timer for each would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import sys
from typing import cast

from bench.answers import ANSWERS, MODEL_LIST, Answer, chunk
from bench.requests import holds_prompt

__all__ = ["Pace", "Stream", "Upstream", "event_loop_factory", "serve"]

_STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n"
    b"transfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
_PATHS_OF_CHECKS = (b"GET /health ", b"GET /v1/models ", b"GET /models ")
_MILLISECOND = 0.001


class Stream:
    """One answer on its way: what is left to write, and where to."""

    __slots__ = ("_parts", "_position", "transport")

    def __init__(self, transport: asyncio.Transport, answer: Answer, *, with_usage: bool) -> None:
        self.transport = transport
        usage = (chunk(answer.usage),) if with_usage else ()
        self._parts = (*answer.framed[:-1], *usage, answer.framed[-1] + _LAST_CHUNK) if usage else answer.framed
        self._position = 0

    def write_next(self) -> bool:
        """Write one event; False when there is none left, or nobody to write to."""
        if self.transport.is_closing():
            return False
        part = self._parts[self._position]
        self._position += 1
        if self._position < len(self._parts):
            self.transport.write(part)
            return True
        self.transport.write(part if part.endswith(_LAST_CHUNK) else part + _LAST_CHUNK)
        return False


class Pace:
    """Writes to all streams with one gap, each at its own millisecond of it."""

    def __init__(self, gap_ms: int) -> None:
        self._slots: list[list[Stream]] = [[] for _slot in range(gap_ms)]
        self._open = 0
        self._told_ms = 0

    def add(self, stream: Stream) -> None:
        """Write the first event now and the others as their time comes."""
        if not stream.write_next():
            return
        now_ms = self._now_ms()
        if not self._open:
            self._told_ms = now_ms
            asyncio.get_running_loop().call_later(_MILLISECOND, self._tick)
        self._open += 1
        self._slots[now_ms % len(self._slots)].append(stream)

    def _tick(self) -> None:
        now_ms, count = self._now_ms(), len(self._slots)
        for moment in range(self._told_ms + 1, now_ms + 1):
            waiting = self._slots[moment % count]
            if waiting:
                self._slots[moment % count] = [stream for stream in waiting if stream.write_next()]
                self._open -= len(waiting) - len(self._slots[moment % count])
        self._told_ms = now_ms
        if self._open:
            asyncio.get_running_loop().call_later(_MILLISECOND, self._tick)

    @staticmethod
    def _now_ms() -> int:
        return int(asyncio.get_running_loop().time() * 1000)


class Upstream(asyncio.Protocol):
    """One connection: requests one after the other, GET for what gateways check and POST for answers."""

    def __init__(self, paces: dict[str, Pace]) -> None:
        self._paces = paces
        self._received = b""
        self._parts: list[bytes] = []
        self._wanted_bytes = 0
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the way back."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer when a request is whole. A long body is joined once, at its end."""
        self._parts.append(data)
        self._wanted_bytes -= len(data)
        if self._wanted_bytes > 0:
            return
        received = b"".join(self._parts) if len(self._parts) > 1 else data
        head_end = received.find(b"\r\n\r\n")
        if head_end < 0:
            self._parts, self._wanted_bytes = [received], 0
            return
        head = received[:head_end]
        size = head_end + 4 + _content_length(head)
        if len(received) < size:
            self._parts, self._wanted_bytes = [received], size - len(received)
            return
        self._parts, self._wanted_bytes = [], 0
        self._answer(head, received[head_end + 4 :])

    def _answer(self, head: bytes, body: bytes) -> None:
        if self._transport is None:
            return
        if not head.startswith(b"POST"):
            known = head.startswith(_PATHS_OF_CHECKS)
            self._transport.write(_whole(b"200 OK", MODEL_LIST) if known else _whole(b"404 Not Found", b"{}"))
            return
        answer = _asked_for(body)
        if answer is None or not holds_prompt(body):
            self._transport.write(
                _whole(b"400 Bad Request", b'{"error":{"message":"the prompt did not arrive whole"}}')
            )
        elif answer.streams:
            self._transport.write(_STREAM_HEAD)
            with_usage = b'"include_usage"' in body
            self._paces[answer.model].add(Stream(self._transport, answer, with_usage=with_usage))
        else:
            self._transport.write(_PLAIN_ANSWERS[answer.model])


def _asked_for(body: bytes) -> Answer | None:
    start = body.find(b'"bench-') + 1
    return ANSWERS.get(body[start : body.find(b'"', start)].decode("latin-1")) if start else None


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    return int(lowered[start + 17 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def _whole(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (status, len(body), body)


_PLAIN_ANSWERS = {model: _whole(b"200 OK", answer.body) for model, answer in ANSWERS.items() if not answer.streams}


def event_loop_factory() -> asyncio.AbstractEventLoop:
    """Make an uvloop where it is installed, as the gateway does."""
    try:
        import uvloop  # noqa: PLC0415 - it is not there on every system
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def serve() -> None:
    """Listen on a free port of this machine, print it, and answer until cancelled."""
    paces = {model: Pace(answer.gap_ms) for model, answer in ANSWERS.items() if answer.streams}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(paces), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        runner.run(serve())
