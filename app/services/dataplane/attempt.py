"""One attempt of a request on one server: what does its answer amount to?

Good bytes are handed to the exchange, which owns the client; of failures it is told, and decides what next.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, assert_never

import msgspec

from app.services.core.answer import sse
from app.services.core.answer.counting import tokens_of_answer
from app.services.core.answer.opening import AnswerHead, Events, Failed, Unusable, Whole
from app.services.core.answer.relay import EventRelay
from app.services.core.answer.usage import BYTES_PER_TOKEN, Usage, estimate
from app.services.core.answer.whole_answer import AnswerUnusableError, WholeAnswer, whole_answer
from app.services.core.continuation.endings import closing
from app.services.core.continuation.journal import MOST_TEXTS
from app.services.core.live.board import GAP_BOUNDS_SECONDS
from app.services.core.retry import Failure
from app.services.dataplane.refusals import Refusals
from app.services.dataplane.relays import event_relay

if TYPE_CHECKING:
    from app.services.core.choice.snapshot import Candidate
    from app.services.dataplane.exchange import Exchange
    from app.services.dataplane.plane import DataPlane

__all__ = ["Attempt"]


class Attempt(Refusals):
    """One server, one connection, one answer."""

    __slots__ = ("_held_bytes", "_passing", "_sent_bytes")

    def __init__(self, exchange: Exchange, plane: DataPlane, candidate: Candidate, now: float) -> None:
        super().__init__(exchange, plane, candidate, now)
        self._passing = self.relaying = self._missed = False
        self._last_at = self._suspect_at_ticks = 0.0
        self.first_token_seconds = None
        self._sent_bytes = self._held_bytes = 0

    def close(self) -> None:
        """Stop the work, and hold nothing any more."""
        self._forget_held()
        super().close()

    # -- what the connection tells

    def on_whole(self, head: AnswerHead, body: bytes) -> None:
        """Take a good answer that came at once."""
        self._upstream = None
        if type(head.opening(wants_stream=self._exchange.wants_stream)) is not Whole:
            self._take_apart(head, body)
            return
        self._status = head.status
        try:
            body, usage = whole_answer(body, self._public_model())
        except AnswerUnusableError as error:
            self._cut(error)
        else:
            self._finish_whole(body, usage)

    def _take_apart(self, head: AnswerHead, body: bytes) -> None:
        """Take it step by step; after each this attempt may be over."""
        self.on_head(head)
        if self._relay is not None:
            self.on_body(body)
        if self._relay is not None:
            self.on_end()

    def on_head(self, head: AnswerHead) -> None:
        """Judge the head of an answer."""
        self._status = head.status
        opening = head.opening(wants_stream=self._exchange.wants_stream)
        match opening:
            case Events():
                self._relay = event_relay(
                    self._exchange, self._order, self._plane.limits, self._public_model(), hide_usage=self._asked_usage
                )
            case Whole():
                self._relay = WholeAnswer(self._public_model())
            case Failed(failure, wait):
                self._status_failed(failure, wait)
            case Unusable(reason):
                self._unusable(reason)
            case _:
                assert_never(opening)

    def on_chunk(self, data: bytes, start: int) -> None:
        """Relay one chunk: as it came, where it holds an event like the one before. All on one level: it is hot."""
        relay = self._relay
        if type(relay) is EventRelay:
            template = relay.template
            text = template.text_of(data, start, len(data) - 2) if template is not None else None
            if template is not None and text is not None:
                relay.events += 1
                relay.misses = 0
                journal = relay.journal
                if journal is not None:
                    texts = journal.texts
                    texts.append(text)
                    if len(texts) >= MOST_TEXTS:
                        journal.trim()
                now, lane, exchange = self._plane.clock(), self._lane, self._exchange
                gap = now - self._last_at
                self._last_at = now
                lane.gaps[bisect_left(GAP_BOUNDS_SECONDS, gap)] += 1
                lane.gap_seconds_total += gap
                self._silent_ticks = exchange.quiet_ticks = 0
                if template.renames:
                    exchange.client.write(template.filled_with(text))
                else:
                    exchange.client.write_chunk(data, start)
                return
        self.on_body(data[start:-2])

    def on_body(self, data: bytes) -> None:
        """Relay bytes of an answer. Comments before the first event are no sign of life: proxies make them."""
        relay = self._relay
        if type(relay) is EventRelay:
            known = relay.events
            try:
                block = relay.feed(data)
            except AnswerUnusableError as error:
                self._cut(error)
                return
            if relay.events != known:
                self._note_gap()
            elif self.relaying:
                self._silent_ticks = 0
            if relay.stopped:
                self._end_at_stop(relay, block)
            elif block:
                self._exchange.pass_events(block)
        elif self._passing:
            self._silent_ticks = 0
            self._sent_bytes += len(data)
            self._exchange.pass_bytes(data)
        elif type(relay) is WholeAnswer:
            self._hold(relay, data)

    def _hold(self, relay: WholeAnswer, data: bytes) -> None:
        """Keep bytes until the answer is whole. Where it, or all that are held, is too much: relay it as it comes."""
        plane = self._plane
        limits = plane.limits
        self._held_bytes += len(data)
        plane.held_bytes += len(data)
        too_much = plane.held_bytes + plane.unread_bytes > limits.held_bytes and self._status < 400
        if relay.feed(data) > limits.hold_bytes or too_much:
            self._forget_held()
            self._began()
            self._passing = True
            held = relay.release()
            self._sent_bytes = len(held)
            self._exchange.pass_large(self._status, held)

    def _forget_held(self) -> None:
        self._plane.held_bytes -= self._held_bytes
        self._held_bytes = 0

    def on_end(self) -> None:
        """The answer is whole."""
        self._upstream = None
        relay = self._relay
        try:
            if self._passing:
                usage = estimate(len(self._exchange.body), self._sent_bytes // BYTES_PER_TOKEN)
                self._lane.completed(self._plane.clock())
                self._exchange.finish_large(self._status, usage)
            elif type(relay) is EventRelay:
                self._end_stream(relay)
            elif type(relay) is WholeAnswer:
                self._end_whole(relay)
        except AnswerUnusableError as error:
            self._cut(error)

    def on_broken(self, reason: str, *, heard: bool) -> None:
        """The connection broke. One that was warm and had grown stale is dialled anew, on the same server."""
        upstream, self._upstream = self._upstream, None
        if upstream is not None and upstream.reused and not heard:
            destination = self._plane.pool.destination(self.candidate.server)
            destination.close_idle()
            self._dial(destination)
        elif type(self._relay) is EventRelay and self._relay.finished:
            self.on_end()  # all was said before it broke
        else:
            self._unusable(reason, Failure.BROKEN if heard else Failure.RESET)

    # -- what the exchange tells

    @property
    def events(self) -> int:
        """How many events of a stream were relayed."""
        relay = self._relay
        return relay.events if type(relay) is EventRelay else 0

    def partial_usage(self) -> Usage | None:
        """What a stream that did not end has taken so far, estimated."""
        relay = self._relay
        return estimate(len(self._exchange.body), relay.events) if type(relay) is EventRelay else None

    def prompt_usage(self) -> Usage | None:
        """What a server read of a request whose client left before an answer began, estimated; None if it has none."""
        return estimate(len(self._exchange.body), 0) if self._upstream is not None else None

    # -- ends and failures

    def _end_stream(self, relay: EventRelay) -> None:
        try:
            rest = relay.end()
        except AnswerUnusableError as error:
            if not relay.finished:
                raise
            rest = error.rest + (b"" if relay.done else sse.DONE)
        if not self.relaying:
            self._began()
        self._lane.completed(self._plane.clock())
        exchange, leg = self._exchange, self._exchange.leg
        before = leg.delivered.tokens if leg is not None and not leg.anew else 0
        exchange.finish_events(rest, relay.usage() or estimate(len(exchange.body), before + relay.events))

    def _end_at_stop(self, relay: EventRelay, block: bytes) -> None:
        """A stop string that began in another server's text is complete: the answer ends, and the work upstream."""
        exchange, leg = self._exchange, self._exchange.leg
        if leg is None:
            return
        usage = relay.usage() or estimate(len(exchange.body), leg.delivered.tokens + relay.events)
        exchange.finish_events(block + closing(leg.asked, leg.delivered, None, usage), usage)

    def _end_whole(self, relay: WholeAnswer) -> None:
        status = self._status
        if status >= 400:
            self._refused_by_server(relay.release())
            return
        body, usage = relay.end()
        self._finish_whole(body, usage)

    def _finish_whole(self, body: bytes, usage: Usage | None) -> None:
        self._began()
        if self._lane.breaker.cuts:
            self._lane.completed(self._last_at)
        told = usage or estimate(len(self._exchange.body), tokens_of_answer(body))
        self._exchange.finish_whole(self._status, body, told, None)

    def _cut(self, error: AnswerUnusableError) -> None:
        """End a stream at a fault; the good events before it still go out."""
        if error.rest:
            if not self.relaying:
                self._began()
            self._exchange.pass_events(error.rest)
        self._unusable(error.reason)

    def _unusable(self, reason: str, failure: Failure = Failure.BROKEN) -> None:
        """Fail; but an answer that has said why it ended is whole, whatever becomes of its server then."""
        self._plane.answer_unusable(self._exchange.call, self.candidate.server.id, reason)
        relay = self._relay
        if self.relaying and type(relay) is EventRelay and relay.finished:
            self._blame(failure)
            self._end_stream(relay)
        else:
            self._fail(failure)

    def _public_model(self) -> bytes | None:
        model = self.candidate.model
        return None if model.upstream_name == model.name else msgspec.json.encode(model.name)
