"""The fast way in: uvicorn's HTTP protocol with a short cut for ``/v1/``.

Requests for ``/v1/`` never become ASGI messages: what the upstream connection receives is written straight to the
client's transport. Everything else goes on to FastAPI through the same port, and so do pipelined requests, which wait
their turn in uvicorn's own queue and are then served by the ASGI way in.

What the door relies on in uvicorn 0.54 (tests hold it): ``cycle`` is only asked for ``response_complete``,
``disconnected``, ``keep_alive`` and ``message_event.set()``; the parser's callbacks are methods;
``on_response_complete`` starts the next pipelined request or the keep-alive timer. An exception in a callback would
become a plain-text 400, so every callback of ours catches its own.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from app.services.core.errors import BodyTooLarge, GatewayError, Internal, RequestInvalid, RequestTimeout
from app.services.core.http_rules import judge_head, judge_head_size
from app.services.core.surfaces import PREFIX
from app.services.dataplane.door_call import DoorCall
from app.services.dataplane.reception import Call, Reply, error_reply, own_lines
from app.services.dataplane.sides import BODY_BYTES_PER_SECOND

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from app.services.dataplane.plane import DataPlane

__all__ = ["Door", "door_factory"]

_logger = logging.getLogger("gateway.door")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LINGER_TICKS = 20
_BYTES_PER_TICK = BODY_BYTES_PER_SECOND // 10


class Door(HttpToolsProtocol):
    """One client connection."""

    def __init__(self, plane: DataPlane, **uvicorn_arguments: Any) -> None:
        super().__init__(**uvicorn_arguments)
        self._plane = plane
        self._bounds = plane.bounds
        self._refused = False
        self._in_head = True
        self._in_body = False
        self._header_count = self._header_bytes = 0
        self._head_received = 0
        self._wait_ticks = 0
        self._dates: list[tuple[bytes, bytes]] | None = None
        self._date_lines = b""
        self.answering: DoorCall | None = None

    # -- transport callbacks

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the client a deadline for its first request."""
        super().connection_made(transport)
        self._plane.waiting.add(self)

    def data_received(self, data: bytes) -> None:
        """Parse; once refused, swallow what still comes, so that the refusal is not lost to a reset."""
        if self._refused:
            return
        super().data_received(data)
        if self._in_head and not self._refused:
            self._head_received += len(data)
            if self._head_received > 2 * self._bounds.header_bytes:
                self._guarded(self._judge_size, self._bounds.header_bytes + 1)

    def connection_lost(self, exc: Exception | None) -> None:
        """A client that left stops the work done for it."""
        self._plane.waiting.discard(self)
        answering, self.answering = self.answering, None
        super().connection_lost(exc)
        if answering is not None and answering.exchange is not None:
            answering.exchange.left()

    def pause_writing(self) -> None:
        """The client reads slowly."""
        super().pause_writing()
        if self.answering is not None and self.answering.exchange is not None:
            self.answering.exchange.pause()

    def resume_writing(self) -> None:
        """The client caught up."""
        super().resume_writing()
        if self.answering is not None and self.answering.exchange is not None:
            self.answering.exchange.resume()

    # -- parser callbacks

    def on_message_begin(self) -> None:
        """A new request begins."""
        super().on_message_begin()
        self._in_head, self._in_body = True, False
        self._header_count = self._header_bytes = 0
        self._wait_ticks = 0
        self._plane.waiting.add(self)

    def on_url(self, url: bytes) -> None:
        """Bound the request line."""
        if not self._refused:
            super().on_url(url)
            self._header_bytes += len(url)
            if self._header_bytes > self._bounds.header_bytes:
                self._guarded(self._judge_size, self._header_bytes)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Bound the headers. Trailers are bounded and dropped (RFC 9110, 6.5.1): the head was judged without them."""
        if self._refused:
            return
        if self._in_head:
            super().on_header(name, value)
        self._header_count += 1
        self._header_bytes += len(name) + len(value) + 4
        if self._header_count > self._bounds.header_count or self._header_bytes > self._bounds.header_bytes:
            self._guarded(self._judge_size, self._header_bytes)

    def on_headers_complete(self) -> None:
        """Take inference in here; hand everything else on."""
        self._in_head = False
        self._head_received = 0
        if not self._refused:
            self._guarded(self._take_in)
            self._in_body = True

    def on_body(self, body: bytes) -> None:
        """Keep the body of an inference request."""
        if self._refused:
            return
        cycle: Any = self.cycle
        if type(cycle) is not DoorCall:
            super().on_body(body)
            return
        cycle.size_bytes += len(body)
        if cycle.size_bytes > self._bounds.body_bytes:
            self._guarded(self._body_too_large)
        elif cycle.call is not None:
            cycle.parts.append(body)

    def on_message_complete(self) -> None:
        """Begin the exchange."""
        self._plane.waiting.discard(self)
        if self._refused:
            return
        self._in_body = False
        cycle: Any = self.cycle
        if type(cycle) is not DoorCall:
            super().on_message_complete()
        else:
            self._guarded(self._begin, cycle)

    # -- acting

    def _take_in(self) -> None:
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        is_inference = self.url.startswith(PREFIX)
        if self.parser.should_upgrade() and (is_inference or self._get_upgrade() != b"websocket"):
            message = "Only HTTP/1.1 is spoken here. Send the request without an Upgrade header, and not by CONNECT."
            raise RequestInvalid(message, code="invalid_http")
        current: Any = self.cycle
        if not is_inference or (current is not None and not current.response_complete):
            judge_head(self.headers, version, self._bounds.body_bytes)
            _judge_target(self.url)
            super().on_headers_complete()
            return
        path = self.url.partition(b"?")[0].decode("latin-1")
        peer = self.client[0] if self.client else ""
        admitted = self._plane.reception.receive(method, path, self.headers, version, peer, self._plane.snapshot)
        keep_alive = version != "1.0" and self.parser.should_keep_alive()
        call = admitted if isinstance(admitted, Call) else None
        cycle = DoorCall(self, call, keep_alive=keep_alive, chunked=version != "1.0", head_only=method == b"HEAD")
        self.cycle = cycle  # type: ignore[assignment]
        self.answering = cycle
        if isinstance(admitted, Reply):
            self._reply(cycle, admitted)
        elif self.expect_100_continue:
            self.transport.write(_CONTINUE)

    def _reply(self, cycle: DoorCall, reply: Reply) -> None:
        """Answer before the body has come; it is read and dropped, unless it is too large or waits for a word."""
        closes = reply.status in (400, 413) or self.expect_100_continue
        if closes:
            cycle.keep_alive = False
        cycle.respond(reply.status, reply.lines, reply.body, more=False)
        if closes:
            self._linger()

    def _begin(self, cycle: DoorCall) -> None:
        if cycle.call is not None:
            parts, cycle.parts = cycle.parts, []
            body = parts[0] if len(parts) == 1 else b"".join(parts)
            cycle.exchange = self._plane.begin(cycle.call, body, cycle)
            if self.answering is cycle and self.flow.write_paused and cycle.exchange is not None:
                cycle.exchange.pause()
        cycle.request_whole()

    def _judge_size(self, size_bytes: int) -> None:
        judge_head_size(self._header_count, size_bytes, self._bounds.header_count, self._bounds.header_bytes)

    def _body_too_large(self) -> None:
        limit = self._bounds.body_bytes
        raise BodyTooLarge(f"The body is larger than the limit of {limit} bytes. Send a shorter one.")

    # -- refusals

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

    def _answer_refusal(self, error: GatewayError) -> None:
        cycle = DoorCall(self, None, keep_alive=False, chunked=True, head_only=False)
        self.cycle = cycle  # type: ignore[assignment]
        reply = error_reply(error, own_lines())
        cycle.respond(reply.status, reply.lines, reply.body, more=False)

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
        if cycle is None and not self._header_bytes:
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


def _judge_target(url: bytes) -> None:
    """Refuse a target that uvicorn would stumble over: an authority without a path, or none at all."""
    try:
        path = httptools.parse_url(url).path
    except httptools.HttpParserError:
        path = None
    if not path:
        raise RequestInvalid("The target on the request line is not a path or a URL with one.", code="invalid_http")


def door_factory(plane: DataPlane) -> Callable[..., Door]:
    """What uvicorn's ``http`` setting takes: makes a door for each connection."""

    def make_door(**uvicorn_arguments: Any) -> Door:
        return Door(plane, **uvicorn_arguments)

    return make_door
