"""Is this a whole message like one that was judged before on this connection, and in what does it differ?

A client repeats its head with each request, a server with each answer. What can change, where nothing else is meant,
are the length of the body, the request id, the trace, and headers that the gateway never looks at, such as a server's
Date. A message that differs in those alone needs no parser and no second judgement. Every other line has to be the
same, octet by octet. Whatever differs, comes in pieces or holds more than one message goes through the parser.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["KnownMessage", "Variation"]

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*")
_PLAIN_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_LENGTH, _REQUEST_ID, _TRACEPARENT, _TRACESTATE = b"content-length", b"x-request-id", b"traceparent", b"tracestate"
_VARYING = (_LENGTH, _REQUEST_ID, _TRACEPARENT, _TRACESTATE)
_FRAMING = frozenset(
    (b"host", b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade",
     b"http2-settings", b"expect")
)  # fmt: skip
"""What parsers act upon, whether the gateway looks at it or not."""
_END = b"\r\n\r\n"
_LONGEST_HEAD = 4096
_LONGEST_NUMBER = 9


class Variation(msgspec.Struct, frozen=True, gc=False):
    """In what a message differs: the length of its body, and headers, each empty if absent."""

    body_length: int
    request_id: bytes
    traceparent: bytes
    tracestate: bytes


class KnownMessage:
    """The head of a message that was parsed and judged, cut where values were seen to vary."""

    __slots__ = ("_cuts", "_fixed", "_last", "_lines", "_names", "_prefixes", "_varying")

    def __init__(self, head: bytes, is_read: Container[bytes]) -> None:
        """Args: head: without the empty line; is_read: the headers that the gateway looks at, in lower case."""
        self._lines = head.split(b"\r\n")
        fields = [_FIELD.match(line) for line in self._lines]
        self._names = [field[1].lower() if field else b"" for field in fields]
        self._prefixes = [
            field[0] if field and (name in _VARYING or not (name in is_read or name in _FRAMING)) else b""
            for field, name in zip(fields, self._names, strict=True)
        ]
        self._fixed = dict.fromkeys(_VARYING, b"")
        for line, name, prefix in zip(self._lines, self._names, self._prefixes, strict=True):
            if name in _VARYING:
                self._fixed[name] = line[len(prefix) :].rstrip(b" \t")
        self._varying = {self._names.index(_LENGTH)}
        self._cut()

    @classmethod
    def of(cls, message: bytes, body_length: int, is_read: Container[bytes]) -> KnownMessage | None:
        """Learn from a whole message that a parser accepted, and found to have a body of so many octets.

        Returns:
            None where its head has no Content-Length, is long, says twice what may vary, or could be cut in another
            place than the parser did.
        """
        end = message.find(_END)
        if end < 0 or end > _LONGEST_HEAD or message.count(b"\n", 0, end) != message.count(b"\r\n", 0, end):
            return None
        names = [line.partition(b":")[0].lower() for line in message[:end].split(b"\r\n")]
        if names.count(_LENGTH) != 1 or any(names.count(name) > 1 for name in _VARYING):
            return None
        known = cls(message[:end], is_read)
        found = known.compare(message, _LONGEST_HEAD)
        return known if found is not None and found.body_length == body_length else None

    def compare(self, message: bytes, max_head_bytes: int) -> Variation | None:
        """In what ``message`` differs, if it is such a head and one whole body and nothing else; else None."""
        position, length = 0, -1
        values: dict[bytes, bytes] | None = None
        for segment, name in self._cuts:
            if not message.startswith(segment, position):
                return None
            position += len(segment)
            end = message.find(b"\r", position)
            value = message[position:end]
            position = end
            if name is None:
                if not value.isdigit() or len(value) > _LONGEST_NUMBER:
                    return None
                length = int(value)
            elif _PLAIN_VALUE.fullmatch(value) is None:
                return None
            elif name in _VARYING:
                values = values or {}
                values[name] = value
        last = self._last
        if position > max_head_bytes or not message.startswith(last, position):
            return None
        if len(message) != position + len(last) + length:
            return None
        found = self._fixed if values is None else {**self._fixed, **values}
        return Variation(length, found[_REQUEST_ID], found[_TRACEPARENT], found[_TRACESTATE])

    def learn(self, message: bytes, max_head_bytes: int) -> Variation | None:
        """Cut where this message differs too, and compare again; None when it may not differ there."""
        end = message.find(_END, 0, max_head_bytes)
        lines = message[:end].split(b"\r\n") if end > 0 else []
        if len(lines) != len(self._lines):
            return None
        varying = set(self._varying)
        for place, (line, known, prefix) in enumerate(zip(lines, self._lines, self._prefixes, strict=True)):
            if line != known:
                if not prefix or not line.startswith(prefix):
                    return None
                varying.add(place)
        if varying == self._varying:
            return None
        self._varying = varying
        self._cut()
        return self.compare(message, max_head_bytes)

    def _cut(self) -> None:
        """Cut the head into what stands before each varying value, and what stands behind the last."""
        self._cuts: list[tuple[bytes, bytes | None]] = []  # the second is None for the length
        segment = b""
        for place, line in enumerate(self._lines):
            segment += b"\r\n" if place else b""
            if place in self._varying:
                name = self._names[place]
                self._cuts.append((segment + self._prefixes[place], None if name == _LENGTH else name))
                segment = b""
            else:
                segment += line
        self._last = segment + _END
