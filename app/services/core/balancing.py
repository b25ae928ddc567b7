"""Which server is taken? Power of two choices on the load per weight, among those that may be taken at all.

Two are drawn at random, the less loaded one is taken (Mitzenmacher 2001). Between idle servers the draw alone
decides, so that traffic spreads; the time to the first token breaks ties only between busy ones. Higher ``priority``
goes first while it has room; servers that just failed come last.

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
    count, ready = route.even, route.ready
    if count == 0:
        return None
    place = int(random() * count) if count > 1 else 0
    first = ready[place]
    one = _fit_lane(first, board, now)
    if one is None or count == 1:
        return first if one is not None else None
    other = int(random() * (count - 1))
    second = ready[other if other < place else other + 1]
    two = _fit_lane(second, board, now)
    if two is None:
        return None
    if one.in_flight == two.in_flight:
        is_first = one.in_flight == 0 or one.first_token_ewma_seconds <= two.first_token_ewma_seconds
    else:
        is_first = one.in_flight < two.in_flight
    return first if is_first else second


def _fit_lane(candidate: Candidate, board: Board, now: float) -> Lane | None:
    """The lane of a server that may be taken without a second thought; None for any other, and for a new one."""
    lane, limit = board.lanes.get(candidate.server.id), candidate.server.max_concurrency
    if lane is None or lane.suspect_until > now or lane.cooling_until > now:
        return None
    return lane if limit is None or lane.in_flight < limit else None


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
        The candidate; ``Full`` when some of those left have no room, ``Cooling`` when all asked to be left alone;
        None when none is left.
    """
    sound: list[Candidate] = []
    suspect: list[Candidate] = []
    full, cool_again = False, math.inf
    tier: int | None = None
    for candidate in candidates:
        server = candidate.server
        if server.id in tried:
            continue
        if tier is not None and server.priority < tier:
            break  # a better tier has room
        lane = board.lane(server.id)
        if lane.cooling_until > now:
            cool_again = min(cool_again, lane.cooling_until)
            continue
        if server.max_concurrency is not None and lane.in_flight >= server.max_concurrency:
            full = True
        elif lane.suspect_until > now:
            suspect.append(candidate)
        else:
            tier = server.priority
            sound.append(candidate)
    if not sound:
        sound = [candidate for candidate in suspect if candidate.server.priority == suspect[0].server.priority]
    if sound:
        return _two_choices(sound, board, random)
    if full:
        return _FULL
    return None if cool_again == math.inf else Cooling(cool_again - now)


def _two_choices(fitting: list[Candidate], board: Board, random: Callable[[], float]) -> Candidate:
    if len(fitting) == 1:
        return fitting[0]
    first = _draw(fitting, random)
    second = _draw([other for other in fitting if other is not first], random)
    one, two = board.lane(first.server.id), board.lane(second.server.id)
    if one.in_flight == 0 and two.in_flight == 0:
        return first
    return first if _load(first, one) <= _load(second, two) else second


def _draw(fitting: list[Candidate], random: Callable[[], float]) -> Candidate:
    """Draw one at random, in proportion to its weight."""
    total = 0.0
    for candidate in fitting:
        total += candidate.server.weight
    mark = random() * total
    for candidate in fitting:
        mark -= candidate.server.weight
        if mark < 0.0:
            return candidate
    return fitting[-1]


def _load(candidate: Candidate, lane: Lane) -> tuple[float, float]:
    return (lane.in_flight + 1) / candidate.server.weight, lane.first_token_ewma_seconds
