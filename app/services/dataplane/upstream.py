"""How is one request written to a model server and its answer parsed, on one connection?

The parser's callbacks only take notes; what was noted is acted upon after each ``feed_data``, because httptools turns
an exception in a callback into a parser error. Framing that two parsers could read differently breaks the attempt,
and a connection is reused only after an answer that ended exactly where it should.

Two shapes make up nearly all reads, and pass by the parser: a whole answer under a head that it has read before, and
exactly one chunk where it waits for the next. It never sees them, so it stands where it stood: between two messages,
or between two chunks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol, cast

import httptools

from app.services.core.chunks import SIZE_LINES, are_whole_chunks, size_line
from app.services.core.known_head import KnownHead
from app.services.core.opening import AnswerHead

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Upstream", "UpstreamListener"]

MAX_HEAD_BYTES = 65536
MAX_INTERIM_ANSWERS = 8
_JOIN_LIMIT_BYTES = 65536
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


class Upstream(asyncio.Protocol):
    """One connection to a model server. ``on_idle`` is told when it may be reused or is gone."""

    __slots__ = (
        "__weakref__",
        "_between_chunks",
        "_complete",
        "_content_length",
        "_excess",
        "_head_bytes",
        "_head_done",
        "_head_told",
        "_headers",
        "_heard",
        "_interim",
        "_keep_alive",
        "_known_answer",
        "_known_head",
        "_listener",
        "_on_free",
        "_parser",
        "_parts",
        "_status",
        "_transfer_encoding",
        "idle_ticks",
        "reused",
        "transport",
    )

    _between_chunks: bool
    _complete: bool
    _content_length: int | None
    _excess: bool
    _head_bytes: int
    _head_done: bool
    _head_told: bool
    _headers: list[tuple[bytes, bytes]]
    _heard: bool
    _interim: int
    _keep_alive: bool
    _parser: httptools.HttpResponseParser
    _parts: list[bytes]
    _transfer_encoding: bytes | None

    def __init__(self, on_free: Callable[[Upstream, bool], None]) -> None:
        """Args: on_free: called with (self, reusable) after each answer, and with False when the connection is lost."""
        self._on_free = on_free
        self._listener: UpstreamListener | None = None
        self._known_head: KnownHead | None = None
        self._known_answer = AnswerHead(200, [])
        self.transport: asyncio.Transport | None = None
        self.reused = False
        self.idle_ticks = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport; one parser serves all answers of a connection."""
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self._forget_answer()

    @property
    def usable(self) -> bool:
        """Whether a request can be written now."""
        return self._listener is None and self.transport is not None and not self.transport.is_closing()

    @property
    def is_open(self) -> bool:
        """Whether it is connected."""
        return self.transport is not None and not self.transport.is_closing()

    def send(self, listener: UpstreamListener, head: bytes, body: bytes) -> None:
        """Write one request; the answer goes to ``listener``. Only on a connection that is ``usable``."""
        transport = self.transport
        if transport is None:
            raise ConnectionResetError("not connected")
        self._listener = listener
        if self._heard:
            self._forget_answer()
        if len(body) <= _JOIN_LIMIT_BYTES:
            transport.write(head + body)
        else:
            transport.write(head)
            transport.write(body)

    def abort(self) -> None:
        """Close at once: this also stops the generation (vLLM, SGLang, llama.cpp, Ollama). Nobody is told."""
        self._listener = None
        if self.transport is not None:
            self.transport.abort()

    def pause(self) -> None:
        """Stop reading: the client is slower than the server."""
        if self._listener is not None and self.transport is not None and not self.transport.is_closing():
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._listener is not None and self.transport is not None and not self.transport.is_closing():
            self.transport.resume_reading()

    # -- transport callbacks

    def data_received(self, data: bytes) -> None:
        """Parse what came, then tell the listener."""
        listener = self._listener
        if listener is None:  # bytes that nobody asked for: this connection can't be trusted
            self.abort()
            return
        if self._between_chunks:
            length = len(data)
            line = SIZE_LINES[length] if length < len(SIZE_LINES) else size_line(length)
            if data.startswith(line) and data.endswith(b"\r\n"):
                listener.on_chunk(data, len(line))
                return
        elif not self._heard:
            known = self._known_head
            if known is not None:
                length = known.body_length(data)
                if length > 0:
                    self._end_answer(reusable=True)
                    listener.on_whole(self._known_answer, data[-length:])
                    return
        self._heard = True
        self._parse(listener, data)

    def _parse(self, listener: UpstreamListener, data: bytes) -> None:
        is_first = not self._head_bytes
        was_between, self._between_chunks = self._between_chunks, False
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._excess = True  # never reused, even if the answer itself is whole
            self._tell(listener)
            if self._listener is listener and not self._complete:
                self._break(f"invalid HTTP from the server: {error}")
            return
        if self._head_bytes > MAX_HEAD_BYTES and not self._head_told and self._head_is_too_large():
            self._break("the server's headers are too large")
            return
        if was_between:
            self._between_chunks = not self._complete and are_whole_chunks(data, 0)
        elif is_first and self._head_done and not self._interim and not self._excess:
            self._look_ahead(data)
        self._tell(listener)

    def _look_ahead(self, data: bytes) -> None:
        """Look at the first read of an answer: may the parser be passed by from here on?"""
        status = self._parser.get_status_code()
        if not self._complete:
            self._between_chunks = self._transfer_encoding is not None and are_whole_chunks(
                data, data.find(b"\r\n\r\n") + 4
            )
        elif status == 200 and self._keep_alive and self._content_length:
            self._known_head = KnownHead.of(data, self._content_length)
            self._known_answer = AnswerHead(status, self._headers)

    def _head_is_too_large(self) -> bool:
        """Whether so many bytes were a head, or a head that came together with much of its body."""
        return not self._head_done or sum(len(name) + len(value) + 4 for name, value in self._headers) > MAX_HEAD_BYTES

    def eof_received(self) -> bool:
        """Close our side as well."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """An end without length is an end; any other is a break."""
        listener, self._listener = self._listener, None
        self._on_free(self, False)  # noqa: FBT003 - a callback takes no names
        if listener is None:
            return
        unframed = self._content_length is None and self._transfer_encoding is None
        if exc is None and self._head_told and unframed:
            listener.on_end()
        else:
            listener.on_broken("the connection was reset" if exc else "the connection was closed", heard=self._heard)

    # -- parser callbacks: notes only

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

    # -- acting on the notes

    def _forget_answer(self) -> None:
        """Be ready for an answer. One that passed by the parser left nothing to forget."""
        self._head_bytes = self._interim = 0
        self._heard = self._head_told = False
        self._begin_answer()

    def _begin_answer(self) -> None:
        self._headers = []
        self._parts = []
        self._content_length = None
        self._transfer_encoding = None
        self._head_done = self._complete = self._excess = self._keep_alive = self._between_chunks = False

    def _tell(self, listener: UpstreamListener) -> None:
        if self._head_done and not self._head_told:
            self._head_told = True
            listener.on_head(AnswerHead(self._status, self._headers))
            if self._listener is not listener:
                return
        if self._parts:
            parts, self._parts = self._parts, []
            listener.on_body(parts[0] if len(parts) == 1 else b"".join(parts))
            if self._listener is not listener:
                return
        if self._complete:
            self._end_answer(reusable=self._keep_alive and not self._excess)
            listener.on_end()

    def _end_answer(self, *, reusable: bool) -> None:
        """Free the connection, before its listener hears of the end."""
        self._listener = None
        transport = self.transport
        if transport is not None:
            # One whose reading was paused for a slow client must not hand the pause on to the next request.
            reusable = reusable and transport.get_write_buffer_size() == 0 and transport.is_reading()
            if not reusable:
                transport.close()
        self._on_free(self, reusable)

    def _break(self, reason: str) -> None:
        listener = self._listener
        self.abort()
        if listener is not None:
            listener.on_broken(reason, heard=True)
