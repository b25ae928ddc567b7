"""How many answers come per second, and is each one right? A closed loop: a connection asks again when it was answered.

Every byte of every body is compared with what the upstream sent. One wrong byte ends the run: figures of a gateway that
changes answers are worth nothing.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["AnswerReader", "AnswerWrong", "Load", "run_load"]

_PATIENCE_SECONDS = 20.0
_SHOWN_BYTES = 200


class AnswerWrong(Exception):
    """An answer is not what the upstream sent, or none came."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a run did: answers that were right, and how long it took."""

    answers: int
    seconds: float


class AnswerReader:
    """Reads answers from bytes as they come, with a content length or in chunks, and checks them."""

    def __init__(self, expected: bytes) -> None:
        self._expected = expected
        self._buffer = bytearray()
        self._body = bytearray()
        self._chunked: bool | None = None

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when they end an answer that is right.

        Raises:
            AnswerWrong: the status is not 200, the body differs, or more came than was asked for.
        """
        self._buffer += data
        if self._chunked is None and not self._read_head():
            return False
        if not (self._read_chunks() if self._chunked else self._read_whole()):
            return False
        if self._body != self._expected:
            raise AnswerWrong(_difference(bytes(self._body), self._expected))
        if self._buffer:
            raise AnswerWrong(f"{len(self._buffer)} bytes came after the answer's end")
        self._body.clear()
        self._chunked = None
        return True

    def _read_head(self) -> bool:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = bytes(self._buffer[:end]).lower()
        del self._buffer[: end + 4]
        if not head.startswith(b"http/1.1 200 "):
            raise AnswerWrong(f"the answer was {head[:64]!r} {bytes(self._buffer[:300])!r}")
        self._chunked = b"\r\ntransfer-encoding: chunked" in head
        if not self._chunked and b"\r\ncontent-length: %d" % len(self._expected) not in head:
            raise AnswerWrong(f"the answer's length is not {len(self._expected)} bytes: {head!r}")
        return True

    def _read_whole(self) -> bool:
        if len(self._buffer) < len(self._expected):
            return False
        self._body += self._buffer[: len(self._expected)]
        del self._buffer[: len(self._expected)]
        return True

    def _read_chunks(self) -> bool:
        while (line_end := self._buffer.find(b"\r\n")) >= 0:
            size = int(self._buffer[:line_end], 16)
            end = line_end + 2 + size
            if len(self._buffer) < end + 2:
                return False
            if self._buffer[end : end + 2] != b"\r\n":
                raise AnswerWrong("a chunk does not end where it says")
            self._body += self._buffer[line_end + 2 : end]
            del self._buffer[: end + 2]
            if size == 0:
                return True
        return False


def _difference(body: bytes, expected: bytes) -> str:
    pairs = enumerate(zip(body, expected, strict=False))
    place = next((place for place, (one, other) in pairs if one != other), min(len(body), len(expected)))
    came, sent = body[place : place + _SHOWN_BYTES], expected[place : place + _SHOWN_BYTES]
    return f"a body of {len(body)} bytes differs from the {len(expected)} sent, at byte {place}: {came!r}, not {sent!r}"


class _Connection(asyncio.Protocol):
    def __init__(self, request: bytes, expected: bytes) -> None:
        self.answers = 0
        self.stopping = False
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._reader = AnswerReader(expected)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None
        try:
            if not self._reader.feed(data):
                return
        except (AnswerWrong, ValueError) as error:
            self._end(error if isinstance(error, AnswerWrong) else AnswerWrong(str(error)))
            return
        self.answers += 1
        if self.stopping:
            self._end(None)
        else:
            self._transport.write(self._request)

    def connection_lost(self, exc: Exception | None) -> None:
        self._end(AnswerWrong(f"the connection was closed before the answer's end ({exc})"))

    def close(self) -> None:
        """Leave nothing behind, whether it had ended or not."""
        self._end(None)
        if not self.ended.cancelled():
            self.ended.exception()  # the first failure is told; asyncio would report the others as never retrieved

    def _end(self, failure: AnswerWrong | None) -> None:
        if not self.ended.done():
            if failure is None:
                self.ended.set_result(None)
            else:
                self.ended.set_exception(failure)
        if self._transport is not None:
            self._transport.abort()


async def run_load(ports: Sequence[int], request: bytes, expected: bytes, *, connections: int, seconds: float) -> Load:
    """Ask on so many connections, spread over the ports of this machine, for so long.

    Raises:
        AnswerWrong: an answer differs, breaks off or does not come.
        OSError: nothing listens.
    """
    loop = asyncio.get_running_loop()
    open_ones: list[_Connection] = []
    started = time.perf_counter()
    try:
        for number in range(connections):
            port = ports[number % len(ports)]
            _, connection = await loop.create_connection(lambda: _Connection(request, expected), "127.0.0.1", port)
            open_ones.append(connection)
        ends = asyncio.gather(*(connection.ended for connection in open_ones))
        await asyncio.wait([ends], timeout=seconds)
        for connection in open_ones:
            connection.stopping = True
        await asyncio.wait_for(ends, _PATIENCE_SECONDS)
    except TimeoutError as error:
        raise AnswerWrong(f"no whole answer came within {_PATIENCE_SECONDS:g} s") from error
    finally:
        for connection in open_ones:
            connection.close()
    return Load(sum(connection.answers for connection in open_ones), time.perf_counter() - started)
