"""Is an answer right? Reads answers from bytes as they come, and checks every byte of every body.

Framing may differ from what the upstream sent (a gateway may cut chunks anew), the body may not. Where a gateway is
known to write answers anew (``rewritten``), what they say is compared instead: the text, its end, ``[DONE]``.
"""

from __future__ import annotations

import zlib
from bisect import bisect_right
from typing import TYPE_CHECKING, Protocol

from bench.meaning import MeantBody
from bench.wrong import AnswerWrong

if TYPE_CHECKING:
    from bench.answers import Answer

__all__ = ["AnswerReader"]

_SHOWN_BYTES = 120
_HEAD_END = b"\r\n\r\n"
_OK = b"HTTP/1.1 200 "


class _Body(Protocol):
    """Takes the pieces of a body, in order, and judges them."""

    def take(self, piece: bytes) -> int:
        """Take a piece; returns how many events it ended. Raises ``AnswerWrong``."""

    def end(self) -> int:
        """Judge the whole; returns how many events that ended. Raises ``AnswerWrong``."""


class _ExactBody:
    """Compares with the bytes that were sent."""

    __slots__ = ("_answer", "_events", "position")

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._events = 0
        self.position = 0

    def take(self, piece: bytes) -> int:
        """Compare a piece; returns how many events it ended."""
        if not self._answer.body.startswith(piece, self.position):
            raise AnswerWrong(_difference(piece, self._answer.body, self.position))
        self.position += len(piece)
        before, self._events = self._events, bisect_right(self._answer.offsets, self.position)
        return self._events - before

    def end(self) -> int:
        """Judge whether that was all."""
        if self.position != len(self._answer.body):
            raise AnswerWrong(f"a body ended after {self.position} of {len(self._answer.body)} bytes")
        return 0


class _GzippedBody:
    """Unpacks what a gateway has packed: openai-python says that it takes gzip."""

    __slots__ = ("_body", "_unpack")

    def __init__(self, body: _Body) -> None:
        self._body = body
        self._unpack = zlib.decompressobj(wbits=31)

    def take(self, piece: bytes) -> int:
        try:
            return self._body.take(self._unpack.decompress(piece))
        except zlib.error as error:
            raise AnswerWrong(f"a body is not the gzip that its head promises: {error}") from error

    def end(self) -> int:
        return self._body.end()


class AnswerReader:
    """Reads the answers that come one after the other on one connection.

    Attributes:
        events: how many whole events came so far, in all answers.
        begun: whether a part of an answer has come.
    """

    __slots__ = (
        "_answer",
        "_body",
        "_buffer",
        "_frames",
        "_left_bytes",
        "_length_line",
        "_next",
        "_rewritten",
        "_whole",
        "begun",
        "events",
    )

    def __init__(self, answer: Answer, *, rewritten: bool = False) -> None:
        self._answer = answer
        self._rewritten = rewritten
        self._frames = (*answer.framed, b"")  # nothing equals the last: after all events comes the slow way
        self._whole = _HEAD_END + answer.body
        self._length_line = b"ength: %d\r\n" % len(answer.body)
        self._buffer = b""
        self._body: _Body | None = None
        self._left_bytes = -1  # of a body with a length; -1: it comes in chunks
        self._next = -1  # the event that the next chunk should be; -1: see the slow way
        self.begun = False
        self.events = 0

    def feed(self, data: bytes) -> bool:
        """Take bytes; True when they end an answer that is right.

        Raises:
            AnswerWrong: the status is not 200, the body differs, or more came than was asked for.
        """
        if self._next >= 0 and data == self._frames[self._next]:
            self._next += 1
            self.events += 1
            return False
        if not self.begun and self._is_whole(data):
            self.events += 1
            return True
        return self._feed_slowly(data)

    def _is_whole(self, data: bytes) -> bool:
        """Whether this is one right answer, the short one of the upstream in one piece."""
        return (
            data.endswith(self._whole)
            and data.startswith(_OK)
            and data.find(_HEAD_END) == len(data) - len(self._whole)
            and self._length_line in data
            and not self._rewritten
        )

    def _feed_slowly(self, data: bytes) -> bool:
        self.begun = True
        if self._next >= 0 and isinstance(self._body, _ExactBody):  # take up what the quick way has passed
            self._catch_up(self._body)
        self._buffer += data
        if self._body is None and not self._read_head():
            return False
        body = self._body
        if body is None or not (self._read_chunks(body) if self._left_bytes < 0 else self._read_rest(body)):
            return False
        self.events += body.end()
        if self._buffer:
            raise AnswerWrong(f"{len(self._buffer)} bytes came after an answer's end: {self._buffer[:_SHOWN_BYTES]!r}")
        self._body, self._left_bytes, self.begun = None, -1, False
        return True

    def _catch_up(self, body: _ExactBody) -> None:
        passed = self._answer.offsets[self._next - 1] if self._next else 0
        body.take(self._answer.body[body.position : passed])
        self._next = -1

    def _read_head(self) -> bool:
        head, end, rest = self._buffer.partition(_HEAD_END)
        if not end:
            return False
        lowered = head.lower() + b"\r\n"
        if not head.startswith(_OK):
            raise AnswerWrong(f"the answer was {head[:64]!r}, {rest[:_SHOWN_BYTES]!r}")
        chunked = b"\r\ntransfer-encoding: chunked\r\n" in lowered
        length = lowered.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0].strip()
        if chunked == bool(length) or (length and not length.isdigit()):
            raise AnswerWrong(f"the answer's head has no one framing: {head!r}")
        self._buffer = rest
        self._left_bytes = int(length) if length else -1
        self._body = MeantBody(self._answer) if self._rewritten else _ExactBody(self._answer)
        if b"\r\ncontent-encoding: gzip\r\n" in lowered:
            self._body = _GzippedBody(self._body)
        return True

    def _read_rest(self, body: _Body) -> bool:
        piece, self._buffer = self._buffer[: self._left_bytes], self._buffer[self._left_bytes :]
        self._left_bytes -= len(piece)
        self.events += body.take(piece)
        return self._left_bytes == 0

    def _read_chunks(self, body: _Body) -> bool:
        start, buffer = 0, self._buffer
        while (line_end := buffer.find(b"\r\n", start)) >= 0:
            size = _chunk_size(buffer[start:line_end])
            end = line_end + 2 + size
            if len(buffer) < end + 2:
                break
            if buffer[end : end + 2] != b"\r\n":
                raise AnswerWrong("a chunk does not end where it says")
            if size == 0:
                self._buffer = buffer[end + 2 :]
                return True
            self.events += body.take(buffer[line_end + 2 : end])
            start = end + 2
        self._buffer = buffer[start:]
        if not self._buffer and isinstance(body, _ExactBody):
            self._next = self._event_at(body.position)
        return False

    def _event_at(self, position: int) -> int:
        """Which event begins at this place of the body; -1 if none does."""
        index = bisect_right(self._answer.offsets, position)
        begins = self._answer.offsets[index - 1] if index else 0
        return index if begins == position and index < len(self._answer.framed) else -1


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0]
    if not size or not all(character in b"0123456789abcdefABCDEF" for character in size):
        raise AnswerWrong(f"a chunk's size is {line[:_SHOWN_BYTES]!r}")
    return int(size, 16)


def _difference(piece: bytes, expected: bytes, position: int) -> str:
    there = expected[position : position + len(piece)]
    pairs = enumerate(zip(piece, there, strict=False))
    first = next((place for place, (one, other) in pairs if one != other), min(len(piece), len(there)))
    came, sent = piece[first : first + _SHOWN_BYTES], there[first : first + _SHOWN_BYTES]
    return f"a body differs from what was sent at byte {position + first}: {came!r}, not {sent!r}"
