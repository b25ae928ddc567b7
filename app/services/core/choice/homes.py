"""Does a request go to the server that knows its beginning? To a home that may be taken now and is not too busy.

What another server would have to read first, home has in its cache. But a home that everybody goes to is a hot spot:
it is taken only while its load is near the mean of those that would do (``core.affinity.bound``), and never before a
better priority, against its full cache, or where the prompt does not surely fit while it surely fits elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.affinity.bound import ALWAYS_LET_IN, is_within
from app.services.core.choice.load import has_model, is_open
from app.services.core.prompt.contexts import Room, room_at

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.choice.tiers import Tier
    from app.services.core.live.board import Board
    from app.services.core.live.lanes import Lane
    from app.services.core.prompt.demand import Demand, Home

__all__ = ["home_of"]

_MOST_HOMES: Final = 4
_MOST_OTHERS: Final = 16
"""Of more servers than that, at most so many make the mean, evenly spread from a random one on."""


def home_of(
    route: Route,
    tier: Tier | None,
    board: Board,
    demand: Demand,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
) -> tuple[Candidate, Home] | None:
    """Return the first home that the request may go to. One that is too busy is not looked at twice in a row.

    Args:
        route: the model's servers.
        tier: the first tier of those where the prompt surely fits; None where it surely fits nowhere.
        board: the live figures.
        demand: what the request asks for.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
    """
    peers, busy = (tier or route.tier).members, ""
    priority = peers[0].server.priority
    for home in demand.homes[:_MOST_HOMES]:
        server_id = home.server_id
        if server_id == busy or server_id in tried or (candidate := route.by_id.get(server_id)) is None:
            continue
        server, lane = candidate.server, board.lanes.get(server_id) or board.lane(server_id)
        is_plain = lane.closer_look_until <= now
        if not (is_plain and candidate.warm) and not _knows_it_still(candidate, lane, now):
            continue
        if tier is not route.tier and room_at(candidate, demand) > _least_room(tier):
            continue
        others = peers
        if server.priority != priority:
            if _is_outranked(candidate, route, board, demand, _least_room(tier), tried, now):
                continue
            others = tuple(other for other in route.ready if other.server.priority == server.priority)
        if is_plain:
            in_flight, cap = lane.in_flight, server.max_concurrency
            is_full = cap is not None and in_flight >= cap
        else:
            in_flight, is_full = round(_requests(lane, now)), False  # it has room, as it is open
        if not is_full and (
            in_flight < ALWAYS_LET_IN or is_within(in_flight, *_others(candidate, others, board, tried, now, random))
        ):
            return candidate, home
        busy = server_id
    return None


def _least_room(tier: Tier | None) -> Room:
    """Where a home must have the prompt fit: surely, or perhaps if it surely fits nowhere."""
    return Room.UNSURE if tier is None else Room.SURE


def _knows_it_still(candidate: Candidate, lane: Lane, now: float) -> bool:
    """Whether a home has the model in memory, a cache that is not full, and nothing against it."""
    if lane.closer_look_until <= now:
        return has_model(candidate, lane, now)
    return not lane.is_strained(now) and is_open(candidate, lane, now) and has_model(candidate, lane, now)


def _is_outranked(
    candidate: Candidate,
    route: Route,
    board: Board,
    demand: Demand,
    least_room: Room,
    tried: Collection[str],
    now: float,
) -> bool:
    """Whether a server of a better priority would take the request."""
    for better in route.ready:
        if better.server.priority <= candidate.server.priority:
            return False
        is_there = better.server.id not in tried and is_open(better, board.lane(better.server.id), now)
        if is_there and room_at(better, demand) <= least_room:
            return True
    return False


def _others(
    home: Candidate,
    peers: Sequence[Candidate],
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
) -> tuple[int, int]:
    """Return what all other servers have that may be taken, in requests on a server as strong as home; and how many."""
    stride = -(-len(peers) // _MOST_OTHERS)
    if stride > 1:
        peers = peers[int(random() * stride) :: stride]
    if tried:
        peers = [other for other in peers if other.server.id not in tried]
    lanes, strength = board.lanes, home.strength
    total = count = 0
    for other in peers:
        if other is home:
            continue
        try:  # nearly every server has a lane
            lane = lanes[other.server.id]
        except KeyError:
            lane = board.lane(other.server.id)
        if lane.closer_look_until <= now and other.strength == strength:
            total += lane.in_flight
            count += 1
        elif is_open(other, lane, now):
            total += round(_requests(lane, now) * strength / other.strength)
            count += 1
    return total, count


def _requests(lane: Lane, now: float) -> float:
    """What a server has, ours and foreign; for one that ramps, what that would be for one that does not."""
    return (lane.in_flight + lane.foreign(now)) / lane.share(now)
