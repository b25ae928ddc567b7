"""What did the parser read of an answer? Notes only: who acts on them is not called by the parser.

httptools turns an exception in a callback into a parser error, so nothing is done in one but to note, and to refuse
framing that two parsers could read differently (RFC 9112, 6.3).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import httptools

    from app.services.core.answer.opening import AnswerHead

__all__ = ["AnswerNotes", "UpstreamListener"]

MAX_INTERIM_ANSWERS = 8
_VERSIONS = frozenset(("1.0", "1.1"))


class UpstreamListener(Protocol):
    """Who is told of an answer's progress. After ``on_end`` or ``on_broken`` nothing more is told."""

    def on_head(self, head: AnswerHead) -> None:
        """Take status and headers."""

    def on_body(self, data: bytes) -> None:
        """Take the next bytes of the body, as they came: chunk framing is gone."""

    def on_chunk(self, data: bytes, start: int) -> None:
        """Take the next bytes of the body in the chunk that they came in: from ``start`` on, two before its end."""

    def on_end(self) -> None:
        """Take note that the answer is whole."""

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        """Take head, body and end of a good answer at once, in place of the three calls above."""

    def on_broken(self, reason: str, *, heard: bool) -> None:
        """Take note that the connection broke or the answer is invalid. ``heard``: a byte of an answer had come."""


class AnswerNotes:
    """The parser's callbacks, and what they noted of one answer."""

    __slots__ = (
        "_between_chunks",
        "_complete",
        "_content_length",
        "_excess",
        "_head_done",
        "_headers",
        "_interim",
        "_keep_alive",
        "_parser",
        "_parts",
        "_since_chunk",
        "_status",
        "_transfer_encoding",
    )

    _between_chunks: bool
    _complete: bool
    _content_length: int | None
    _excess: bool
    _head_done: bool
    _headers: list[tuple[bytes, bytes]]
    _interim: int
    _keep_alive: bool
    _parser: httptools.HttpResponseParser
    _parts: list[bytes]
    _since_chunk: bytes | None
    _status: int
    _transfer_encoding: bytes | None

    def _begin_answer(self) -> None:
        self._headers = []
        self._parts = []
        self._content_length = None
        self._transfer_encoding = None
        self._head_done = self._complete = self._excess = self._keep_alive = self._between_chunks = False
        self._since_chunk = None

    def on_message_begin(self) -> None:
        """Note whether this is a second answer where one was asked for."""
        if self._complete:
            self._excess = True
        else:
            self._begin_answer()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Note a header; refuse framing that is ambiguous (RFC 9112, 6.3)."""
        if self._excess or self._head_done:  # another answer's, or a trailer
            return
        name = name.lower()
        if name == b"content-length":
            if self._content_length is not None or not value.isdigit():
                raise ValueError("ambiguous Content-Length")
            self._content_length = int(value)
        elif name == b"transfer-encoding":
            if self._transfer_encoding is not None or value.strip().lower() != b"chunked":
                raise ValueError("unknown Transfer-Encoding")
            self._transfer_encoding = value
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """Note that the head is whole; refuse a version whose framing is another, or none."""
        if self._excess:
            return
        self._status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS:
            raise ValueError("not HTTP/1")
        if self._content_length is not None and self._transfer_encoding is not None:
            raise ValueError("Content-Length with Transfer-Encoding")
        self._head_done = True

    def on_body(self, body: bytes) -> None:
        """Note a piece of the body."""
        if not self._excess:
            self._parts.append(body)

    def on_message_complete(self) -> None:
        """Note the end; an interim answer (1xx) is passed over, a flood of them is not."""
        if self._excess:
            return
        if 100 <= self._parser.get_status_code() < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_ANSWERS:
                raise ValueError("too many interim answers")
            self._head_done = False
            return
        self._complete = True
        self._keep_alive = self._parser.should_keep_alive()
