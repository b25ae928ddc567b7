"""One request and its answer, over all attempts: what happens next?

The exchange carries out what the core decides. It is called by the client (``left``, ``pause``, ``resume``), by its
attempts and by the sweeper (``tick``); all of it is synchronous. Until an event or a whole answer went to the client, a
failed attempt may be followed by one on another server, each server once. After that a stream that breaks goes on at a
server that can go on with it, or ends in a typed error event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core import retry
from app.services.core.continuation.endings import closing
from app.services.core.continuation.judgement import Complete, Impossible
from app.services.core.errors import GatewayError, TooSlow
from app.services.core.outcome import Outcome
from app.services.core.plan import Await, Forward, Queue, plan
from app.services.core.retry import Failure
from app.services.core.surfaces import STREAMING_PATHS
from app.services.core.usage import Usage, estimate
from app.services.dataplane.answering import Answering, busy, why_not
from app.services.dataplane.attempt import Attempt
from app.services.dataplane.onward import Leg, Onward

if TYPE_CHECKING:
    from app.services.core.peek import Peek
    from app.services.core.plan import Plan
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.reception import Call
    from app.services.dataplane.sides import ClientSide

__all__ = ["Exchange"]

_NOTHING = Usage(0, 0, estimated=True)


class Exchange(Answering):
    """One request. Made by ``DataPlane.begin``, which also routes it first.

    ``onward``: how its stream goes on when it breaks; None where it can't. ``awaits``: servers whose return it waits
    for.
    """

    __slots__ = (
        "_age_ticks", "_attempt", "_awaited", "_continuations", "_events",
        "_first_token_seconds", "_give_up_at_ticks", "_plane", "_queue_error", "_queued",
        "_queued_at_ticks", "_sent", "awaits", "onward", "started_at",
    )  # fmt: skip

    def __init__(self, plane: DataPlane, call: Call, body: bytes, seen: Peek, client: ClientSide) -> None:
        self._plane = plane
        self.call = call
        self.body = body
        self.seen = seen
        self.client = client
        self._tried = []
        self._attempts = self.quiet_ticks = 0
        self._committed = self._raw = self._done = self.paused = False
        self.wants_stream = bool(seen.stream) and call.path in STREAMING_PATHS
        self._attempt: Attempt | None = None
        self._sent = self._events = self._age_ticks = self._queued_at_ticks = self._give_up_at_ticks = 0
        self._continuations = 0
        self._queued = self._awaited = False
        self._queue_error: GatewayError | None = None
        self.started_at = plane.clock()
        self._first_token_seconds: float | None = None
        self.awaits: tuple[str, ...] = ()
        goes_on = self.wants_stream and plane.limits.max_continuations > 0 and (seen.choices or 1) == 1
        self.onward = Onward() if goes_on else None

    @property
    def waits(self) -> bool:
        """Whether it waits for a place on a server."""
        return self._attempt is None and not self._done

    @property
    def leg(self) -> Leg | None:
        """What the next server has to go on with; None for an answer that none has begun."""
        return self.onward.leg if self.onward is not None else None

    # -- attempts

    def route(self, *, after: GatewayError | None = None) -> None:
        """Make the next attempt. ``after``: what the client hears instead, when no server is left to try."""
        plane, limits = self._plane, self._plane.limits
        leg, now = self.leg, plane.clock()
        if leg is None:
            verdict = plan(self.seen.model, plane.snapshot, plane.board, self._tried, now, plane.random)
        else:
            verdict = self._plan_leg(now)
        if isinstance(verdict, Forward):
            candidate = verdict.candidate
            self._queued, self.awaits = self._queued and leg is not None, ()
            self._tried.append(candidate.server.id)
            self._attempts += 1
            self._attempt = attempt = Attempt(self, plane, candidate, now)
            if leg is None or leg.anew:
                attempt.start()
            else:
                attempt.prepare(leg)
        elif isinstance(verdict, Queue):
            self.awaits = ()
            self._wait(after, limits.queue_ticks if leg is None else limits.idle_ticks)
        elif leg is not None:
            self._hope(after or verdict.error)
        elif isinstance(verdict, Await):
            if not self._awaited:
                self._queued, self._awaited = False, True  # this wait has a time of its own, once
            self.awaits = verdict.server_ids
            self._wait(after or verdict.error, limits.return_ticks)
        else:
            self._fail(after or verdict.error)

    def _plan_leg(self, now: float) -> Plan:
        """Plan among the servers that can go on with what was begun."""
        plane, onward = self._plane, self.onward
        shut_out, select = (onward.shut_out, onward.select) if onward is not None else ([], None)
        return plan(self.seen.model, plane.snapshot, plane.board, shut_out, now, plane.random, select=select)

    def _hope(self, error: GatewayError) -> None:
        """A begun stream waits for a server that may yet be able to take over, as long as one may be silent."""
        onward = self.onward
        hopes = onward.hopes(self._plane.snapshot.routes.get(self.model)) if onward is not None else ()
        if hopes:
            self.awaits = hopes
            self._wait(error, self._plane.limits.idle_ticks)
        else:
            self._fail(error, "no other server of this model can go on with an answer")

    def _wait(self, after: GatewayError | None, patience_ticks: int) -> None:
        """Wait for a place. What an earlier attempt failed of is kept: the client hears it if none comes free."""
        if not self._queued:
            self._queued = True
            self._queue_error = after
            self._queued_at_ticks = self._age_ticks
        self._give_up_at_ticks = self._queued_at_ticks + patience_ticks
        if not self._plane.queue(self):
            self._fail(after or busy(self.model, "the queue is full"))

    def turned_away(self) -> None:
        """Another has a better right to wait."""
        self._fail(self._queue_error or busy(self.model, "the queue is full"))

    def others_left(self, *, down: bool = False) -> bool:
        """Whether a server that was not tried yet has the model; ``down``: one that is down counts too."""
        route = self._plane.snapshot.routes.get(self.model)
        others = (*route.ready, *route.standby, *(route.down if down else ())) if route else ()
        return any(candidate.server.id not in self._tried for candidate in others)

    def returned(self, server_id: str) -> None:
        """A server that was down is well again."""
        if self.onward is not None:
            self.onward.returned(server_id)

    def attempt_failed(self, failure: Failure, status: int | None, retry_after_seconds: int | None) -> None:
        """Go elsewhere, if nothing of an answer went out yet and another server may be tried; or go on there."""
        attempt = self._attempt
        if self._done or attempt is None:
            return
        error = retry.final_error(failure, status, self.model, retry_after_seconds)
        if attempt.relaying:
            self._go_on(attempt, error)
        elif self.leg is not None:
            self._leg_failed(attempt, failure, error)
        else:
            self._sent += not retry.costs_nothing(failure)
            limits, budget = self._plane.limits, self._plane.budget
            can_move = self.others_left(down=True)  # where nobody is left, nothing is drawn from the budget
            if can_move and retry.may_move_on(failure, self._sent, limits.max_attempts, budget):
                self._close_attempt()
                self.route(after=error)
            else:
                self._fail(error)

    # -- a stream that broke

    def _go_on(self, attempt: Attempt, error: GatewayError) -> None:
        """Carry a begun stream on elsewhere; end it where that can't be."""
        onward, limits = self.onward, self._plane.limits
        if onward is None:
            self._fail(error, why_not(limits.max_continuations, streamed=self.wants_stream))
            return
        verdict = onward.broke(self.body, self.call.path, attempt.candidate)
        if isinstance(verdict, Impossible):
            self._fail(error, verdict.reason)
        elif isinstance(verdict, Complete):
            self.complete(verdict)
        elif onward.breaks > limits.max_continuations:
            self._fail(error, f"it broke {onward.breaks} times")
        else:
            self._continuations += 1
            self._queued = False  # from now on it may wait, however many servers are tried meanwhile
            self._close_attempt()
            self.route(after=error)

    def _leg_failed(self, attempt: Attempt, failure: Failure, error: GatewayError) -> None:
        """Another server did not take over: ask the next one. This draws nothing from the budget of retries."""
        onward = self.onward
        if onward is None:  # there is no leg without it
            self._fail(error)
            return
        if failure is Failure.OVERLOADED:
            attempt.rest_server()  # it is waited for
        else:
            onward.shut_out.append(attempt.candidate.server.id)
            onward.sent += not retry.costs_nothing(failure)
        if onward.sent >= self._plane.limits.max_attempts:
            self._fail(error, "the servers that were asked to go on with it did not")
            return
        self._close_attempt()
        self.route(after=error)

    def complete(self, verdict: Complete) -> None:
        """All of the answer went out; only the end of the stream is missing."""
        onward = self.onward
        if onward is None or onward.asked is None or self._done:
            return
        delivered = onward.journal.delivered()
        usage = estimate(len(self.body), delivered.tokens)
        self.finish_events(closing(onward.asked, delivered, verdict.finish_reason, usage), usage)

    def _delivered_tokens(self) -> int:
        if self.onward is not None:
            return self.onward.journal.delivered().tokens
        return self._events + (self._attempt.events if self._attempt is not None else 0)

    # -- the client's side

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
            error = TooSlow("The request took longer than the gateway allows. Ask for a shorter answer.")
            self._fail(error, "the time for the whole request is over")
        elif self._attempt is None and self._age_ticks >= self._give_up_at_ticks:
            reason = "no server that can go on with it came back in time" if self.leg is not None else ""
            self._fail(self._queue_error or busy(self.model, "none got free in time"), reason)
        elif not self.paused:
            if self._attempt is not None:
                self._attempt.tick()
            self._keep_alive(limits.keepalive_ticks)

    def judged(self, server_id: str, *, alive: bool) -> None:
        """Hear whether a server that fell silent still answers a check."""
        if self._attempt is not None and self._attempt.candidate.server.id == server_id:
            self._attempt.judged(alive=alive)

    # -- the end

    def _partial_usage(self) -> Usage | None:
        """What an answer that did not end has taken so far, estimated."""
        onward = self.onward
        if onward is not None and onward.asked is not None:
            return estimate(len(self.body), onward.journal.delivered().tokens)
        return self._attempt.partial_usage() if self._attempt is not None else None

    @property
    def has_tried(self) -> bool:
        """Whether it was sent anywhere yet."""
        return bool(self._tried)

    def _close_attempt(self) -> None:
        """Give the place on the server back; the next in the queue may have it."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            if self._first_token_seconds is None:
                self._first_token_seconds = attempt.first_token_seconds
            self._events += attempt.events
            attempt.close()
            self._plane.place_freed()

    def _finish(self, status: int, usage: Usage | None, error_code: str | None) -> None:
        self._done = True
        if usage is None:
            usage = self._partial_usage()
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
            plane.clock() - self.started_at,
            self._first_token_seconds,
            usage or _NOTHING,
            plane.wall_clock(),
            self._events,
            call.trace.own,
            call.trace.parent,
            self._continuations,
        )
        self.onward = None
        plane.finished(self, outcome)
