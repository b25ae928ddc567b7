"""One request and its answer, over all attempts: what happens next?

The exchange carries out what the core decides. It is called by the client (``left``, ``pause``, ``resume``), by its
attempts and by the sweeper (``tick``); all of it is synchronous. Until an event or a whole answer went to the client, a
failed attempt may be followed by one on another server, each server once. After that a stream that breaks goes on at a
server that can go on with it, or ends in a typed error event.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core import retry
from app.services.core.answer.usage import Usage
from app.services.core.choice.plan import Await, Forward, Queue, plan
from app.services.core.errors import GatewayError, TooSlow
from app.services.core.http.surfaces import STREAMING_PATHS
from app.services.core.people.principal import Trust
from app.services.core.reporting.outcome import CLIENT_LEFT, Outcome
from app.services.dataplane.answering import busy
from app.services.dataplane.attempt import Attempt
from app.services.dataplane.carrying import Carrying
from app.services.dataplane.demands import LEAST_BYTES
from app.services.dataplane.onward import Onward
from app.services.dataplane.reasons import why
from app.services.dataplane.successor import Successor

if TYPE_CHECKING:
    from collections.abc import Hashable

    from app.services.core.choice.plan import Plan
    from app.services.core.choice.snapshot import Candidate
    from app.services.core.errors import TooMany
    from app.services.core.http.peek import Peek
    from app.services.core.queue.use import Charge
    from app.services.core.retry import Failure
    from app.services.dataplane.demands import Wish
    from app.services.dataplane.onward import Leg
    from app.services.dataplane.plane import DataPlane
    from app.services.dataplane.reception import Call
    from app.services.dataplane.sides import ClientSide
    from app.services.dataplane.terms import Terms

__all__ = ["Exchange"]

_NOTHING = Usage(0, 0, estimated=True)


class Exchange(Carrying):
    """One request. Made by ``DataPlane.begin``, which also routes it first.

    ``wish``: what it asks of its server; ``terms``: on what terms it goes; both None where that is nothing.
    """

    __slots__ = (
        "_awaited", "_first_token_seconds", "_give_up_at_ticks", "_queue_error",
        "_queued_at_ticks", "_sent", "_sent_at", "_work_bytes", "wish",
    )  # fmt: skip

    def __init__(
        self, plane: DataPlane, call: Call, body: bytes, seen: Peek, client: ClientSide, terms: Terms | None = None
    ) -> None:
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
        self._continuations = self._work_bytes = 0
        self._sent_at = 0.0
        self._say_at_ticks = plane.say_after_ticks
        self._queued = self._awaited = False
        self._told_place: tuple[int, int] | None = None
        self.charge: Charge | None = None
        self._queue_error: GatewayError | None = None
        self.started_at = plane.clock()
        self._first_token_seconds: float | None = None
        self.awaits: tuple[str, ...] = ()
        self.wish: Wish | None = None
        self.terms = terms
        self.why = b""
        goes_on = self.wants_stream and plane.limits.max_continuations > 0 and (seen.choices or 1) == 1
        self.onward = Onward() if goes_on else None

    @property
    def kind(self) -> Hashable:
        """What it has in common with others: where one found no place, another of its kind finds none either."""
        return self.seen.model if self.terms is None else self.terms.kind

    @property
    def waits(self) -> bool:
        """Whether it waits for a place on a server."""
        return self._attempt is None and not self._done

    @property
    def need(self) -> tuple[int, int]:
        """How long a context it needs, by estimate and at least; nothing where that is no question."""
        demand = None if self.wish is None else self.wish.demand
        return (0, 0) if demand is None else (demand.prompt_tokens, demand.least_tokens)

    # -- attempts

    def route(self, *, after: GatewayError | None = None) -> None:
        """Make the next attempt. ``after``: what the client hears instead, when no server is left to try."""
        plane, limits = self._plane, self._plane.limits
        leg, now = self.leg, plane.clock()
        if leg is None:
            wish = self.wish
            demand = None if wish is None else wish.demand
            if self.terms is not None:
                verdict = self.terms.plan(self._tried, now, None, demand)
            else:
                model = self.seen.model
                verdict = plan(model, plane.snapshot, plane.board, self._tried, now, plane.random, None, demand)
        else:
            verdict = self._plan_leg(now)
        if self.call.asks_why:
            self._say_why(verdict)
        if isinstance(verdict, Forward):
            self._forward(verdict.candidate, leg, now)
        elif isinstance(verdict, Queue):
            self.awaits = ()
            self._wait(after, self._queue_ticks() if leg is None else limits.idle_ticks)
        elif leg is not None:
            self._hope(after or verdict.error)
        elif isinstance(verdict, Await):
            if not self._awaited:
                self._queued, self._awaited = False, True  # this wait has a time of its own, once
            self.awaits = verdict.server_ids
            self._wait(after or verdict.error, limits.queue_ticks if self._awaits_load() else limits.return_ticks)
        else:
            self._fail(after or verdict.error)

    def _forward(self, candidate: Candidate, leg: Leg | None, now: float) -> None:
        """Send it to this server."""
        plane = self._plane
        if self.wish is not None:
            self._work_bytes = plane.demands.went(self.wish, candidate.server.id, now)
            self._sent_at = now
        self._queued, self.awaits = self._queued and leg is not None, ()
        self._tried.append(candidate.server.id)
        self._attempts += 1
        if leg is None:
            self._attempt = attempt = Attempt(self, plane, candidate, now)
            attempt.start()
        else:
            self._attempt = attempt = Successor(self, plane, candidate, now)
            self._take_over(attempt, leg)

    def _say_why(self, verdict: Plan) -> None:
        """Keep for the answer's head why it goes there; say it in the stream where that has gone out."""
        is_taken = isinstance(verdict, Forward)
        if is_taken or not self._committed:
            self.why = why(self._plane, self.known_route(), verdict, self.wish, len(self.body), self._tried)
        if is_taken and self._committed:
            self._say(b": route: %b\n" % self.why)

    def _wait(self, after: GatewayError | None, patience_ticks: int) -> None:
        """Wait for a place. What an earlier attempt failed of is kept: the client hears it if none comes free."""
        if not self._queued:
            self._queued = True
            self._queue_error = after
            self._queued_at_ticks = self._age_ticks
        self._give_up_at_ticks = self._queued_at_ticks + patience_ticks
        if not self._plane.queue(self):
            self._fail(after or self._busy("the queue is full"))

    def turned_away(self) -> None:
        """Another has a better right to wait."""
        self._fail(self._queue_error or self._busy("the queue is full"))

    def _busy(self, why: str) -> TooMany:
        """What its client hears when no place came free."""
        return busy(self.model, why, self._plane.wait_seconds(self))

    def _place(self) -> tuple[int, int] | None:
        return self._plane.place_of(self)

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
            self._fail(self._queue_error or self._busy("none got free in time"), reason)
        elif not self.paused:
            if self._attempt is not None:
                self._attempt.tick()
            if self._age_ticks >= self._say_at_ticks:
                self._announce()
            self._keep_alive(limits.keepalive_ticks)

    def judged(self, server_id: str, *, alive: bool) -> None:
        """Hear whether a server that fell silent still answers a check."""
        if self._attempt is not None and self._attempt.candidate.server.id == server_id:
            self._attempt.judged(alive=alive)

    # -- the end

    @property
    def has_tried(self) -> bool:
        """Whether it was sent anywhere yet."""
        return bool(self._tried)

    def _close_attempt(self, *, is_whole: bool = False) -> None:
        """Give the place on the server back; the next in the queue may have it."""
        attempt, self._attempt = self._attempt, None
        if attempt is not None:
            if self._work_bytes:
                is_telling = is_whole and not attempt.waited_for_load
                seconds = self._plane.clock() - self._sent_at if is_telling else None
                self._plane.demands.ended(attempt.candidate.server.id, self._work_bytes, seconds)
                self._work_bytes = 0
            if self._first_token_seconds is None:
                self._first_token_seconds = attempt.first_token_seconds
            self._events += attempt.events
            attempt.close()
            self._plane.place_freed()

    def _finish(self, status: int, usage: Usage | None, error_code: str | None) -> None:
        self._done = True
        plane, call, attempt = self._plane, self.call, self._attempt
        is_whole = status == 200 and error_code is None
        if usage is None:
            usage = self._partial_usage()
            if usage is None and status == CLIENT_LEFT and attempt is not None:
                usage = attempt.prompt_usage()
        elif attempt is not None and attempt.candidate.server.trust is not Trust.TRUSTED:
            usage = self._believable(usage, attempt.candidate)
        if usage is not None and is_whole and len(self.body) >= LEAST_BYTES and attempt is not None:
            self._learn(usage, attempt.candidate)
        self._close_attempt(is_whole=is_whole)
        terms = self.terms
        told = usage or _NOTHING
        if terms is not None:
            terms.settle(told.prompt_tokens + told.completion_tokens, plane.clock(), plane.wall_clock())
        outcome = Outcome(
            call.request_id.decode("latin-1"),
            call.client,
            call.principal.key_id,
            call.path,
            self.seen.model if terms is None else terms.model,
            self._tried[-1] if self._tried else None,
            status,
            error_code,
            self.wants_stream,
            self._attempts,
            plane.clock() - self.started_at,
            self._first_token_seconds,
            told,
            plane.wall_clock(),
            self._events,
            call.trace.own,
            call.trace.parent,
            self._continuations,
            call.person,
            call.principal.group or "",
            "" if terms is None else terms.alias,
        )
        self.onward = None
        plane.finished(self, outcome)
