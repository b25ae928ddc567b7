"""What does the client of an exchange get, and in which form does it end?

The way in sends what it is handed (``ClientSide``). Where it comes from, and what happens when that fails, the exchange
says, which is made of this.
"""

from __future__ import annotations

from abc import abstractmethod
from secrets import token_hex
from typing import TYPE_CHECKING

from app.services.core.answer import sse
from app.services.core.continuation.endings import broken
from app.services.core.errors import GatewayError, Internal, ServerMisbehaved, TooMany
from app.services.core.reporting.outcome import CLIENT_LEFT
from app.services.dataplane.reception import error_reply

if TYPE_CHECKING:
    from app.services.core.answer.usage import Usage
    from app.services.core.http.peek import Peek
    from app.services.dataplane.reception import Call
    from app.services.dataplane.sides import ClientSide

__all__ = ["Answering", "busy", "why_not"]

_MARK_BYTES = 8
_JSON_LINE = b"content-type: application/json\r\n"
_EVENT_LINES = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\nx-accel-buffering: no\r\n"


class Answering:
    """The client's side of one request. The exchange sets it up with its own: one call less for each.

    ``body`` and ``seen`` are the client's request, as sent and as peeked; ``paused``: the client reads slowly;
    ``quiet_ticks``: since when nothing was sent to it; ``why``: what it hears of its route, if it asked for it.
    """

    __slots__ = (
        "_attempts",
        "_committed",
        "_done",
        "_mark",
        "_raw",
        "_tried",
        "body",
        "call",
        "client",
        "paused",
        "quiet_ticks",
        "seen",
        "wants_stream",
        "why",
    )

    _attempts: int
    _committed: bool
    _done: bool
    _mark: bytes
    _raw: bool
    _tried: list[str]
    body: bytes
    call: Call
    client: ClientSide
    paused: bool
    quiet_ticks: int
    seen: Peek
    wants_stream: bool
    why: bytes

    @property
    def model(self) -> str:
        """The model asked for."""
        return self.seen.model

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

    def refuse(self, error: GatewayError) -> None:
        """End with an error that is the client's own."""
        self._fail(error)

    def _lines(self, content_lines: bytes) -> bytes:
        lines = b"%bx-gateway-server-id: %b\r\nx-gateway-attempts: %d\r\n%b" % (
            self.call.lines,
            self._tried[-1].encode(),
            self._attempts,
            content_lines,
        )
        return lines + self._route_line() if self.call.asks_why else lines

    def _route_line(self) -> bytes:
        line = b"x-gateway-mark: %b\r\n" % self._own_mark() if self.call.marks else b""
        return line + b"x-gateway-route: %b\r\n" % self.why if self.why else line

    def _own_mark(self) -> bytes:
        """What ends the gateway's own comments in this stream; drawn when it is first asked for, by few requests."""
        mark = getattr(self, "_mark", b"")
        if not mark:
            mark = self._mark = token_hex(_MARK_BYTES).encode()
        return mark

    # -- the client's side

    def left(self) -> None:
        """The client closed its connection: stop the work upstream at once."""
        if not self._done:
            self._finish(CLIENT_LEFT, None, "client_left")

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

    def _keep_alive(self, keepalive_ticks: int) -> None:
        """Keep a silent stream alive, from before its first event on."""
        self.quiet_ticks += 1
        if self.quiet_ticks <= keepalive_ticks or not self.wants_stream or self._done:
            return
        self._say(sse.PING)

    def _say(self, comment: bytes) -> None:
        """Send a comment line. Where nothing was sent yet, it opens the stream.

        Pages get each with the mark that the answer's headers name: no model server knows that, and so none can speak
        for the gateway there.
        """
        self.quiet_ticks = 0
        if self.call.marks:
            comment = b"%b #%b\n" % (comment[:-1], self._own_mark())
        if self._committed:
            self.client.write(comment)
        else:
            self._committed = True
            route = self._route_line() if self.call.asks_why else b""
            self.client.respond(200, self.call.lines + _EVENT_LINES + route, comment, more=True)

    # -- the end

    def _fail(self, error: GatewayError, reason: str = "") -> None:
        """End with an error: a status where nothing was sent yet, else an error event, else a cut.

        Args:
            error: what the client hears.
            reason: why a begun stream could not go on elsewhere; empty where that was not the question.
        """
        if not self._committed:
            reply = error_reply(error, self.call.lines)
            attempts = b"x-gateway-attempts: %d\r\n" % self._attempts if self._attempts else b""
            lines = reply.lines + attempts + (self._route_line() if self.call.asks_why else b"")
            self.client.respond(reply.status, lines, reply.body, more=False)
        elif self._raw or self.paused:
            self.client.cut()  # one who does not read will not read this either
        else:
            retryable = error.status in (429, 500, 502, 503, 504)
            event = broken(error, retryable=retryable, delivered_tokens=self._delivered_tokens(), reason=reason)
            self.client.end(event)
        self._finish(error.status, None, error.code)

    @abstractmethod
    def _delivered_tokens(self) -> int:
        """About how many tokens of a stream the client has."""

    @abstractmethod
    def _finish(self, status: int, usage: Usage | None, error_code: str | None) -> None:
        """Be done: give back what is held, and tell what became of it."""


def busy(model: str, why: str, wait_seconds: int) -> TooMany:
    """What one hears for whom no place came free, and who should stay away for so long."""
    message = f"Every server of model '{model}' is busy and {why}. Try again in {wait_seconds} seconds."
    return TooMany(message, retry_after_seconds=wait_seconds)


def why_not(max_continuations: int, *, streamed: bool) -> str:
    """Why a begun answer never had a chance to go on elsewhere; empty where it is no stream."""
    if not streamed:
        return ""
    if max_continuations == 0:
        return "this gateway does not carry broken answers on"
    return "an answer with several choices can't go on elsewhere"
