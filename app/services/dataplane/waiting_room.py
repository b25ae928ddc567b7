"""Who waits for a server, whose turn is it, and what is each told of that?

Begun streams come first: their clients have a part of an answer. Then come people, those first who used the fewest
tokens of late, and then the background class (``core.queue.fair_queue``). All that wait for one model stand in one
line, by whichever of its names they asked for it.

A request that comes while others wait lets them try first. So nobody overtakes by coming at the right moment.
"""

from __future__ import annotations

import logging
import sys
from contextlib import closing
from itertools import chain
from typing import TYPE_CHECKING, Final

from app.services.core.answer.usage import BYTES_PER_TOKEN
from app.services.core.http.surfaces import STREAMING_PATHS
from app.services.core.queue.fair_queue import Claim, FairQueue
from app.services.core.queue.prospects import Prospects
from app.services.core.queue.use import RecentUse
from app.services.core.retry import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Collection, Hashable, Iterable, Iterator

    from app.services.core.queue.use import Charge
    from app.services.dataplane.exchange import Exchange

__all__ = ["WaitingRoom"]

_FIRST_ANSWER_TOKENS: Final = 256.0
"""What an answer is taken to have before any was seen."""
_MOST_ANSWER_TOKENS: Final = 32_768.0
_NEWEST_WEIGHT: Final = 1 / 16
_MOST_PASSES: Final = 8

_logger = logging.getLogger("gateway.plane")


class WaitingRoom:
    """The exchanges that wait, ``count`` of them: each request asks whether there are any.

    ``people`` knows who has used how much of late. ``is_busy`` says that somebody waits, or did a moment ago: as long
    as that is so, all that begins is charged at once with what it will probably use.

    Args:
        most: how many may wait; those with a begun stream are let in in any case.
        running: all exchanges that have not ended, whether they wait or not.
    """

    __slots__ = (
        "_answer_tokens", "_begun", "_fresh", "_is_freed", "_prospects", "_pumping", "_running", "_servers", "count",
        "is_busy", "people",
    )  # fmt: skip

    def __init__(self, most: int, running: Collection[Exchange] = ()) -> None:
        self.people = RecentUse()
        self._begun: FairQueue[Exchange] = FairQueue(sys.maxsize, self.people)
        self._fresh: FairQueue[Exchange] = FairQueue(most, self.people)
        self._prospects: Prospects[Exchange] = Prospects()
        self._running = running
        self._servers: dict[Hashable, Collection[str]] = {}
        self._answer_tokens = _FIRST_ANSWER_TOKENS
        self._pumping = self._is_freed = self.is_busy = False
        self.count = 0

    def __iter__(self) -> Iterator[Exchange]:
        yield from self._begun
        yield from self._fresh

    def turn(self, now: float) -> None:
        """Let time pass; to be called on each tick. ``now`` in monotonic seconds."""
        self.people.turn(now)
        self._begun.turn(now)
        self._fresh.turn(now)
        self._prospects.turn(now, self._waiting_for)
        if not self.count:
            self.is_busy = False
            self._servers.clear()

    # -- coming and going

    def let_in(self, exchange: Exchange) -> None:
        """Route a request that has just come while ``is_busy``: those that wait may use first what they can."""
        if self.count:
            self.place_freed()
        exchange.route()
        self._charge(exchange)

    def join(self, exchange: Exchange) -> bool:
        """Let an exchange wait; False when there is no room for it. Another may have to leave in its place."""
        queue = self._fresh if exchange.leg is None else self._begun
        if exchange in queue:
            return True
        if not self.is_busy:
            self.is_busy = True
            for running in self._running:
                self._charge(running)
        claim = self._claim(exchange)
        turned_away = queue.join(exchange, claim, lambda: self._rivals(claim.line))
        self._recount()
        self._prospects.waits(claim.line)
        if turned_away is not None and turned_away is not exchange:
            turned_away.turned_away()
        return turned_away is not exchange

    def ended(self, exchange: Exchange, tokens: int) -> None:
        """Forget an exchange that has ended. Its person is charged with what it used."""
        if self.count:
            self.leave(exchange)
        if exchange.charge is not None:
            self._settle(exchange, exchange.charge, tokens)
        elif tokens:
            self.people.charge(exchange.call.person, tokens)

    def leave(self, exchange: Exchange) -> None:
        """Forget one that waits no more."""
        self._fresh.leave(exchange)
        self._begun.leave(exchange)
        self._recount()

    def clear(self) -> None:
        """Forget all: the gateway goes down."""
        for exchange in self:
            self.leave(exchange)

    def _recount(self) -> None:
        self.count = len(self._begun) + len(self._fresh)

    def _claim(self, exchange: Exchange) -> Claim:
        call, route = exchange.call, exchange.known_route()
        line = self._line_of(exchange)
        self._servers[line] = () if route is None else route.by_id.keys()
        return Claim(
            person=call.person,
            line=line,
            kind=(exchange.kind, exchange.need) if exchange.leg is None else exchange,
            weight=call.weight,
            expected_tokens=0.0 if exchange.has_tried else self._expected(exchange),
            background=call.background,
        )

    @staticmethod
    def _line_of(exchange: Exchange) -> Hashable:
        route = exchange.known_route()
        return exchange.model if route is None else route.family or route.name

    def _rivals(self, line: Hashable) -> list[Hashable]:
        """The other lines that could use a server of this one."""
        servers = set(self._servers[line])
        return [other for other, ids in self._servers.items() if other != line and not servers.isdisjoint(ids)]

    # -- what it costs

    def _charge(self, exchange: Exchange) -> None:
        """Charge a request that runs with what it will probably use, unless it was."""
        if exchange.charge is None and exchange.is_sent:
            exchange.charge = self.people.expect(exchange.call.person, self._expected(exchange))

    def _expected(self, exchange: Exchange) -> float:
        """How many tokens a request will probably use."""
        prompt = len(exchange.body) / BYTES_PER_TOKEN
        if exchange.call.path not in STREAMING_PATHS:
            return prompt
        return prompt + min(exchange.seen.answer_tokens or self._answer_tokens, self._answer_tokens)

    def _settle(self, exchange: Exchange, charge: Charge, tokens: int) -> None:
        exchange.charge = None
        self.people.settle(charge, tokens)
        self._begun.refresh(charge.person)
        self._fresh.refresh(charge.person)
        if tokens and exchange.call.path in STREAMING_PATHS:
            answer = max(tokens - len(exchange.body) / BYTES_PER_TOKEN, 1.0)
            self._answer_tokens += _NEWEST_WEIGHT * (min(answer, _MOST_ANSWER_TOKENS) - self._answer_tokens)

    # -- whose turn it is

    def place_freed(self, *, for_all: bool = False) -> None:
        """Let those that wait try again, in turn. One that still finds no place keeps its own.

        Args:
            for_all: also those that wait for a server to come back, to whom a place means nothing.
        """
        self._is_freed = True
        if self._pumping:
            return
        self._pumping = True
        try:
            for _pass in range(_MOST_PASSES):  # what comes free meanwhile is for the first in turn again
                if not self._is_freed:
                    break
                self._is_freed = False
                hopeless = _Hopeless()
                self._pump(self._begun, hopeless, for_all=for_all)
                if not self._is_freed:
                    self._pump(self._fresh, hopeless, for_all=for_all)
        finally:
            self._pumping = False

    def _pump(self, queue: FairQueue[Exchange], hopeless: _Hopeless, *, for_all: bool) -> None:
        with closing(queue.in_turn(hopeless)) as in_turn:
            for exchange in in_turn:
                if exchange.awaits and not for_all:
                    hopeless.add(exchange)
                    continue
                claim = queue.claim_of(exchange)
                try:
                    exchange.route()
                except Exception:  # one exchange's bug must not hold up the others
                    _logger.exception("An exchange that waited failed")
                    exchange.crashed()
                if exchange.waits:
                    hopeless.add(exchange)
                    continue
                if exchange in queue and claim is not None:
                    charge = queue.serve(exchange)
                    if charge is not None:
                        exchange.charge = charge
                    self._prospects.found(claim.line)
                    self._recount()
                if self._is_freed:
                    return

    def awaited(self) -> list[str]:
        """The servers whose return somebody waits for."""
        return list(dict.fromkeys(server_id for exchange in self for server_id in exchange.awaits))

    # -- what they are told

    def place_of(self, exchange: Exchange) -> tuple[int, int] | None:
        """At which position one waits, 1 being the next, and how many wait for its model; None where that is unknown.

        It is at most a second old.
        """
        claim = self._fresh.claim_of(exchange) or self._begun.claim_of(exchange)
        return (
            None if claim is None else self._prospects.place(exchange, claim.line, lambda: self._in_order(claim.line))
        )

    def wait_seconds(self, exchange: Exchange) -> int:
        """How long one should stay away that found no place, by its position and how fast its line moves of late."""
        line, place = self._line_of(exchange), self.place_of(exchange)
        position = self._waiting_for(line) + 1 if place is None else place[0]
        return self._prospects.wait_seconds(line, position) or RETRY_AFTER_SECONDS

    def _in_order(self, line: Hashable) -> Iterable[Exchange]:
        return chain(self._begun.in_order(line), self._fresh.in_order(line))

    def _waiting_for(self, line: Hashable) -> int:
        return self._begun.waiting_for(line) + self._fresh.waiting_for(line)


class _Hopeless:
    """The kinds that found no place in this turn: a shorter prompt may fit where a longer one did not."""

    __slots__ = ("_needs",)

    def __init__(self) -> None:
        self._needs: dict[Hashable, list[tuple[int, int]]] = {}

    def add(self, exchange: Exchange) -> None:
        """Note one that found none. Who was sent somewhere says nothing of others: it has fewer servers left."""
        if exchange.leg is None and not exchange.has_tried:
            kind, need = exchange.kind, exchange.need
            others = self._needs.get(kind, [])
            self._needs[kind] = [other for other in others if not _is_within(need, other)] + [need]

    def __call__(self, kind: Hashable) -> bool:
        """Whether one of a kind, as in its claim, needs no less than one that found no place."""
        if not self._needs or not isinstance(kind, tuple):
            return False
        known = self._needs.get(kind[0])
        return known is not None and any(_is_within(need, kind[1]) for need in known)


def _is_within(need: tuple[int, int], other: tuple[int, int]) -> bool:
    return need[0] <= other[0] and need[1] <= other[1]
