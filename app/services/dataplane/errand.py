"""How does a request get to its server? It takes a place there, finds or dials a connection, and is written.

What comes back is judged by the attempt that is made of it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from app.services.core.answer.forwarding import forwarded_body
from app.services.core.continuation.judgement import Complete
from app.services.core.continuation.request import NotContinuable
from app.services.core.errors import EndpointRefused, RequestInvalid
from app.services.core.http.peek import peek
from app.services.core.retry import Failure
from app.services.dataplane.link import ConnectFailed, ConnectFailure

if TYPE_CHECKING:
    import asyncio

    from app.services.core.answer.relay import EventRelay
    from app.services.core.answer.whole_answer import WholeAnswer
    from app.services.core.choice.snapshot import Candidate
    from app.services.core.live.residence import Residence
    from app.services.dataplane.answer_notes import UpstreamListener
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.onward import Leg, Order
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.pool import Destination
    from app.services.dataplane.upstream import Upstream

    Listener = UpstreamListener
else:
    Listener = object  # the protocol itself would give each instance a dictionary

__all__ = ["Errand"]


class Errand(Listener):
    """One request on its way to one server."""

    __slots__ = (
        "_asked_usage",
        "_dialling",
        "_exchange",
        "_is_cold",
        "_lane",
        "_order",
        "_plane",
        "_relay",
        "_residence",
        "_sent_at",
        "_silent_ticks",
        "_status",
        "_taken_at",
        "_upstream",
        "_without_options",
        "candidate",
    )

    def __init__(self, exchange: Exchange, plane: DataPlane, candidate: Candidate, now: float) -> None:
        self._exchange = exchange
        self._plane = plane
        self.candidate = candidate
        self._lane = lane = plane.board.lane(candidate.server.id)
        self._taken_at = now
        if lane.closer_look_until:
            lane.take(now)
        else:  # nothing ever spoke against it
            lane.in_flight += 1
        self._residence = lane.residence
        self._is_cold = self._residence is not None and self._enter(self._residence, now)
        self._upstream: Upstream | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._relay: EventRelay | WholeAnswer | None = None
        self._order: Order | None = None
        self._asked_usage = self._without_options = False
        self._silent_ticks = self._status = 0
        self._sent_at = 0.0

    def _enter(self, residence: Residence, now: float) -> bool:
        """Take a place in the server's memory; say whether the model has to be loaded into it first."""
        name = self.candidate.model.upstream_name
        residence.take(name, now)
        return residence.loading_since(name) is not None

    def prepare(self, leg: Leg) -> None:
        """Have a request made that goes on with another's answer, and start then."""
        self._dialling = self._plane.tasks.spawn(self._prepared(leg), name="prepare a continuation")

    async def _prepared(self, leg: Leg) -> None:
        exchange = self._exchange
        try:
            order = await self._plane.preparer.prepare(exchange.body, exchange.call.path, leg, self.candidate)
        except NotContinuable:
            self._dialling = None
            self._fail(Failure.NOT_SERVED)
        except Exception:
            self._dialling = None
            self._fail(Failure.OWN)
            raise  # a bug: the keeper of tasks logs it
        else:
            self._dialling = None
            if isinstance(order, Complete):
                exchange.complete(order)
            else:
                self._order = order
                self.start()

    def start(self) -> None:
        """Use a warm connection, or dial."""
        destination = self._plane.pool.destination(self.candidate.server)
        warm = destination.take()
        if warm is not None:
            self._send(warm, destination)
        else:
            self._dial(destination)

    def close(self) -> None:
        """Stop the work, whatever its state, and give the place on the server back. Once."""
        self._relay = None
        if self._upstream is not None:
            self._upstream.abort()
            self._upstream = None
        if self._dialling is not None:
            self._dialling.cancel()
            self._dialling = None
        lane = self._lane
        if lane.closer_look_until:
            lane.give_back(self._plane.clock(), self._taken_at)
        else:
            lane.in_flight -= 1
        if self._residence is not None:
            self._residence.give_back(self.candidate.model.upstream_name, self._plane.clock())

    def _dial(self, destination: Destination) -> None:
        self._dialling = self._plane.tasks.spawn(self._dialled(destination), name="dial a server")

    async def _dialled(self, destination: Destination) -> None:
        server = destination.server
        try:
            upstream = await self._plane.link.dial(server.endpoint, destination.connection)
        except ConnectFailed as error:
            own = error.kind is ConnectFailure.OWN
            self._dial_failed(server.id, error.reason, Failure.OWN if own else Failure.DIAL)
        except EndpointRefused as error:
            self._dial_failed(server.id, error.message, Failure.DENIED)
        except Exception:
            self._dial_failed(server.id, "the gateway failed to dial", Failure.DIAL)
            raise  # a bug: the keeper of tasks logs it
        else:
            self._dialling = None
            self._send(upstream, destination)

    def _dial_failed(self, server_id: str, reason: str, failure: Failure) -> None:
        self._dialling = None
        if failure is not Failure.OWN:  # else no server is at fault
            self._plane.dial_failed(server_id, reason)
        self._fail(failure)

    def _send(self, upstream: Upstream, destination: Destination) -> None:
        exchange, order, model = self._exchange, self._order, self.candidate.model
        call, path, body, seen = exchange.call, exchange.call.path, exchange.body, exchange.seen
        refused = self._without_options or self._lane.refuses_stream_options
        takes_options = exchange.wants_stream and not refused
        try:
            if order is not None:
                path, body, seen = order.path, order.body, peek(order.body, self._plane.limits.max_json_depth + 1)
            body, self._asked_usage = forwarded_body(body, seen, model, ask_usage=takes_options)
        except RequestInvalid as error:
            upstream.abort()
            if exchange.leg is not None:
                self._fail(Failure.NOT_SERVED)  # another server may take it as it is
            else:
                exchange.refuse(error)
            return
        self._upstream, self._relay = upstream, None
        self._silent_ticks = 0
        self._sent_at = self._plane.clock()
        head = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (
            destination.head(path),
            call.request_id,
            call.via,
            call.trace.lines,
            len(body),
        )
        upstream.send(self, head, body)
        if exchange.paused:
            upstream.pause()

    def pause(self) -> None:
        """Stop reading from the server."""
        if self._upstream is not None:
            self._upstream.pause()

    def resume(self) -> None:
        """Read on."""
        if self._upstream is not None:
            self._upstream.resume()

    @abstractmethod
    def _fail(self, failure: Failure, status: int | None = None, retry_after_seconds: int | None = None) -> None:
        """It did not come to an answer."""
