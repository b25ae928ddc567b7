"""Where does this request go now: Forward, Queue, Await or Refuse? One pure function over snapshot and board.

============================================  ==========
what is left to try                           verdict
============================================  ==========
one that may be taken                         Forward
some, all of them at their cap                Queue
some that asked to be left alone for 2 s      Queue
only some that are down or ejected            Await
nobody, or only some that stay away           Refuse
============================================  ==========

A server that this request was sent to is left out of all of it, and so is one whose context is too short for it. A
prompt that is too long for all is refused with 400. ``Await`` and ``Refuse`` bear an error for a request that was sent
nowhere; one that failed elsewhere before has a better one at hand, and hears that.

A request that says what it demands goes to a server that knows its beginning (``core.choice.homes``), else to one where
it surely fits, else where it may fit. One that demands nothing is drawn.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from app.services.core.choice.balancing import Cooling, Full, choose
from app.services.core.choice.draw import draw, draw_from
from app.services.core.choice.homes import home_of
from app.services.core.choice.snapshot import Candidate, Route, Snapshot
from app.services.core.choice.verdicts import Await, Forward, Plan, Queue, Refuse
from app.services.core.errors import ModelNotFound, Unavailable
from app.services.core.prompt.contexts import Room, holds_answer, room, room_at, too_long
from app.services.core.retry import RETRY_AFTER_SECONDS

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Container, Sequence

    from app.services.core.choice.tiers import Tier
    from app.services.core.live.board import Board
    from app.services.core.prompt.demand import Demand

    Groups = Sequence[Sequence[Candidate]]
    Select = Callable[[Sequence[Candidate]], Groups]

__all__ = ["Await", "Forward", "Plan", "Queue", "Refuse", "plan", "unknown_model"]

_PATIENCE_SECONDS = 2.0
_DRAWS_FOR_ROOM = 4
_QUEUE = Queue()


def plan(
    model: str,
    snapshot: Snapshot,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None = None,
    demand: Demand | None = None,
) -> Plan:
    """Decide on one attempt of one request; arguments as for ``balancing.choose``.

    Args:
        model: the name of the route: what the client asked for, or one that an alias leads to.
        snapshot: the registry.
        board: the live figures. Where a model is being loaded, and who waits for its turn, is noted there.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
        select: sorts servers that are known for the model into groups, best first, and leaves out those that will not
            do. A group is looked at when all before it have nobody to take. None: all of them will do.
        demand: what the request asks of a server; not looked at beside ``select``, which knows better.
    """
    route = snapshot.routes.get(model) or snapshot.inner.get(model)
    if route is None:
        return Refuse(unknown_model(model, snapshot))
    if select is None:
        if demand is not None:
            taken = _on_demand(route, board, demand, tried, now, random)
        elif tried:
            taken = _drawn(route, route.tier, board, tried, now, random)
        else:
            drawn = draw(route, board, now, random)
            if drawn is not None:
                return Forward(drawn, route.why if drawn.warm else "drawn")
            taken = None
        if taken is not None:
            return taken
        if demand is not None and _has_figures(demand):
            select = _by_room(demand)
    return _of_all(route, snapshot, board, tried, now, random, select, demand)


def unknown_model(model: str, snapshot: Snapshot, allowed: Container[str] | None = None) -> ModelNotFound:
    """The 404 for a name that no registered server has; it lists those that exist, and may be asked for."""
    return ModelNotFound(f"Model '{model[:200]}' not found. Available: {snapshot.available(allowed)}.", param="model")


# -- without a look at all of them


def _on_demand(
    route: Route,
    board: Board,
    demand: Demand,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
) -> Forward | None:
    """Send it home, or to one where it surely fits, or where it may fit if it surely fits nowhere."""
    if not route.ready:
        return None
    least = 0
    sure: Tier | None = route.tier
    if _has_figures(demand):
        least, sure = _sure_tier(route, demand)
    if demand.homes and (found := home_of(route, sure, board, demand, tried, now, random)) is not None:
        candidate, home = found
        return Forward(candidate, home.by)
    if sure is not None:
        return _drawn(route, sure, board, tried, now, random, least)
    for _draw in range(_DRAWS_FOR_ROOM):
        drawn = _drawn(route, route.tier, board, tried, now, random)
        if drawn is None or room_at(drawn.candidate, demand) <= (Room.UNSURE if route.roomy is not None else Room.SURE):
            return drawn
    return None


def _drawn(
    route: Route,
    tier: Tier,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    least: int = 0,
) -> Forward | None:
    """Send it to one that is drawn from a tier, in which each has a context of at least ``least`` tokens."""
    if tier is route.tier:
        if not tier.members:
            return None
        drawn = draw_from(route, tier, board, tried, now, random) if tried else draw(route, board, now, random)
        return None if drawn is None else Forward(drawn, _why(route, drawn))
    drawn = draw_from(route, tier, board, tried, now, random)
    if drawn is None or (not drawn.warm and (drawn.model.context_length or 0) < least):
        return None  # what loads the model now may not have room
    return Forward(drawn, "roomy")


def _sure_tier(route: Route, demand: Demand) -> tuple[int, Tier | None]:
    """The least context where a prompt surely fits, and the first tier of those that have it; None: nobody has.

    One that holds the longest answer too goes before it, but not before a better priority, or a model in memory.
    """
    sure: tuple[int, Tier] | None = None
    for length, tier in route.roomy or ():
        if sure is None:
            if room(length, demand) is not Room.SURE:
                continue
            sure = length, tier
        if not demand.answer_tokens or holds_answer(length, demand):
            return (length, tier) if tier is sure[1] or _is_as_good(tier, sure[1]) else sure
    return sure or (0, None)


def _is_as_good(tier: Tier, other: Tier) -> bool:
    return tier.warm is other.warm and tier.members[0].server.priority == other.members[0].server.priority


def _has_figures(demand: Demand) -> bool:
    return demand.prompt_tokens > 0 or demand.least_tokens > 0


def _why(route: Route, taken: Candidate) -> str:
    return route.why if taken.warm else "drawn"


# -- with a look at all of them


def _of_all(
    route: Route,
    snapshot: Snapshot,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None,
    demand: Demand | None,
) -> Plan:
    chosen = _chosen(route, board, tried, now, random, select, demand)
    if isinstance(chosen, Candidate):
        if not chosen.warm:
            board.gather(route.family, chosen.server.id)
        return Forward(chosen, _why(route, chosen) if demand is None or select is None else "roomy")
    if isinstance(chosen, Full) or (isinstance(chosen, Cooling) and chosen.seconds <= _PATIENCE_SECONDS):
        return _QUEUE  # the queue is looked at ten times a second: whoever cools is asked again soon
    if demand is not None and select is not None and _fits_nowhere(route, select):
        return Refuse(too_long(route, demand, snapshot))
    error = _nobody(route, RETRY_AFTER_SECONDS if chosen is None else math.ceil(chosen.seconds))
    returning = _may_return(route, board, tried, now, select)
    if returning:
        return Await(returning, error)
    return Refuse(error, tuple(candidate.server.id for candidate in route.down))


def _by_room(demand: Demand) -> Select:
    """Sort servers by whether a prompt fits: where it surely does, then where it may, then where it hardly does."""

    def select(candidates: Sequence[Candidate]) -> Groups:
        groups: tuple[list[Candidate], ...] = tuple([] for _room in Room)
        for candidate in candidates:
            groups[room_at(candidate, demand)].append(candidate)
        return [group for group in groups[: Room.NONE] if group]

    return select


def _fits_nowhere(route: Route, select: Select) -> bool:
    """Whether no server that serves the model, or may soon, will do."""
    there = (route.ready, route.standby, route.down)
    return any(there) and not any(select(candidates) for candidates in there)


def _chosen(
    route: Route,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None,
    demand: Demand | None,
) -> Candidate | Full | Cooling | None:
    """Choose among those that are ready, group by group; those on standby come when none will get free there."""
    best: Full | Cooling | None = None
    for candidates in (route.ready, route.standby):
        for group in (candidates,) if select is None else select(candidates):
            if group and demand and isinstance(best, Full) and room_at(group[0], demand) is Room.UNLIKELY:
                break  # a place where it fits will come free
            found = choose(group, board, tried, now, random)
            if isinstance(found, Candidate):
                return found
            best = _nearer(best, found)
        if isinstance(best, Full):
            break
    return best


def _nearer(one: Full | Cooling | None, two: Full | Cooling | None) -> Full | Cooling | None:
    """The nearer hope of two groups: a place that will come free, or the shorter wait."""
    match one, two:
        case Cooling(), Cooling():
            return one if one.seconds <= two.seconds else two
        case (Full(), _) | (_, None):
            return one
        case _:
            return two


def _may_return(
    route: Route, board: Board, tried: Collection[str], now: float, select: Select | None
) -> tuple[str, ...]:
    """Name those that are ejected or down, and were not tried."""
    ejected = [
        candidate for candidate in (*route.ready, *route.standby) if board.lane(candidate.server.id).is_shut(now)
    ]
    away = (*ejected, *route.down)
    groups = (away,) if select is None else select(away)
    return tuple(candidate.server.id for group in groups for candidate in group if candidate.server.id not in tried)


def _nobody(route: Route, wait_seconds: int) -> Unavailable:
    count = f"{route.registered} server{'s' if route.registered != 1 else ''}"
    return Unavailable(
        f"Model '{route.name}' is registered on {count}, but none can serve it now. "
        f"Try again in {wait_seconds} seconds.",
        retry_after_seconds=wait_seconds,
    )
