"""One request and its answer, over all attempts: what happens next?

The exchange owns the client's side and carries out what the core decides. It is called by the client (``left``,
``pause``, ``resume``), by its attempts and by the sweeper (``tick``); all of it is synchronous. Until an event or a
whole answer went to the client, a failed attempt may be followed by one on another server, each server once. After
that a break ends in a typed error event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core import retry, sse
from app.services.core.errors import GatewayError, Internal, ServerMisbehaved, TooMany, TooSlow, error_event
from app.services.core.outcome import CLIENT_LEFT, Outcome
from app.services.core.plan import Forward, Refuse, plan
from app.services.core.surfaces import STREAMING_PATHS
from app.services.core.usage import Usage
from app.services.dataplane.attempt import Attempt
from app.services.dataplane.reception import Call, error_reply

if TYPE_CHECKING:
    from app.services.core.peek import Peek
    from app.services.core.retry import Failure
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.sides import ClientSide

__all__ = ["Exchange"]

_NOTHING = Usage(0, 0, estimated=True)
_JSON_LINE = b"content-type: application/json\r\n"
_EVENT_LINES = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


class Exchange:
    """One request. Made by ``DataPlane.begin``, which also routes it first.

    ``body`` and ``seen`` are the client's request, as sent and as peeked; ``paused``: the client reads slowly;
    ``quiet_ticks``: since when nothing was sent to it.
    """

    __slots__ = (
        "_age_ticks",
        "_attempt",
        "_attempts",
        "_committed",
        "_done",
        "_events",
        "_first_token_seconds",
        "_plane",
        "_queue_error",
        "_queued",
        "_queued_at_ticks",
        "_raw",
        "_sent",
        "_started_at",
        "_tried",
        "body",
        "call",
        "client",
        "paused",
        "quiet_ticks",
        "seen",
        "wants_stream",
    )

    def __init__(self, plane: DataPlane, call: Call, body: bytes, seen: Peek, client: ClientSide) -> None:
        self._plane = plane
        self.call = call
        self.body = body
        self.seen = seen
        self.client = client
        self._tried: list[str] = []
        self._attempt: Attempt | None = None
        self._attempts = self._sent = self._events = 0
        self._committed = self._raw = self._done = self._queued = self.paused = False
        self._age_ticks = self.quiet_ticks = self._queued_at_ticks = 0
        self._queue_error: GatewayError | None = None
        self.wants_stream = bool(seen.stream) and call.path in STREAMING_PATHS
        self._started_at = plane.clock()
        self._first_token_seconds: float | None = None

    @property
    def waits(self) -> bool:
        """Whether it waits for a place on a server."""
        return self._attempt is None and not self._done

    @property
    def model(self) -> str:
        """The model asked for."""
        return self.seen.model

    # -- attempts

    def route(self, *, after: GatewayError | None = None) -> None:
        """Make the next attempt. ``after``: what the client hears instead, when no server is left to try."""
        plane = self._plane
        verdict = plan(self.seen.model, plane.snapshot, plane.board, self._tried, plane.clock(), plane.random)
        if type(verdict) is Forward:
            candidate = verdict.candidate
            self._queued = False
            self._tried.append(candidate.server.id)
            self._attempts += 1
            self._attempt = Attempt(self, plane, candidate)
            self._attempt.start()
        elif type(verdict) is Refuse:
            plane.look_again(verdict.look_again)
            self._fail(after or verdict.error)
        else:
            self._wait(after)

    def _wait(self, after: GatewayError | None) -> None:
        """Wait for a place. What an earlier attempt failed of is kept: the client hears it if none comes free."""
        if not self._queued:
            self._queued = True
            self._queue_error = after
            self._queued_at_ticks = self._age_ticks
        if not self._plane.queue(self):
            self._fail(after or self._busy("the queue is full"))

    def others_left(self) -> bool:
        """Whether a server that was not tried yet has the model."""
        route = self._plane.snapshot.routes.get(self.model)
        others = (*route.ready, *route.standby) if route else ()
        return any(candidate.server.id not in self._tried for candidate in others)

    def attempt_failed(self, failure: Failure, status: int | None, retry_after_seconds: int | None) -> None:
        """Go elsewhere, if nothing of an answer went out yet and another server may be tried."""
        attempt = self._attempt
        if self._done or attempt is None:
            return
        error = retry.final_error(failure, status, self.model, retry_after_seconds)
        self._sent += not retry.costs_nothing(failure)
        limits, budget = self._plane.limits, self._plane.budget
        if attempt.relaying or not retry.may_move_on(failure, self._sent, limits.max_attempts, budget):
            self._fail(error)
            return
        self._close_attempt()
        self.route(after=error)

    def refuse(self, error: GatewayError) -> None:
        """End with an error that is the client's own."""
        self._fail(error)

    # -- the answer, as the attempt hands it over

    def pass_events(self, block: bytes) -> None:
        """Send whole events."""
        self.quiet_ticks = 0
        if self._committed:
            self.client.write(block)
        else:
            self._committed = True
            self.client.respond(200, self._lines(_EVENT_LINES), block, more=True)

    def finish_events(self, rest: bytes, usage: Usage) -> None:
        """Send the last events and end the stream."""
        if rest and not self._committed:
            self.pass_events(rest)
            rest = b""
        self.client.end(rest)
        self._finish(200, usage, None)

    def finish_whole(self, status: int, body: bytes, usage: Usage | None, error_code: str | None) -> None:
        """Send a whole answer, or the server's refusal. A stream that was opened by a ping gets it as an event."""
        if self._committed:
            self.client.end(b"data: %b\n\n" % body)
        else:
            self._committed = True
            self.client.respond(status, self._lines(_JSON_LINE), body, more=False)
        self._finish(status, usage, error_code)

    def pass_large(self, status: int, body: bytes) -> None:
        """Begin an answer that is too large to hold."""
        self._committed = self._raw = True
        self.client.respond(status, self._lines(_JSON_LINE), body, more=True)

    def pass_bytes(self, data: bytes) -> None:
        """Send more of it."""
        self.client.write(data)

    def finish_large(self, status: int, usage: Usage) -> None:
        """End it."""
        self.client.end()
        self._finish(status, usage, None)

    def _lines(self, content_lines: bytes) -> bytes:
        return b"%bx-gateway-server-id: %b\r\nx-gateway-attempts: %d\r\n%b" % (
            self.call.lines,
            self._tried[-1].encode(),
            self._attempts,
            content_lines,
        )

    # -- the client's side

    def left(self) -> None:
        """The client closed its connection: stop the work upstream at once."""
        if not self._done:
            self._finish(CLIENT_LEFT, None, "client_left")

    def pause(self) -> None:
        """The client reads slowly: stop reading from the server."""
        self.paused = True
        if self._attempt is not None:
            self._attempt.pause()

    def resume(self) -> None:
        """The client caught up."""
        self.paused = False
        if self._attempt is not None:
            self._attempt.resume()

    def stalled(self) -> None:
        """A client that has read nothing for so long holds a place on a server: end it."""
        if not self._done:
            self.client.cut()
            self._finish(CLIENT_LEFT, None, "client_stalled")

    def crashed(self) -> None:
        """A bug was met: end with an error that owns up to it."""
        if not self._done:
            self._fail(Internal("The gateway failed on this request. Its log says more."))

    def shut(self) -> None:
        """The gateway is going down and the time to drain has passed."""
        if not self._done:
            self._fail(ServerMisbehaved("The gateway is shutting down. Send the request again.", code="shutting_down"))

    # -- time

    def tick(self) -> None:
        """Grow older by one tick and act on deadlines. While the client holds up the stream, no server is blamed.

        Whether such a client reads at all is for its own side to see, which then calls ``stalled``.
        """
        limits = self._plane.limits
        self._age_ticks += 1
        if self._done:
            return
        if self._age_ticks > limits.request_ticks:
            self._fail(TooSlow("The request took longer than the gateway allows. Ask for a shorter answer."))
        elif self._attempt is None and self._age_ticks - self._queued_at_ticks > limits.queue_ticks:
            self._fail(self._queue_error or self._busy("none got free in time"))
        elif not self.paused:
            if self._attempt is not None:
                self._attempt.tick()
            self._keep_alive(limits.keepalive_ticks)

    def _keep_alive(self, keepalive_ticks: int) -> None:
        """Keep a silent stream alive, from before its first event on."""
        self.quiet_ticks += 1
        if self.quiet_ticks <= keepalive_ticks or not self.wants_stream or self._done:
            return
        self.quiet_ticks = 0
        if self._committed:
            self.client.write(sse.PING)
        else:
            self._committed = True
            self.client.respond(200, self.call.lines + _EVENT_LINES, sse.PING, more=True)

    # -- the end

    def _busy(self, why: str) -> TooMany:
        wait = retry.RETRY_AFTER_SECONDS
        message = f"Every server of model '{self.model}' is busy and {why}. Try again in {wait} seconds."
        return TooMany(message, retry_after_seconds=wait)

    def _fail(self, error: GatewayError) -> None:
        """End with an error: a status where nothing was sent yet, else an error event, else a cut."""
        if not self._committed:
            reply = error_reply(error, self.call.lines)
            attempts = b"x-gateway-attempts: %d\r\n" % self._attempts if self._attempts else b""
            self.client.respond(reply.status, reply.lines + attempts, reply.body, more=False)
        elif self._raw or self.paused:
            self.client.cut()  # one who does not read will not read this either
        else:
            self.client.end(error_event(error))
        self._finish(error.status, None, error.code)

    def _close_attempt(self) -> None:
        """Give the place on the server back; the next in the queue may have it."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            self._first_token_seconds = attempt.first_token_seconds
            self._events += attempt.events
            attempt.close()
            self._plane.place_freed()

    def _finish(self, status: int, usage: Usage | None, error_code: str | None) -> None:
        self._done = True
        if usage is None and self._attempt is not None:
            usage = self._attempt.partial_usage()
        self._close_attempt()
        plane, call = self._plane, self.call
        outcome = Outcome(
            call.request_id.decode("latin-1"),
            call.client,
            call.principal.key_id,
            call.path,
            self.seen.model,
            self._tried[-1] if self._tried else None,
            status,
            error_code,
            self.wants_stream,
            self._attempts,
            plane.clock() - self._started_at,
            self._first_token_seconds,
            usage or _NOTHING,
            plane.wall_clock(),
            self._events,
            call.trace.own,
            call.trace.parent,
        )
        plane.finished(self, outcome)
