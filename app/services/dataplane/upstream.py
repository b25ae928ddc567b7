"""How is one request written to a model server and its answer parsed, on one connection?

What the parser noted is acted upon after each ``feed_data``. A connection is reused only after an answer that ended
exactly where it should.

Two shapes make up nearly all reads, and pass by the parser: a whole answer under a head that it has read before, and
exactly one chunk where it waits for the next. It never sees them, so it stands where it stood: between two messages,
or between two chunks.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

import httptools

from app.services.core.answer.opening import READ_HEADERS, AnswerHead
from app.services.core.http.chunks import SIZE_LINES, are_whole_chunks, size_line
from app.services.core.http.known_message import KnownMessage
from app.services.dataplane.answer_notes import AnswerNotes

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.dataplane.answer_notes import UpstreamListener

__all__ = ["Upstream"]

MAX_HEAD_BYTES = 65536
_JOIN_LIMIT_BYTES = 65536


class Upstream(AnswerNotes, asyncio.Protocol):
    """One connection to a model server. ``on_free`` is told when it may be reused or is gone."""

    __slots__ = (
        "__weakref__",
        "_head_bytes",
        "_head_told",
        "_heard",
        "_known_answer",
        "_known_head",
        "_listener",
        "_misses",
        "_on_free",
        "idle_ticks",
        "reused",
        "transport",
    )

    _head_bytes: int
    _head_told: bool
    _heard: bool

    def __init__(self, on_free: Callable[[Upstream, bool], None]) -> None:
        """Args: on_free: called with (self, reusable) after each answer, and with False when the connection is lost."""
        self._on_free = on_free
        self._listener: UpstreamListener | None = None
        self._known_head: KnownMessage | None = None
        self._misses = 0
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
                variation = known.compare(data, MAX_HEAD_BYTES) or known.learn(data, MAX_HEAD_BYTES)
                if variation is not None and variation.body_length > 0:
                    self._misses = 0
                    self._end_answer(reusable=True)
                    listener.on_whole(self._known_answer, data[-variation.body_length :])
                    return
        self._heard = True
        self._parse(listener, data)

    def _parse(self, listener: UpstreamListener, data: bytes) -> None:
        is_first = not self._head_bytes
        self._between_chunks = False
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
        if self._since_chunk is not None:
            self._follow_chunks(self._since_chunk + data)
        elif is_first and self._head_done and not self._interim and not self._excess:
            self._look_ahead(data)
        self._tell(listener)

    def _look_ahead(self, data: bytes) -> None:
        """Look at the first read of an answer: may the parser be passed by from here on?"""
        status = self._parser.get_status_code()
        if not self._complete:
            if self._transfer_encoding is not None:
                self._follow_chunks(data[data.find(b"\r\n\r\n") + 4 :])
        elif status == 200 and self._keep_alive and self._content_length:
            self._misses += 1
            if self._misses & (self._misses - 1) == 0:  # ever less often, where each differs from the one before
                self._known_head = KnownMessage.of(data, self._content_length, READ_HEADERS)
                self._known_answer = AnswerHead(status, self._headers)

    def _follow_chunks(self, since: bytes) -> None:
        """See whether the parser stands between two chunks again, given all that came since it last did."""
        self._between_chunks = not self._complete and are_whole_chunks(since, 0)
        self._since_chunk = b"" if self._between_chunks else since if len(since) < _JOIN_LIMIT_BYTES else None

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

    # -- acting on the notes

    def _forget_answer(self) -> None:
        """Be ready for an answer. One that passed by the parser left nothing to forget."""
        self._head_bytes = self._interim = 0
        self._heard = self._head_told = False
        self._begin_answer()

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
