"""How is a begun stream carried on, when the server that began it has failed?

What its client has decides whether it can go on and how (``Onward``); another server that can takes over, or one is
waited for. Where nobody can, the stream ends in an error event that says why.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING

from app.services.core import retry
from app.services.core.answer.continued import continued_words
from app.services.core.answer.counting import MOST_ANSWER_TOKENS, within_reason
from app.services.core.answer.usage import estimate
from app.services.core.choice.plan import plan
from app.services.core.choice.sight import sight_of
from app.services.core.continuation.endings import closing
from app.services.core.continuation.judgement import Complete, Impossible
from app.services.core.errors import NotAuthenticated, RequestInvalid
from app.services.core.people.principal import Trust
from app.services.core.retry import Failure
from app.services.dataplane.announcing import Announcing
from app.services.dataplane.answering import why_not
from app.services.dataplane.reception import ANONYMOUS
from app.services.dataplane.terms import Terms

if TYPE_CHECKING:
    from collections.abc import Container

    from app.services.core.answer.usage import Usage
    from app.services.core.choice.plan import Plan
    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.errors import GatewayError
    from app.services.dataplane.admission import Admission
    from app.services.dataplane.attempt import Attempt
    from app.services.dataplane.demands import Wish
    from app.services.dataplane.onward import Leg, Onward

__all__ = ["Carrying"]


class Carrying(Announcing):
    """The part of an exchange that carries its stream on. The exchange sets it up with its own.

    ``onward``: how its stream goes on when it breaks; None where it can't.
    """

    __slots__ = ("_continuations", "_events", "_queued", "onward", "terms")

    _continuations: int
    _events: int
    _queued: bool
    onward: Onward | None
    terms: Terms | None
    wish: Wish | None

    @property
    def leg(self) -> Leg | None:
        """What the next server has to go on with; None for an answer that none has begun."""
        return self.onward.leg if self.onward is not None else None

    def returned(self, server_id: str) -> None:
        """A server that was down is well again."""
        if self.onward is not None:
            self.onward.returned(server_id)

    def _plan_leg(self, now: float) -> Plan:
        """Plan among the servers that can go on with what was begun."""
        plane, onward = self._plane, self.onward
        shut_out, select = (onward.shut_out, onward.select) if onward is not None else ([], None)
        if self.terms is not None:
            return self.terms.plan(shut_out, now, select)
        return plan(self.seen.model, plane.snapshot, plane.board, shut_out, now, plane.random, select=select)

    def _hope(self, error: GatewayError) -> None:
        """A begun stream waits for a server that may yet be able to take over, as long as one may be silent."""
        onward = self.onward
        hopes = onward.hopes(self.known_route()) if onward is not None else ()
        if hopes:
            self.awaits = hopes
            self._wait(error, self._plane.limits.idle_ticks)
        else:
            self._fail(error, "no other server of this model can go on with an answer")

    def _go_on(self, attempt: Attempt, error: GatewayError) -> None:
        """Carry a begun stream on elsewhere; end it where that can't be."""
        onward, limits = self.onward, self._plane.limits
        if onward is None:
            self._fail(error, why_not(limits.max_continuations, streamed=self.wants_stream))
            return
        onward.demand = None if self.wish is None else self.wish.demand
        verdict = onward.broke(self.body, self.call.path, attempt.candidate)
        if isinstance(verdict, Impossible):
            self._fail(error, verdict.reason)
        elif isinstance(verdict, Complete):
            self.complete(verdict)
        elif onward.breaks > limits.max_continuations:
            self._fail(error, f"it broke {onward.breaks} times")
        else:
            self._continuations += 1
            onward.broke_at = self._plane.clock()
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

    def _take_over(self, attempt: Attempt, leg: Leg) -> None:
        """Have a server go on with it. Where it is not quite like the one that began, that is said."""
        crossed = self.onward.crossed(attempt.candidate) if self.onward is not None else ""
        if crossed:
            self._plane.crossed(self.call, attempt.candidate, crossed)
            if self.call.asks_why and self._committed:
                self._say(b": goes on elsewhere: %b\n" % crossed.encode("ascii", "replace"))
        if leg.anew:
            attempt.start()
        else:
            attempt.prepare(leg)

    def went_on(self, server_id: str, now: float) -> None:
        """The first event of a server that goes on with it has come: a client that asks is told where the seam is."""
        if self.onward is not None and self.call.asks_why and self._committed:
            self._say(continued_words(server_id, now - self.onward.broke_at))

    def _partial_usage(self) -> Usage | None:
        """What an answer that did not end has taken so far, estimated."""
        onward = self.onward
        if onward is not None and onward.asked is not None:
            return estimate(len(self.body), onward.journal.delivered().tokens)
        return self._attempt.partial_usage() if self._attempt is not None else None

    def _believable(self, usage: Usage, candidate: Candidate) -> Usage:
        """What a server that nobody vouches for says it counted, as far as that can be."""
        seen = self.seen
        most = seen.answer_tokens or candidate.model.context_length or MOST_ANSWER_TOKENS
        return within_reason(usage, len(self.body), most * (seen.choices or 1))

    def _learn(self, usage: Usage, candidate: Candidate) -> None:
        """Learn from what a server counted of a prompt; an answer that went on elsewhere was sent a part of it."""
        if not usage.estimated and self._continuations == 0:
            route = self.known_route()
            family = route.family if route is not None else self.seen.model
            self._plane.demands.counted(family, self.body, usage, candidate)

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

    def bind(self, admission: Admission) -> None:
        """Take the terms on which it may go on: it was begun when every server was open to all.

        Whose body says different things to different readers goes to trusted servers alone.
        """
        if self.terms is None:
            try:
                self.terms = admission.terms(self._plane, self.call, self.seen, self.body)
            except RequestInvalid:
                self.terms = Terms(self._plane, self.model, sight_of(self.call.principal, Trust.TRUSTED))

    def hold_key_against(self, key_ids: Container[str]) -> None:
        """Turn it away if its key is not among the good ones any more."""
        principal = self.call.principal
        if principal is not ANONYMOUS and principal.key_id not in key_ids and not self._done:
            self._fail(NotAuthenticated("The key of this request was revoked, or has expired, while it waited."))

    def known_route(self) -> Route | None:
        """The servers that may serve this request; None where there is none."""
        if self.terms is not None:
            return self.terms.route()
        return self._plane.snapshot.routes.get(self.seen.model)

    def known_routes(self) -> list[Route]:
        """All routes that it may go by: several for an alias, as long as no answer was begun."""
        if self.terms is not None and self.leg is None:
            return self.terms.routes()
        route = self.known_route()
        return [] if route is None else [route]

    def others_left(self, *, down: bool = False) -> bool:
        """Whether a server that was not tried yet can take it; ``down``: one that is down counts too."""
        tried = self._tried
        return any(
            candidate.server.id not in tried
            for route in self.known_routes()
            for candidate in (*route.ready, *route.standby, *(route.down if down else ()))
        )

    @abstractmethod
    def route(self, *, after: GatewayError | None = None) -> None:
        """Make the next attempt."""

    @abstractmethod
    def _wait(self, after: GatewayError | None, patience_ticks: int) -> None:
        """Wait for a place."""

    @abstractmethod
    def _close_attempt(self, *, is_whole: bool = False) -> None:
        """Give the place on the server back."""
