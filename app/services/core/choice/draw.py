"""Which server is drawn, without a look at all of them? The quick ways, in a time that knows nothing of their number.

``draw`` knows the one case that makes up nearly all: both servers drawn among equals are fit, and nothing speaks
against them. ``sample`` draws by weight, from any tier, until two are fit: who is not is drawn anew, so that the others
share as their weights say. None of them takes one that ``balancing.choose`` would not; where they find nobody, it looks
at every server.
"""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING, Final

from app.services.core.choice.load import COLD_PENALTY, backlog, has_model, is_crowded, is_open, less_loaded

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.services.core.choice.load import Drawn
    from app.services.core.choice.snapshot import Candidate, Route
    from app.services.core.choice.tiers import Tier
    from app.services.core.live.board import Board
    from app.services.core.live.lanes import Lane

__all__ = ["draw", "draw_from", "gathered", "sample"]

FEW: Final = 16
"""Of so many servers all are looked at rather than one taken because the draw found no second."""
_DRAWS_OF_FEW: Final = 6
_DRAWS: Final = 16
_DRAWS_FOR_TWO: Final = 8


def draw(route: Route, board: Board, now: float, random: Callable[[], float]) -> Candidate | None:
    """Choose a server for a first attempt; None when it takes a look at all of them (``balancing.choose``).

    Args:
        route: the model's servers; ``even`` of them are equals.
        board: the live figures.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
    """
    count = route.even
    if count < 2:
        if count:
            return _only(route, board, now)
        return draw_from(route, route.tier, board, (), now, random) if route.ready else None
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
        return sample(route.tier, board, (), now, random, (place, other if other < place else other + 1))
    if one.in_flight == two.in_flight:
        return first if one.first_token_ewma_seconds <= two.first_token_ewma_seconds else second
    return first if one.in_flight < two.in_flight else second


def draw_from(
    route: Route, tier: Tier, board: Board, tried: Collection[str], now: float, random: Callable[[], float]
) -> Candidate | None:
    """Choose a server of a tier, or one that is to load the model if those are crowded that have it.

    Args:
        route: the model's servers.
        tier: those that will do.
        board: the live figures.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
    """
    if not tier.warm:
        return gathered(route, tier, board, tried, now)
    chosen = sample(tier, board, tried, now, random)
    if chosen is None or tier.spare is None:
        return chosen
    lane = board.lane(chosen.server.id)
    if not is_crowded(chosen, lane, now):
        return chosen
    loading = gathered(route, tier.spare, board, tried, now)
    if loading is not None:
        return loading
    cold = sample(tier.spare, board, tried, now, random)
    if cold is None or backlog(cold, board.lane(cold.server.id), now) + COLD_PENALTY >= backlog(chosen, lane, now):
        return chosen
    board.gather(route.family, cold.server.id)
    return cold


def gathered(route: Route, tier: Tier, board: Board, tried: Collection[str], now: float) -> Candidate | None:
    """Return the server that loads the model right now, if it may be taken and is not crowded yet."""
    server_id = board.gathered.get(route.family)
    if server_id is None or server_id in tried:
        return None
    candidate = route.by_id.get(server_id)
    if candidate is None or candidate.warm or candidate.server.priority != tier.members[0].server.priority:
        return None
    lane = board.lane(server_id)
    will_do = has_model(candidate, lane, now) and is_open(candidate, lane, now) and not is_crowded(candidate, lane, now)
    return candidate if will_do else None


def sample(
    tier: Tier,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    drawn: tuple[int, ...] = (),
) -> Candidate | None:
    """Draw from a tier by weight until two may be taken, and return the less loaded; None if the draws found too few.

    Args:
        tier: at least one server.
        board: the live figures.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
        drawn: places in the tier that were drawn already and not looked at, in that order.
    """
    members, marks, lanes = tier.members, tier.marks, board.lanes
    last = len(members) - 1
    whole, gap_at, gap = marks[last], 0.0, 0.0  # the part of the one that was found is left out of the sum
    first: Drawn | None = None
    for count in range(_DRAWS if last >= FEW else min(last + 1, _DRAWS_OF_FEW)):
        if count < len(drawn):
            place = drawn[count]
        else:
            mark = random() * (whole - gap)
            place = bisect(marks, mark if mark < gap_at else mark + gap, 0, last)
        candidate = members[place]
        server = candidate.server
        lane = lanes.get(server.id) or board.lane(server.id)
        most = server.max_concurrency
        if (
            (lane.closer_look_until > now and not _keeps_its_draw(candidate, lane, tier, now, random))
            or (most is not None and lane.in_flight >= most)
            or server.id in tried
        ):
            drawn = ()  # what was drawn beside it was drawn from the others: all are drawn from anew
        elif first is None:
            first = candidate, lane
            gap_at = marks[place - 1] if place else 0.0
            gap = marks[place] - gap_at
        elif candidate is not first[0]:  # but for rounding
            return less_loaded(first, (candidate, lane), now)
        if first is not None and (count >= _DRAWS_FOR_TWO or last == 0):
            return first[0]
    return None


def _keeps_its_draw(candidate: Candidate, lane: Lane, tier: Tier, now: float, random: Callable[[], float]) -> bool:
    """Whether one that takes a closer look may be taken; one that ramps as often as its share says."""
    if not is_open(candidate, lane, now) or (tier.warm and lane.residence and not has_model(candidate, lane, now)):
        return False
    return lane.troubled_until <= now or (share := lane.share(now)) >= 1.0 or random() < share


def _only(route: Route, board: Board, now: float) -> Candidate | None:
    """The first server of a route, if nothing speaks against it."""
    candidate = route.ready[0]
    server = candidate.server
    lane = board.lane(server.id)
    is_fit = lane.closer_look_until <= now and (
        server.max_concurrency is None or lane.in_flight < server.max_concurrency
    )
    return candidate if is_fit else None
