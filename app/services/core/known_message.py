"""Is this a whole message like one that was judged before on this connection, and in what does it differ?

A client repeats its head with each request, a server with each answer. What can change, where nothing else is meant,
are the length of the body, the request id, the trace, and headers that the gateway never looks at, such as a server's
Date. A message that differs in those alone needs no parser and no second judgement. Every other line has to be the
same, octet by octet.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec

from app.services.core.known_head import HEAD_END, LONGEST_NUMBER, KnownHead

if TYPE_CHECKING:
    from collections.abc import Container

__all__ = ["KnownMessage", "Variation"]

_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*")
_PLAIN_VALUE = re.compile(rb"[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?")
_LENGTH, _REQUEST_ID, _TRACEPARENT, _TRACESTATE = b"content-length", b"x-request-id", b"traceparent", b"tracestate"
_VARYING = frozenset((_LENGTH, _REQUEST_ID, _TRACEPARENT, _TRACESTATE))
_FRAMING = frozenset(
    (b"host", b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"te", b"trailer", b"upgrade",
     b"http2-settings", b"expect")
)  # fmt: skip
"""What parsers act upon, whether the gateway looks at it or not."""


class Variation(msgspec.Struct, frozen=True, gc=False):
    """In what a message differs: the length of its body, and headers, each empty if absent."""

    body_length: int
    request_id: bytes
    traceparent: bytes
    tracestate: bytes


class KnownMessage:
    """The head of a message that was parsed and judged."""

    __slots__ = ("_exact", "_known", "_lines", "_places", "_prefixes")

    def __init__(self, exact: KnownHead, head: bytes, is_read: Container[bytes]) -> None:
        """Args: is_read: the headers that the gateway looks at, in lower case."""
        self._exact = exact
        self._lines = head.split(b"\r\n")
        self._prefixes: list[bytes] = []
        places: dict[bytes, int] = {}
        for place, line in enumerate(self._lines):
            field = _FIELD.match(line)
            name = field[1].lower() if field else b""
            varies = name in _VARYING or not (name in is_read or name in _FRAMING)
            self._prefixes.append(field[0] if field and varies else b"")
            if name in _VARYING:
                places[name] = place
        self._places = tuple(places.get(name, -1) for name in (_LENGTH, _REQUEST_ID, _TRACEPARENT, _TRACESTATE))
        self._known = self._variation(self._lines)

    @classmethod
    def of(cls, message: bytes, body_length: int, is_read: Container[bytes]) -> KnownMessage | None:
        """Learn from a whole message.

        Returns:
            None where its head can't be known again (see ``KnownHead.of``), or says twice what may vary.
        """
        exact = KnownHead.of(message, body_length)
        if exact is None:
            return None
        head = message[: message.find(HEAD_END)]
        return None if _says_twice(head) else cls(exact, head, is_read)

    def variation(self, message: bytes, max_head_bytes: int) -> Variation | None:
        """In what ``message`` differs, if it is such a head and one whole body and nothing else; else None."""
        length = self._exact.body_length(message)
        if length >= 0:
            known = self._known
            return Variation(length, known.request_id, known.traceparent, known.tracestate)
        end = message.find(HEAD_END, 0, max_head_bytes)
        lines = message[:end].split(b"\r\n") if end > 0 else []
        if len(lines) != len(self._lines):
            return None
        for line, known_line, prefix in zip(lines, self._lines, self._prefixes, strict=True):
            if line != known_line and not (
                prefix and line.startswith(prefix) and _PLAIN_VALUE.fullmatch(line, len(prefix))
            ):
                return None
        found = self._variation(lines)
        return found if found.body_length == len(message) - end - len(HEAD_END) else None

    def _variation(self, lines: list[bytes]) -> Variation:
        length, request_id, traceparent, tracestate = self._places
        number = _value(lines[length])
        return Variation(
            int(number) if number.isdigit() and len(number) <= LONGEST_NUMBER else -1,
            _value(lines[request_id]) if request_id >= 0 else b"",
            _value(lines[traceparent]) if traceparent >= 0 else b"",
            _value(lines[tracestate]) if tracestate >= 0 else b"",
        )


def _says_twice(head: bytes) -> bool:
    names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")]
    return any(names.count(name) > 1 for name in _VARYING)


def _value(line: bytes) -> bytes:
    return line[line.find(b":") + 1 :].strip(b" \t")
