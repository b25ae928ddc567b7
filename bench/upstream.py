"""What stands in for a model server? A process that answers with fixed bytes: ``python -m bench.upstream``.

It prints its port and serves until it is ended. Every event of a stream is a write of its own, and every head says the
date. One clock of a millisecond serves all streams: a timer for each would cost more than what is measured.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from email.utils import formatdate
from random import Random
from typing import TYPE_CHECKING, cast

from bench.answers import ANSWERS, MODEL_LIST, Answer, chunk
from bench.requests import holds_prompt

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["UPSTREAM_WORDS", "Heads", "Pace", "Stream", "Upstream", "event_loop_factory", "serve"]

UPSTREAM_WORDS = "The upstreams' answers carry a `date` that changes each second, as those of real servers do."
"""What is to be known of the upstreams, for the page."""
_STREAM_FIELDS = (
    b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\ntransfer-encoding: chunked\r\n\r\n"
)
_LAST_CHUNK = b"0\r\n\r\n"
_PATHS_OF_CHECKS = (b"GET /health ", b"GET /v1/models ", b"GET /models ")
_MILLISECOND = 0.001


class Heads:
    """Whole answers and heads of streams as they go out now. What says the date is put together once a second.

    Args:
        clock: tells the seconds since 1970.
    """

    __slots__ = ("_clock", "_identified", "_plain", "_second", "_start", "_stream")

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._second = -1
        self._start = b""
        self._stream = b""
        self._plain: dict[str, bytes] = {}
        self._identified = secrets.randbits(96) << 32

    def stream(self) -> bytes:
        """The head of a stream."""
        self._renew()
        return self._stream

    def plain(self, answer: Answer) -> bytes:
        """A whole answer."""
        self._renew()
        if not answer.identified:
            return self._plain[answer.model]
        self._identified += 1
        return b"%bx-request-id: %032x\r\n%b" % (self._start, self._identified, _whole(answer.body))

    def other(self, status: bytes, body: bytes) -> bytes:
        """An answer that no work asks for."""
        self._renew()
        return self._start.replace(b"200 OK", status, 1) + _whole(body)

    def _renew(self) -> None:
        second = int(self._clock())
        if second == self._second:
            return
        self._second = second
        self._start = b"HTTP/1.1 200 OK\r\ndate: %b\r\n" % formatdate(second, usegmt=True).encode()
        self._stream = self._start + _STREAM_FIELDS
        plain = [answer for answer in ANSWERS.values() if not answer.streams]
        self._plain = {answer.model: self._start + _whole(answer.body) for answer in plain}


class Stream:
    """One answer on its way: what is left to write, and where to."""

    __slots__ = ("_cuts", "_parts", "_position", "_rest", "transport")

    def __init__(self, transport: asyncio.Transport, answer: Answer, *, with_usage: bool) -> None:
        self.transport = transport
        usage = (chunk(answer.usage),) if with_usage else ()
        self._parts = (*answer.framed[:-1], *usage, answer.framed[-1] + _LAST_CHUNK) if usage else answer.framed
        self._position = 0
        self._rest = b""  # of an event that was cut
        self._cuts = Random() if answer.cut else None

    def write_next(self) -> bool:
        """Write one event; False when there is none left, or nobody to write to."""
        if self.transport.is_closing():
            return False
        part = self._parts[self._position]
        self._position += 1
        is_last = self._position == len(self._parts)
        if is_last and not part.endswith(_LAST_CHUNK):
            part += _LAST_CHUNK
        if self._cuts is None:
            self.transport.write(part)
        else:
            self._write_rest()  # should this come so late that the one before is not over
            place = self._cuts.randrange(1, len(part))
            self.transport.write(part[:place])
            self._rest = part[place:]
            asyncio.get_running_loop().call_later(_MILLISECOND, self._write_rest)
        return not is_last

    def _write_rest(self) -> None:
        if self._rest and not self.transport.is_closing():
            self.transport.write(self._rest)
        self._rest = b""


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

    def __init__(self, paces: dict[str, Pace], heads: Heads) -> None:
        self._paces = paces
        self._heads = heads
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
            status, content = (b"200 OK", MODEL_LIST) if known else (b"404 Not Found", b"{}")
            self._transport.write(self._heads.other(status, content))
            return
        answer = _asked_for(body)
        if answer is None or not holds_prompt(body):
            refusal = b'{"error":{"message":"the prompt did not arrive whole"}}'
            self._transport.write(self._heads.other(b"400 Bad Request", refusal))
        elif answer.streams:
            self._transport.write(self._heads.stream())
            with_usage = b'"include_usage"' in body
            self._paces[answer.model].add(Stream(self._transport, answer, with_usage=with_usage))
        else:
            self._transport.write(self._heads.plain(answer))


def _asked_for(body: bytes) -> Answer | None:
    start = body.find(b'"bench-') + 1
    return ANSWERS.get(body[start : body.find(b'"', start)].decode("latin-1")) if start else None


def _content_length(head: bytes) -> int:
    lowered = head.lower()
    start = lowered.find(b"\r\ncontent-length:")
    return int(lowered[start + 17 :].split(b"\r\n", 1)[0]) if start >= 0 else 0


def _whole(body: bytes) -> bytes:
    """The end of a head, and a body."""
    return b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)


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
    heads = Heads()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Upstream(paces, heads), "127.0.0.1", 0, backlog=4096)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=event_loop_factory) as runner:
        runner.run(serve())
