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


class DoorCall:
    """One request on a door: the client's side of an exchange, and what uvicorn takes for its cycle."""

    __slots__ = (
        "_chunked",
        "_door",
        "_parts",
        "_whole",
        "call",
        "disconnected",
        "exchange",
        "head_only",
        "keep_alive",
        "message_event",
        "response_complete",
        "size_bytes",
    )

    def __init__(
        self, door: GuardedDoor, call: Call | None, *, keep_alive: bool, chunked: bool, head_only: bool
    ) -> None:
        self._door = door
        self._chunked = chunked
        self._whole = False
        self.call = call
        self.keep_alive = keep_alive
        self.head_only = head_only
        self.exchange: Exchange | None = None
        self._parts: list[bytes | bytearray] = []
        self.size_bytes = 0
        self.message_event = _NO_EVENT
        self.disconnected = False
        self.response_complete = False

    def keep(self, part: bytes) -> None:
        """Keep a piece of the body. Tiny chunks are gathered: each by itself would take 50 octets more."""
        if len(self._parts) < _MOST_PARTS:
            self._parts.append(part)
        elif len(self._parts) == _MOST_PARTS:
            self._parts.append(bytearray(part))
        else:
            self._parts[-1] += part

    def take_body(self) -> bytes:
        """Give the body that was kept, once."""
        parts, self._parts = self._parts, []
        return b"".join(parts)

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
        door.transport.write(b"%b%b%b%b\r\n%b" % (STATUS_LINE[status], door.date_lines(), lines, framing, body))
        if not more:
            self._complete()

    def write(self, data: bytes) -> None:
        """Write bytes of the body, one chunk."""
        self._door.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def end(self) -> None:
        """Write the last chunk."""
        if self._chunked:
            self._door.transport.write(b"0\r\n\r\n")
        self._complete()

    def cut(self) -> None:
        """Abort the connection: without a last chunk the client knows that the answer is not whole."""
        self._complete()
        self._door.transport.abort()

    def request_whole(self) -> None:
        """The request's last byte has come; an answer that was given before it can be counted as complete now."""
        self._whole = True
        if self._door.answering is not self and not self.response_complete:
            self._close_cycle()

    def _complete(self) -> None:
        self._door.answering = None
        if self._whole:
            self._close_cycle()

    def _close_cycle(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._door.transport.close()
        self._door.on_response_complete()
