"""The fast way in: uvicorn's HTTP protocol with a short cut for ``/v1/``.

Requests for ``/v1/`` never become ASGI messages: what the upstream connection receives is written straight to the
client's transport. Everything else goes on to FastAPI through the same port, and so do pipelined requests, which wait
their turn in uvicorn's own queue and are then served by the ASGI way in.

What the door relies on in uvicorn 0.54 (tests hold it): ``cycle`` is only asked for ``response_complete``,
``disconnected``, ``keep_alive`` and ``message_event.set()``; the parser's callbacks are methods;
``on_response_complete`` starts the next pipelined request or the keep-alive timer. An exception in a callback would
become a plain-text 400, so every callback of ours catches its own.

Most requests on a kept connection come in one read, under the head of the one before. They pass by the parser and
begin at once: the head was judged then, and stands as it did.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from app.services.core.errors import BodyTooLarge, Internal, RequestInvalid
from app.services.core.http.http_rules import judge_head
from app.services.core.http.known_message import KnownMessage
from app.services.core.http.surfaces import PREFIX, is_account
from app.services.core.keys import digest, extract_credential
from app.services.dataplane.door_call import DoorCall
from app.services.dataplane.guarded_door import GuardedDoor, judge_target
from app.services.dataplane.reception import ANONYMOUS, Call, Reply, error_reply

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.core.keys import KeyRing
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.plane import DataPlane

__all__ = ["Door", "door_factory"]

_logger = logging.getLogger("gateway.door")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Door(GuardedDoor):
    """One client connection."""

    def __init__(self, plane: DataPlane, **uvicorn_arguments: Any) -> None:
        super().__init__(plane, **uvicorn_arguments)
        self._known: tuple[KnownMessage, Call, bytes, KeyRing] | None = None
        self._misses = 0

    # -- transport callbacks

    def data_received(self, data: bytes) -> None:
        """Begin a request that comes whole under a known head; parse whatever else comes."""
        if self._refused or self.transport.is_closing():
            return  # it is swallowed: a reset could lose the answer that was given
        known = self._known
        if known is not None and self._between and self.cycle.response_complete:
            head, call, key_digest, keys = known
            longest = self._bounds.header_bytes
            variation = head.compare(data, longest) or head.learn(data, longest)
            if (
                variation is not None
                and 0 < variation.body_length <= self._bounds.body_bytes
                and keys is self._plane.reception.key_ring
                and (not key_digest or keys.principals.get(key_digest) is call.principal)
            ):
                self._misses = 0
                self._begin_again(self._plane.reception.again(call, variation), data[-variation.body_length :])
                return
        self.parse(data)

    def forget_head(self) -> None:
        """Let the parser read the next request, whatever its head."""
        self._known = None

    def connection_lost(self, exc: Exception | None) -> None:
        """A client that left stops the work done for it."""
        self._plane.waiting.discard(self)
        answering, self.answering = self.answering, None
        super().connection_lost(exc)
        if answering is not None:
            answering.late = b""
            if answering.exchange is not None:
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

    def on_headers_complete(self) -> None:
        """Take inference in here; hand everything else on."""
        self._in_head = False
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
            cycle.keep(body)

    def on_message_complete(self) -> None:
        """Begin the exchange."""
        if self._refused:
            return
        self._plane.waiting.discard(self)
        self._between = True
        self._in_body = False
        cycle: Any = self.cycle
        if type(cycle) is not DoorCall:
            super().on_message_complete()
        else:
            if not self.parser.should_keep_alive():
                cycle.keep_alive = False
            self._guarded(self._begin, cycle)

    # -- acting

    def _take_in(self) -> None:
        self._meter.add_head(self.url, self.headers)
        version = self.parser.get_http_version()
        method = self.parser.get_method()
        is_inference = self.url.startswith(PREFIX) and not is_account(self.url)
        if self.parser.should_upgrade() and (is_inference or self._get_upgrade() != b"websocket"):
            message = "Only HTTP/1.1 is spoken here. Send the request without an Upgrade header."
            raise RequestInvalid(message, code="invalid_http")
        current: Any = self.cycle
        if not is_inference or (current is not None and not current.response_complete):
            judge_head(self.headers, version, self._bounds.body_bytes)
            judge_target(self.url)
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
        elif self.expect_100_continue and version != "1.0":
            self.transport.write(_CONTINUE)

    def _reply(self, cycle: DoorCall, reply: Reply) -> None:
        """Answer before the body has come; it is read and dropped, unless it is too large or waits for a word."""
        closes = reply.status in (400, 413) or self.expect_100_continue
        if closes:
            cycle.keep_alive = False
        cycle.respond(reply.status, reply.lines, reply.body, more=False)
        self._plane.replied(reply)
        if closes:
            self._linger()

    def _begin(self, cycle: DoorCall) -> None:
        call = cycle.call
        if call is not None:
            if self._read:
                self._keep_head(cycle, call)
            self._start(cycle, call, cycle.take_body())
        cycle.request_whole()

    def _keep_head(self, cycle: DoorCall, call: Call) -> None:
        """Know this head when it comes again. Where each differs from the one before, that is tried ever less often."""
        self._misses += 1
        if cycle.keep_alive and not self.expect_100_continue and self._misses & (self._misses - 1) == 0:
            head = KnownMessage.of(self._read, cycle.size_bytes, self._plane.reception.read_headers)
            credential = None if call.principal is ANONYMOUS else extract_credential(self.headers)
            key_digest = b"" if credential is None else digest(credential)
            self._known = None if head is None else (head, call, key_digest, self._plane.reception.key_ring)

    def _begin_again(self, call: Call, body: bytes) -> None:
        """Begin a request whose head is known: HTTP/1.1, to be kept open, and let in before with the same keys."""
        cycle = DoorCall(self, call, keep_alive=True, chunked=True, head_only=False, whole=True)
        self.cycle = cycle  # type: ignore[assignment]
        self.answering = cycle
        self._start(cycle, call, body)

    def _start(self, cycle: DoorCall, call: Call, body: bytes) -> None:
        exchange = self._started(cycle, call, body)
        if self.answering is cycle and exchange is not None:  # else it has ended, and nothing of it is to be kept
            cycle.exchange = exchange
            if self.flow.write_paused:
                exchange.pause()

    def _started(self, cycle: DoorCall, call: Call, body: bytes) -> Exchange | None:
        try:
            return self._plane.begin(call, body, cycle)
        except Exception:
            _logger.exception("The door failed to begin an exchange")
            if self.answering is cycle:
                reply = error_reply(Internal("The gateway failed on this request. Its log says more."), call.lines)
                cycle.respond(reply.status, reply.lines, reply.body, more=False)
            return None

    def _body_too_large(self) -> None:
        limit = self._bounds.body_bytes
        raise BodyTooLarge(f"The body is larger than the limit of {limit} bytes. Send a shorter one.")


def door_factory(plane: DataPlane) -> Callable[..., Door]:
    """What uvicorn's ``http`` setting takes: makes a door for each connection."""

    def make_door(**uvicorn_arguments: Any) -> Door:
        return Door(plane, **uvicorn_arguments)

    return make_door
