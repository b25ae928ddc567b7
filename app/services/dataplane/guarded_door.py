"""What may a client send, and how slowly? The guarded half of the door.

uvicorn 0.54 bounds neither the head nor the time that it takes, answers what it can't parse in plain text, and closes
so that the answer may be lost to a reset. Here every refusal is the one envelope, and the client is given time to read
it. An exception in a parser's callback would become a plain-text 400, so each step in one is guarded.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.services.core.errors import GatewayError, Internal, RequestInvalid, RequestTimeout, Unavailable
from app.services.dataplane.descriptors import RETRY_AFTER_SECONDS
from app.services.dataplane.door_call import DoorCall
from app.services.dataplane.head_meter import HeadMeter
from app.services.dataplane.kept_door import KeptDoor
from app.services.dataplane.reception import Reply, stranger_reply
from app.services.dataplane.sides import BODY_BYTES_PER_SECOND

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from app.services.dataplane.plane import DataPlane

__all__ = ["GuardedDoor", "judge_target"]

_logger = logging.getLogger("gateway.door")
_LINGER_TICKS = 20
_BYTES_PER_TICK = BODY_BYTES_PER_SECOND // 10


class GuardedDoor(KeptDoor):
    """A client connection with bounds, deadlines and refusals."""

    def __init__(self, plane: DataPlane, **uvicorn_arguments: Any) -> None:
        super().__init__(plane, **uvicorn_arguments)
        self._bounds = plane.bounds
        self.batch = plane.batch
        self._refused = False
        self._in_head = True
        self._in_body = False
        self._between = True
        self._read = b""
        self._meter = HeadMeter(plane.bounds.header_count, plane.bounds.header_bytes)
        self._wait_ticks = 0
        self._dates: list[tuple[bytes, bytes]] | None = None
        self._date_lines = b""

    # -- what comes in

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client a deadline for its first request, or send it away where there is no room for it."""
        super().connection_made(transport)
        plane = self._plane
        plane.client_connections += 1
        plane.waiting.add(self)
        plug = transport.get_extra_info("socket")
        if plug is not None and plug.fileno() >= plane.descriptors.clients_below:
            self._turn_away(plug.fileno())

    def connection_lost(self, exc: Exception | None) -> None:
        """One client less."""
        super().connection_lost(exc)
        self._plane.client_connections -= 1

    def parse(self, data: bytes) -> None:
        """Parse what came."""
        self._read = data if self._between else b""
        HttpToolsProtocol.data_received(self, data)
        self._read = b""
        if self._in_head and not self._swallows():
            self._guarded(self._meter.read, len(data))

    def on_message_begin(self) -> None:
        """A new request begins."""
        super().on_message_begin()
        self._between = False
        self._in_head, self._in_body = True, False
        self._meter.begin()
        self._wait_ticks = 0
        self._plane.waiting.add(self)

    def on_url(self, url: bytes) -> None:
        """Keep the request line."""
        if not self._refused:
            self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep the headers. Trailers are bounded and dropped (RFC 9110, 6.5.1): the head was judged without them."""
        if self._refused:
            return
        if self._in_head:
            name = name.lower()
            self.headers.append((name, value))
            if name == b"expect" and value.lower() == b"100-continue":
                self.expect_100_continue = True
        else:
            self._guarded(self._meter.add_header, name, value)

    # -- guards and refusals

    def _guarded(self, step: Callable[..., None], *arguments: object) -> None:
        """Run a step inside a parser callback: its errors become answers, never uvicorn's plain-text 400."""
        try:
            step(*arguments)
        except GatewayError as error:
            self._refuse(error)
        except Exception:
            _logger.exception("The door failed on a request")
            self._refuse(Internal("The gateway failed on this request. Its log says more."))

    def send_400_response(self, msg: str) -> None:
        """Answer what the parser could not read, in the one envelope (called by uvicorn's ``data_received``)."""
        del msg
        if not self._refused:
            self._refuse(RequestInvalid("This is not a valid HTTP/1.1 request.", code="invalid_http"))

    def _refuse(self, error: GatewayError) -> None:
        """Take no more requests, and answer with an error where nothing else is still to be said."""
        self._refused = True
        current: Any = self.cycle
        if not self._in_body:
            if current is not None and not current.response_complete:
                self._end_after(current)
                return
            self._answer_refusal(error)
        elif self.pipeline and self.pipeline[0][0] is current:  # it waits behind earlier ones: they are answered first
            self._end_after(current)
            current.disconnected = True
            self.pipeline[0] = (current, self._hang_up)
            return
        elif type(current) is DoorCall:
            if current is self.answering:
                self._answer_refusal(error)
        else:
            current.disconnected = True  # what its application still says goes nowhere
            current.message_event.set()
            if not current.response_started:
                self._answer_refusal(error)
        self._linger()

    def _end_after(self, cycle: Any) -> None:
        """Let the answers to earlier requests out, however long they take; ``cycle`` is the last one."""
        cycle.keep_alive = False
        self._plane.waiting.discard(self)

    async def _hang_up(self, _scope: object, _receive: object, _send: object) -> None:
        """Stand in for the application of a broken request whose turn has come."""
        self.transport.close()
        self.await_reading()

    def _turn_away(self, number: int) -> None:
        """Send a client away before it asks. It may read why, unless even that would take what others need."""
        descriptors = self._plane.descriptors
        descriptors.turned_away()
        message = f"The gateway has no file descriptor left for you. Try again in {RETRY_AFTER_SECONDS} seconds."
        self._write_refusal(Unavailable(message, retry_after_seconds=RETRY_AFTER_SECONDS))
        if number < descriptors.farewells_below:
            self._linger()
        elif self.transport.can_write_eof():
            self._refused = True
            self.transport.close()
        else:  # TLS would wait for the client's farewell
            self.transport.abort()

    def _answer_refusal(self, error: GatewayError) -> None:
        self._plane.replied(self._write_refusal(error))

    def _write_refusal(self, error: GatewayError) -> Reply:
        cycle = DoorCall(self, None, keep_alive=False, chunked=True, head_only=False)
        self.cycle = cycle  # type: ignore[assignment]
        reply = stranger_reply(error, self.client[0] if self.client else "")
        cycle.respond(reply.status, reply.lines, reply.body, more=False)
        return reply

    def _linger(self) -> None:
        """End our side, and close once the client had time to read: closing on unread bytes would reset it away."""
        self._refused = True
        self._wait_ticks = 0
        self._plane.waiting.add(self)
        if not self.transport.is_closing() and self.transport.can_write_eof():
            self.transport.write_eof()

    def tick(self) -> None:
        """Close a client that sends its request too slowly, or that was refused and lingers."""
        self._wait_ticks += 1
        if self._refused:
            if self._wait_ticks > _LINGER_TICKS:
                self.transport.abort()
        elif self._in_head:
            if self._wait_ticks > self._bounds.header_ticks:
                self._too_slow("The request's headers did not come in time.")
        else:
            cycle: Any = self.cycle
            received = cycle.size_bytes if type(cycle) is DoorCall else 0
            if self._wait_ticks > self._bounds.body_ticks + received // _BYTES_PER_TICK:
                self._too_slow("The request's body did not come in time.")

    def _too_slow(self, message: str) -> None:
        cycle: Any = self.cycle
        if (cycle is None or cycle.response_complete) and self._between:
            self.transport.abort()  # nothing was ever asked
        else:
            self._refuse(RequestTimeout(message))

    def date_lines(self) -> bytes:
        """The Date header, as uvicorn renews it once a second."""
        dates = self.server_state.default_headers
        if dates is not self._dates:
            self._dates = dates
            self._date_lines = b"".join(b"%b: %b\r\n" % date for date in dates)
        return self._date_lines

    def _swallows(self) -> bool:
        return self._refused


def judge_target(url: bytes) -> None:
    """Refuse a target that uvicorn would stumble over: an authority without a path, or none at all."""
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserError:
        path = None
    if not path:
        raise RequestInvalid("The target on the request line is not a path or a URL with one.", code="invalid_http")
