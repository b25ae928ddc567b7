"""Which of several routes does a request go by? The first that has a server for it now, else the best hope."""

from __future__ import annotations

from typing import TYPE_CHECKING

from app.services.core.choice.plan import Await, Forward, Queue, Refuse, plan
from app.services.core.errors import ModelNotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from app.services.core.choice.plan import Plan, Select
    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.errors import GatewayError
    from app.services.core.live.board import Board
    from app.services.core.prompt.demand import Demand

__all__ = ["plan_along"]


def _none(_name: str) -> GatewayError | None:
    """Nothing speaks against any."""
    return None


def plan_along(  # noqa: PLR0913 - those of plan, and two
    names: Iterable[str],
    snapshot: Snapshot,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
    select: Select | None = None,
    demand: Demand | None = None,
    *,
    objection: Callable[[str], GatewayError | None] = _none,
) -> tuple[str, Plan] | None:
    """Decide on one attempt of a request whose name leads to several routes; arguments as for ``plan``.

    Args:
        names: of the routes, in the order in which they are tried.
        snapshot: what the request sees of the registry.
        board: the live figures.
        tried: ids of servers that this request has been to already.
        now: monotonic seconds.
        random: uniform floats in [0, 1).
        select: sorts servers that are known for the model into groups, as for ``plan``; None: all of them will do.
        demand: what the request asks of a server.
        objection: what speaks against going by a route that has a server now, by its name; None where nothing does.

    Returns:
        The route, and the verdict on it: ``Forward`` for the first that has a server now; else the first of those
        whose verdict leaves the most hope. None where there are no names.
    """
    best: tuple[str, Await | Queue | Refuse] | None = None
    for name in names:
        verdict = plan(name, snapshot, board, tried, now, random, select, demand)
        if isinstance(verdict, Forward):
            error = objection(name)
            if error is None:
                return name, verdict
            verdict = Refuse(error)
        if best is None or _hope(verdict) > _hope(best[1]):
            best = name, verdict
    return best


def _hope(verdict: Await | Queue | Refuse) -> int:
    """How near a verdict is to being served."""
    if isinstance(verdict, Refuse):
        return 0 if isinstance(verdict.error, ModelNotFound) else 1
    return 2 if isinstance(verdict, Await) else 3
