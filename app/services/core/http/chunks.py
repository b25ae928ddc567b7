"""Is this exactly one chunk, or a row of whole ones (RFC 9112, 7.1)? Asked to pass by the parser, never to correct it.

Only the plainest form is known here: a size in hexadecimal without leading zeros, no extension, CRLF. Whatever else is
allowed, or is wrong, is the parser's to read.
"""

from __future__ import annotations

__all__ = ["SIZE_LINES", "are_whole_chunks", "size_line"]

_LONGEST_SIZE_LINE = 10
_LINE_ENDS = 4
"""Octets of the two line ends of a chunk: after its size, and after its data."""


def size_line(length: int) -> bytes:
    """How a chunk begins that takes so many octets in all, if it is whole and the only one: the line with its size.

    What nothing of that length begins with, where there is no such chunk.
    """
    for digits in range(1, _LONGEST_SIZE_LINE - 2):
        size = length - digits - _LINE_ENDS
        if size > 0 and len(b"%x" % size) == digits:
            return b"%x\r\n" % size
    return b"-" * (length + 1)  # longer than what it is compared with


SIZE_LINES = tuple(size_line(length) for length in range(1024))
"""By the length of a whole chunk: how it begins, if it is one."""


def are_whole_chunks(data: bytes, start: int) -> bool:
    """Whether ``data`` from ``start`` on is a row of whole chunks, possibly none, without the last."""
    while start < len(data):
        end = data.find(b"\r\n", start, start + _LONGEST_SIZE_LINE)
        digits = data[start:end].lower() if end > start else b""
        if not digits.isalnum() or digits.startswith(b"0"):
            return False
        try:
            size = int(digits, 16)
        except ValueError:
            return False
        start = end + size + _LINE_ENDS
        if data[start - 2 : start] != b"\r\n":
            return False
    return True
