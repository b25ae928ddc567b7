"""How large has the head of a request grown? Counted as it comes, so that no bound is passed by much."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.http.http_rules import judge_head_size

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["HeadMeter"]

_HEADER_FRAMING_BYTES = 4  # colon, space, CR, LF


class HeadMeter:
    """Measures one head after the other on a connection. Every method may raise ``HeadTooLarge``."""

    __slots__ = ("_began_in_read", "_bounds", "count", "received_bytes", "size_bytes")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self._bounds = (max_count, max_bytes)
        self._began_in_read = False
        self.count = self.size_bytes = self.received_bytes = 0

    def begin(self) -> None:
        """A head begins, somewhere in what was read last."""
        self._began_in_read = True
        self.count = self.size_bytes = self.received_bytes = 0

    def add(self, size_bytes: int) -> None:
        """A part of the request line has come."""
        self.size_bytes += size_bytes
        self._judge(self.size_bytes)

    def add_header(self, name: bytes, value: bytes) -> None:
        """A header has come, whole."""
        self.count += 1
        self.add(len(name) + len(value) + _HEADER_FRAMING_BYTES)

    def add_head(self, url: bytes, headers: Sequence[tuple[bytes, bytes]]) -> None:
        """A head has come, whole."""
        self.count += len(headers)
        size_bytes = len(url) + _HEADER_FRAMING_BYTES * len(headers)
        for name, value in headers:
            size_bytes += len(name) + len(value)
        self.add(size_bytes)

    def read(self, size_bytes: int) -> None:
        """So many bytes were read and the head is not whole: one endless header is never seen as a whole one.

        The read in which the head began may hold an earlier request's body too and is not counted.
        """
        if self._began_in_read:
            self._began_in_read = False
            return
        self.received_bytes += size_bytes
        self._judge(self.received_bytes)

    def _judge(self, size_bytes: int) -> None:
        judge_head_size(self.count, size_bytes, *self._bounds)
