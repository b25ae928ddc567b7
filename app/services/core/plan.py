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

A server that this request was sent to is left out of all of it. ``Await`` and ``Refuse`` bear an error for a request
that was sent nowhere; one that failed elsewhere before has a better one at hand, and hears that.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from app.services.core.balancing import Cooling, Full, choose, draw
from app.services.core.errors import GatewayError, ModelNotFound, Unavailable
from app.services.core.retry import RETRY_AFTER_SECONDS
from app.services.core.snapshot import Candidate, Route, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from app.services.core.board import Board

    Select = Callable[[Sequence[Candidate]], Sequence[Sequence[Candidate]]]

__all__ = ["Await", "Forward", "Plan", "Queue", "Refuse", "plan", "unknown_model"]

_NAMES_SHOWN = 20
_PATIENCE_SECONDS = 2.0


class Forward(msgspec.Struct, frozen=True, gc=False):
    """Send it to this server."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait for a place: every fitting server is at its cap."""


@dataclass(frozen=True, slots=True)
class Await:
    """None can serve it now, but these may be back soon: have them asked, plan again, and give up after a while.

    ``server_ids`` names at least one, down or ejected, best priority first. None of them is held back by its owner, the
    operator or the gateway, and none was tried. ``error`` is what a request hears in the end that was sent nowhere.
    """

    server_ids: tuple[str, ...]
    error: GatewayError


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with this error. ``look_again`` names servers whose return would help: check them now."""

    error: GatewayError
    look_again: tuple[str, ...] = ()


Plan = Forward | Queue | Await | Refuse
_QUEUE = Queue()


def plan(
    model: str,
    snapshot: Snapshot,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None = None,
) -> Plan:
    """Decide on one attempt of one request; arguments as for ``balancing.choose``.

    Args:
        model: the name that the client asked for.
        snapshot: the registry.
        board: the live figures.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
        select: sorts servers that are known for the model into groups, best first, and leaves out those that will not
            do. A group is looked at when all before it have nobody to take. None: all of them will do.
    """
    route = snapshot.routes.get(model)
    if route is None:
        return Refuse(unknown_model(model, snapshot))
    if not tried and select is None:
        drawn = draw(route, board, now, random)
        if drawn is not None:
            return Forward(drawn)
    chosen = _chosen(route, board, tried, now, random, select)
    if isinstance(chosen, Candidate):
        return Forward(chosen)
    if isinstance(chosen, Full) or (isinstance(chosen, Cooling) and chosen.seconds <= _PATIENCE_SECONDS):
        return _QUEUE  # the queue is looked at ten times a second: whoever cools is asked again soon
    error = _nobody(route, RETRY_AFTER_SECONDS if chosen is None else math.ceil(chosen.seconds))
    returning = _may_return(route, board, tried, now, select)
    if returning:
        return Await(returning, error)
    return Refuse(error, tuple(candidate.server.id for candidate in route.down))


def unknown_model(model: str, snapshot: Snapshot) -> ModelNotFound:
    """The 404 for a name that no registered server has; it lists those that exist."""
    names = list(snapshot.routes)
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none yet: register a server with POST /admin/register"
    more = f" and {len(names) - _NAMES_SHOWN} more, see GET /v1/models" if len(names) > _NAMES_SHOWN else ""
    return ModelNotFound(f"Model '{model[:200]}' not found. Available: {shown}{more}.", param="model")


def _chosen(
    route: Route,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None,
) -> Candidate | Full | Cooling | None:
    """Choose among those that are ready, group by group; those on standby come when none will get free there."""
    best: Full | Cooling | None = None
    for candidates in (route.ready, route.standby):
        for group in (candidates,) if select is None else select(candidates):
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
