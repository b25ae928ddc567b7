"""Which server is taken, by all the rules? Power of two choices on the load, among those that may be taken at all.

Two are drawn at random by weight, the less loaded one is taken (Mitzenmacher 2001; ``core.choice.load`` says what load
is). Higher ``priority`` goes first while it has room, and within one those that have the model in memory; servers that
just failed come last; those that are ejected are not taken, but for the one request that tries whether they are back. A
server that came back has a share of its weight that grows to the whole. Where models take turns in a server's memory,
it is full for those whose turn it is not.

This looks at every server. ``core.choice.draw`` has the quick ways that make up nearly all choices.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.services.core.choice.load import COLD_PENALTY, backlog, has_model, is_crowded, less_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.services.core.choice.load import Drawn
    from app.services.core.choice.snapshot import Candidate
    from app.services.core.live.board import Board
    from app.services.core.live.lanes import Lane

__all__ = ["Cooling", "Full", "choose"]


@dataclass(frozen=True, slots=True)
class Full:
    """Every fitting server is at its ``max_concurrency``, or has another model's turn: a place will come free."""


@dataclass(frozen=True, slots=True)
class Cooling:
    """Every fitting server asked to be left alone; the first may be asked again in so many seconds."""

    seconds: float


_FULL = Full()


def choose(
    candidates: Sequence[Candidate],
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
) -> Candidate | Full | Cooling | None:
    """Choose a server for one attempt.

    Args:
        candidates: servers that may serve the model, best priority first.
        board: the live figures.
        tried: ids of servers that this request has been to already: never again.
        now: monotonic seconds.
        random: uniform floats in [0, 1).

    Returns:
        The candidate; ``Full`` when some of those left have no room, ``Cooling`` when some asked to be left alone;
        None when none is left, or only some that are ejected. Where models take turns, ``Full`` has noted on one
        server that somebody waits.
    """
    look = _Look(now)
    priority: int | None = None
    for candidate in candidates:
        server = candidate.server
        if server.priority != priority:
            if look.warm or look.cold:
                break  # a better tier has room
            priority = server.priority
        if server.id not in tried:
            look.at(candidate, board.lanes.get(server.id) or board.lane(server.id))
    if not (look.warm or look.cold):
        look.settle_for_suspects()
    if look.warm or look.cold:
        return look.taken(random)
    return look.hindrance()


class _Look:
    """What a look at the servers found, one after the other: who may be taken, and what keeps the others."""

    __slots__ = ("_closed", "_cool_again", "_full", "_now", "_suspect", "cold", "warm")

    def __init__(self, now: float) -> None:
        self._now = now
        self.warm: list[Drawn] = []
        self.cold: list[Drawn] = []
        self._suspect: list[Drawn] = []
        self._closed: list[Drawn] = []
        self._full, self._cool_again = False, math.inf

    def at(self, candidate: Candidate, lane: Lane) -> None:
        """Put one server where it belongs."""
        now, server = self._now, candidate.server
        if lane.closer_look_until <= now:
            if server.max_concurrency is not None and lane.in_flight >= server.max_concurrency:
                self._full = True
            else:
                self._found(candidate, lane)
        elif lane.cooling_until > now:
            self._cool_again = min(self._cool_again, lane.cooling_until)
        elif not lane.has_room(server.max_concurrency):
            self._full = self._full or not lane.is_shut(now)
        elif lane.is_shut(now):
            pass
        elif lane.residence is not None and not lane.residence.is_open(candidate.model.upstream_name, now):
            self._closed.append((candidate, lane))
        elif lane.suspect_until > now:
            self._suspect.append((candidate, lane))
        else:
            self._found(candidate, lane)

    def settle_for_suspects(self) -> None:
        """Nobody else is there: take those that just failed, of the best priority."""
        for candidate, lane in self._suspect:
            if candidate.server.priority == self._suspect[0][0].server.priority:
                self._found(candidate, lane)

    def taken(self, random: Callable[[], float]) -> Candidate:
        """Take one of those that were found: of those that have the model, while they are not crowded."""
        now = self._now
        if not self.warm:
            return _two_choices(self.cold, now, random)[0]
        candidate, lane = _two_choices(self.warm, now, random)
        if self.cold and is_crowded(candidate, lane, now):
            other, idler = _two_choices(self.cold, now, random)
            if backlog(other, idler, now) + COLD_PENALTY < backlog(candidate, lane, now):
                return other
        return candidate

    def hindrance(self) -> Full | Cooling | None:
        """Say what keeps the request. Where it is another model's turn, note at one server that somebody waits."""
        if self._closed:
            candidate, lane = min(self._closed, key=self._turn_after)
            if lane.residence is not None:
                lane.residence.wish(candidate.model.upstream_name, self._now)
            return _FULL
        if self._full:
            return _FULL
        return None if self._cool_again == math.inf else Cooling(self._cool_again - self._now)

    def _found(self, candidate: Candidate, lane: Lane) -> None:
        (self.warm if has_model(candidate, lane, self._now) else self.cold).append((candidate, lane))

    def _turn_after(self, drawn: Drawn) -> tuple[float, float]:
        """Whose turn is waited for: where somebody waits already, longest first, else where least is to be done."""
        candidate, lane = drawn
        residence = lane.residence
        since = None if residence is None else residence.waits_since(candidate.model.upstream_name, self._now)
        return math.inf if since is None else since, backlog(candidate, lane, self._now)


def _two_choices(fitting: list[Drawn], now: float, random: Callable[[], float]) -> Drawn:
    if len(fitting) == 1:
        return fitting[0]
    weights = [candidate.server.weight * lane.share(now) for candidate, lane in fitting]
    first = _draw(weights, random)
    one = fitting.pop(first)
    weights.pop(first)
    two = fitting[_draw(weights, random)]
    return one if less_loaded(one, two, now) is one[0] else two


def _draw(weights: list[float], random: Callable[[], float]) -> int:
    """Draw a place at random, in proportion to its weight."""
    mark = random() * sum(weights)
    for place, weight in enumerate(weights):
        mark -= weight
        if mark < 0.0:
            return place
    return len(weights) - 1
