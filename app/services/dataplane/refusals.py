"""What follows when a server will not serve a request, or fails at it?

Its refusal goes to the client, in our envelope; or the request goes to another server that may take what this one would
not. What speaks against the server is noted on its lane.
"""

from __future__ import annotations

import msgspec

from app.services.core.answer.answers import client_error
from app.services.core.answer.whole_answer import WholeAnswer
from app.services.core.prompt.contexts import context_of, may_fit, outgrown
from app.services.core.prompt.refusals import CODE, in_our_words, is_too_long, refused_length
from app.services.core.retry import Failure, blames_server
from app.services.dataplane.demands import Wish
from app.services.dataplane.vigil import Vigil

__all__ = ["Refusals"]

_OVERLOAD_SECONDS = 1.0


class Refusals(Vigil):
    """One server that may refuse. The attempt sets it up."""

    __slots__ = ()

    def _refused_by_server(self, body: bytes) -> None:
        """Pass a refusal on in our envelope, unless another server may take what was refused.

        If it was our own wish for figures that was refused: without it, again. Where the prompt was too long: on to
        one that may hold it.
        """
        if self._asked_usage and b"stream_options" in body and not self._without_options:
            self._without_options = True
            self._dial(self._plane.pool.destination(self.candidate.server))
            return
        server, leg = self.candidate.server, self._exchange.leg
        too_long = is_too_long(server.engine, self._status, body)
        if leg is not None:
            if not leg.anew and not too_long:
                self._plane.continuation_refused(self.candidate)
            self._fail(Failure.NOT_SERVED, self._status)
            return
        told = client_error(self._status, body, server.api_key)
        if not too_long:
            self._exchange.finish_whole(self._status, told, None, "refused_by_server")
        elif self._outgrew(body):
            self._fail(Failure.TOO_LONG, self._status)
        else:
            self._exchange.finish_whole(400, in_our_words(told), None, CODE)

    def _outgrew(self, refusal: bytes) -> bool:
        """Note what a refusal says of the prompt's length. Return whether another server may hold it."""
        exchange, wish = self._exchange, self._exchange.wish
        length = refused_length(refusal, context_of(self.candidate))
        demand = outgrown(None if wish is None else wish.demand, length, exchange.seen.answer_tokens)
        exchange.wish = Wish(demand, (), None) if wish is None else msgspec.structs.replace(wish, demand=demand)
        if not exchange.others_left(down=True):
            return False
        return any(may_fit(route, demand, self.candidate) for route in exchange.known_routes())

    def _status_failed(self, failure: Failure, retry_after_seconds: int | None) -> None:
        if failure is Failure.OVERLOADED:
            now = self._plane.clock()
            if retry_after_seconds or self._status == 503:
                self._lane.cool(now, float(retry_after_seconds or _OVERLOAD_SECONDS))
            self._lane.overloaded(now, self._taken_at)
        if failure is Failure.NOT_SERVED and self._exchange.leg is None and not self._exchange.others_left():
            self._relay = WholeAnswer(None)  # its own words are the best answer there is
            return
        leg = self._exchange.leg
        if leg is not None and not leg.anew and failure in (Failure.FAILED, Failure.NOT_SERVED):
            self._plane.continuation_refused(self.candidate)  # other requests it may serve well
            self._exchange.attempt_failed(failure, self._status, retry_after_seconds)
            return
        if failure is Failure.CREDENTIALS:
            self._plane.rejected(self.candidate.server.id, self._status, self._taken_at)
        self._fail(failure, self._status, retry_after_seconds)

    def _fail(self, failure: Failure, status: int | None = None, retry_after_seconds: int | None = None) -> None:
        self._blame(failure)
        self._exchange.attempt_failed(failure, status, retry_after_seconds)

    def rest_server(self) -> None:
        """Leave a server that is overloaded alone for a moment, also where it did not ask for it."""
        self._lane.cool(self._plane.clock(), _OVERLOAD_SECONDS)

    def _blame(self, failure: Failure) -> None:
        if blames_server(failure):
            plane, begun = self._plane, self.relaying
            failures = self._lane.failed(failure, plane.clock(), plane.random, self._taken_at, begun=begun)
            if failures:
                plane.ejected(self.candidate.server.id, failure, self._status, begun=begun, failures=failures)
