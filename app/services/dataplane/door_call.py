"""One request on a door: how is its answer framed, and when is it over?"""

from __future__ import annotations

from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

if TYPE_CHECKING:
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.guarded_door import GuardedDoor
    from app.services.dataplane.reception import Call

__all__ = ["DoorCall"]


class _NoEvent:
    """Stands where uvicorn's cycle has an asyncio.Event that nobody of ours waits for."""

    def set(self) -> None:
        """Nobody waits."""


_NO_EVENT = _NoEvent()
_MOST_PARTS = 64
_MOST_LATE_BYTES = 65536
"""As much as a transport takes before it says that the client reads slowly."""


class DoorCall:
    """One request on a door: the client's side of an exchange, and what uvicorn takes for its cycle."""

    __slots__ = (
        "_batch",
        "_chunked",
        "_door",
        "_parts",
        "_whole",
        "call",
        "disconnected",
        "exchange",
        "head_only",
        "keep_alive",
        "late",
        "response_complete",
        "size_bytes",
        "transport",
    )

    message_event = _NO_EVENT

    def __init__(
        self,
        door: GuardedDoor,
        call: Call | None,
        *,
        keep_alive: bool,
        chunked: bool,
        head_only: bool,
        whole: bool = False,
    ) -> None:
        """Args: chunked: whether the client knows chunks; whole: whether the request's last byte has come."""
        self._door = door
        self._batch = door.batch
        self.transport = door.transport
        self._chunked = chunked
        self._whole = whole
        self.late = b""
        self.call = call
        self.keep_alive = keep_alive
        self.head_only = head_only
        self.exchange: Exchange | None = None
        self._parts: list[bytes | bytearray] | None = None
        self.size_bytes = 0
        self.disconnected = self.response_complete = False

    def keep(self, part: bytes) -> None:
        """Keep a piece of the body. Tiny chunks are gathered: each by itself would take 50 octets more."""
        parts = self._parts
        if parts is None:
            self._parts = [part]
        elif len(parts) < _MOST_PARTS:
            parts.append(part)
        elif len(parts) == _MOST_PARTS:
            parts.append(bytearray(part))
        else:
            parts[-1] += part

    def take_body(self) -> bytes:
        """Give the body that was kept, once."""
        parts, self._parts = self._parts, None
        if parts is None:
            return b""
        return bytes(parts[0]) if len(parts) == 1 else b"".join(parts)

    def respond(self, status: int, lines: bytes, body: bytes, *, more: bool) -> None:
        """Write status, headers and the first bytes in one write."""
        framing = b""
        if more and self._chunked:
            framing = b"transfer-encoding: chunked\r\n"
            body = b"%x\r\n%b\r\n" % (len(body), body)
        elif more:
            self.keep_alive = False  # HTTP/1.0: the end of the connection is the end of the body
        elif status != 204:
            framing = b"content-length: %d\r\n" % len(body)
        if not self.keep_alive:
            framing += b"connection: close\r\n"
        if self.head_only:
            body = b""
        door = self._door
        self.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], door.date_lines(), lines, framing, body))
        if not more:
            self._complete()

    def write(self, data: bytes) -> None:
        """Write bytes of the body, one chunk."""
        self._put_off(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def write_chunk(self, data: bytes, start: int) -> None:
        """Write a chunk as it is."""
        self._put_off(data if self._chunked else data[start:-2])

    def _put_off(self, data: bytes) -> None:
        """Write at the end of this turn of the event loop, with what other streams have to write.

        Not if it is much: one turn may read megabytes, and reading stops only once they were written.
        """
        late = self.late
        if late:
            data = late + data
        if len(data) > _MOST_LATE_BYTES:
            self.late = b""
            if not self.transport.is_closing():
                self.transport.write(data)
            return
        self.late = data
        if not late:
            self._batch.add(self)

    def end(self, data: bytes = b"") -> None:
        """Write the last bytes and the last chunk."""
        late, self.late = self.late, b""
        if self._chunked:
            framed = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            self.transport.write(b"%b%b0\r\n\r\n" % (late, framed))
        elif late or data:
            self.transport.write(late + data)
        self._complete()

    def cut(self) -> None:
        """Abort the connection: without a last chunk the client knows that the answer is not whole."""
        self.late = b""
        self._complete()
        self.transport.abort()

    def request_whole(self) -> None:
        """The request's last byte has come; an answer that was given before it can be counted as complete now."""
        self._whole = True
        if self._door.answering is not self and not self.response_complete:
            self._close_cycle()

    def _complete(self) -> None:
        self._door.answering = self.exchange = None
        if self._whole:
            self._close_cycle()

    def _close_cycle(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self.transport.close()
        self._door.on_response_complete()
