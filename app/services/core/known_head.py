"""Is this a whole message whose head, but for the length of its body, was read before?

A client that keeps its connection, and a server in its answers, writes the same head again and again: only the number
behind Content-Length differs. A head that was parsed and judged once need not be parsed again where every other octet
is the same, so most messages cost two comparisons. Whatever differs, comes in pieces or holds more than one message
goes through the parser.
"""

from __future__ import annotations

import re

__all__ = ["HEAD_END", "LONGEST_NUMBER", "KnownHead"]

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,9})\r\n", re.IGNORECASE)
LONGEST_NUMBER = 9
_LONGEST_HEAD = 4096
HEAD_END = b"\r\n\r\n"


class KnownHead:
    """The octets of a head around the number behind its Content-Length."""

    __slots__ = ("_after", "_after_length", "_before", "_before_length")

    def __init__(self, before: bytes, after: bytes) -> None:
        self._before = before
        self._after = after
        self._before_length = len(before)
        self._after_length = len(after)

    @classmethod
    def of(cls, message: bytes, body_length: int) -> KnownHead | None:
        """Take the head of a whole message that a parser accepted, and found to have a body of so many octets.

        Returns:
            None where the head has no Content-Length, is long, or could be cut in another place than the parser did.
        """
        end = message.find(HEAD_END)
        if end < 0 or end > _LONGEST_HEAD or message.count(b"\n", 0, end) != message.count(b"\r\n", 0, end):
            return None
        found = _LENGTH.search(message, 0, end + 2)
        if found is None:
            return None
        known = cls(message[: found.start(1)], message[found.end(1) : end + len(HEAD_END)])
        return known if len(message) - (end + len(HEAD_END)) == body_length == known.body_length(message) else None

    def body_length(self, message: bytes) -> int:
        """How long the body is, if ``message`` is this head and one whole body and nothing else; else -1."""
        if not message.startswith(self._before):
            return -1
        start = self._before_length
        end = message.find(b"\r", start, start + LONGEST_NUMBER + 1)
        if end < 0 or not message.startswith(self._after, end):
            return -1
        digits = message[start:end]
        if not digits.isdigit():
            return -1
        length = int(digits)
        return length if len(message) == end + self._after_length + length else -1
