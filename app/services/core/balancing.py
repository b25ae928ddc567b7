"""Which server is taken? Power of two choices on the load per weight, among those that may be taken at all.

Two are drawn at random, the less loaded one is taken (Mitzenmacher 2001). Between idle servers the draw alone
decides, so that traffic spreads; the time to the first token breaks ties only between busy ones. Higher ``priority``
goes first while it has room; servers that just failed come last; those that are ejected are not taken, but for the one
request that tries whether they are back. A server that came back has a share of its weight that grows to the whole.

``choose`` looks at every server and knows all the rules. ``draw`` knows the one case that makes up nearly all: both
servers drawn among equals are fit. It never takes one that ``choose`` would not.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.services.core.board import Board, Lane
    from app.services.core.snapshot import Candidate, Route

    _Drawn = tuple[Candidate, Lane]

__all__ = ["Cooling", "Full", "choose", "draw"]


@dataclass(frozen=True, slots=True)
class Full:
    """Every fitting server is at its ``max_concurrency``: a place will come free."""


@dataclass(frozen=True, slots=True)
class Cooling:
    """Every fitting server asked to be left alone; the first may be asked again in so many seconds."""

    seconds: float


_FULL = Full()


def draw(route: Route, board: Board, now: float, random: Callable[[], float]) -> Candidate | None:
    """Choose a server for a first attempt among equals; None when it takes a closer look (``choose``).

    Args:
        route: the model's servers; ``even`` of them are equals.
        board: the live figures.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
    """
    count = route.even
    if count < 2:
        return _only(route, board, now) if count else None
    ready, lanes = route.ready, board.lanes
    place = int(random() * count)
    first = ready[place]
    server = first.server
    one = lanes.get(server.id) or board.lane(server.id)
    most = server.max_concurrency
    is_fit = one.closer_look_until <= now and (most is None or one.in_flight < most)
    if is_fit and one.in_flight == 0:
        return first  # whoever the other is, it is not less busy
    other = int(random() * (count - 1))
    second = ready[other if other < place else other + 1]
    server = second.server
    two = lanes.get(server.id) or board.lane(server.id)
    most = server.max_concurrency
    if not is_fit or two.closer_look_until > now or (most is not None and two.in_flight >= most):
        return _drawn_with_care((first, one), (second, two), now, random)
    if one.in_flight == two.in_flight:
        return first if one.first_token_ewma_seconds <= two.first_token_ewma_seconds else second
    return first if one.in_flight < two.in_flight else second


def _only(route: Route, board: Board, now: float) -> Candidate | None:
    """The first server of a route, if nothing speaks against it."""
    candidate = route.ready[0]
    server = candidate.server
    lane = board.lane(server.id)
    is_fit = lane.closer_look_until <= now and (
        server.max_concurrency is None or lane.in_flight < server.max_concurrency
    )
    return candidate if is_fit else None


def _drawn_with_care(one: _Drawn, two: _Drawn, now: float, random: Callable[[], float]) -> Candidate | None:
    """The choice between two that were drawn without a look at their state; None for a new draw by ``choose``.

    A server that ramps keeps a draw only as often as its share says. All that get none are left to ``choose``, which
    shares them out alike.
    """
    for candidate, lane in (one, two):
        share = lane.share(now) if _is_fit(candidate, lane, now) else 0.0
        if random() >= share:
            return None
    return _less_loaded(one, two, now)


def _is_fit(candidate: Candidate, lane: Lane, now: float) -> bool:
    """Whether it may be taken while others are there."""
    is_barred = lane.suspect_until > now or lane.cooling_until > now or lane.is_shut(now)
    return not is_barred and lane.has_room(candidate.server.max_concurrency)


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
        None when none is left, or only some that are ejected.
    """
    sound: list[_Drawn] = []
    suspect: list[_Drawn] = []
    full, cool_again = False, math.inf
    for candidate in candidates:
        server = candidate.server
        if server.id in tried:
            continue
        if sound and server.priority < sound[0][0].server.priority:
            break  # a better tier has room
        lane = board.lane(server.id)
        if lane.cooling_until > now:
            cool_again = min(cool_again, lane.cooling_until)
        elif not lane.has_room(server.max_concurrency):
            full = full or not lane.is_shut(now)
        elif lane.suspect_until > now:
            suspect.append((candidate, lane))
        elif not lane.is_shut(now):
            sound.append((candidate, lane))
    if not sound:
        sound = [drawn for drawn in suspect if drawn[0].server.priority == suspect[0][0].server.priority]
    if sound:
        return _two_choices(sound, now, random)
    return _FULL if full else _hindered(cool_again - now)


def _hindered(seconds: float) -> Cooling | None:
    return None if seconds == math.inf else Cooling(seconds)


def _two_choices(fitting: list[_Drawn], now: float, random: Callable[[], float]) -> Candidate:
    if len(fitting) == 1:
        return fitting[0][0]
    weights = [candidate.server.weight * lane.share(now) for candidate, lane in fitting]
    first = _draw(weights, random)
    one = fitting.pop(first)
    weights.pop(first)
    return _less_loaded(one, fitting[_draw(weights, random)], now)


def _draw(weights: list[float], random: Callable[[], float]) -> int:
    """Draw a place at random, in proportion to its weight."""
    mark = random() * sum(weights)
    for place, weight in enumerate(weights):
        mark -= weight
        if mark < 0.0:
            return place
    return len(weights) - 1


def _less_loaded(one: _Drawn, two: _Drawn, now: float) -> Candidate:
    """The less loaded of two in the order that they were drawn in."""
    if one[1].in_flight == 0 and two[1].in_flight == 0:
        return one[0]
    return one[0] if _load(one, now) <= _load(two, now) else two[0]


def _load(drawn: _Drawn, now: float) -> tuple[float, float]:
    candidate, lane = drawn
    return (lane.in_flight + 1) / (candidate.server.weight * lane.share(now)), lane.first_token_ewma_seconds
