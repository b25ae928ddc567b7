"""Where does this request go now: Forward, Queue or Refuse? One pure function over snapshot and board."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

import msgspec

from app.services.core.balancing import Cooling, Full, choose, draw
from app.services.core.errors import GatewayError, ModelNotFound, Unavailable
from app.services.core.retry import RETRY_AFTER_SECONDS
from app.services.core.snapshot import Candidate, Route, Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from app.services.core.board import Board

__all__ = ["Forward", "Plan", "Queue", "Refuse", "plan", "unknown_model"]

_NAMES_SHOWN = 20
_PATIENCE_SECONDS = 2.0


class Forward(msgspec.Struct, frozen=True, gc=False):
    """Send it to this server."""

    candidate: Candidate


@dataclass(frozen=True, slots=True)
class Queue:
    """Wait for a place: every fitting server is at its cap."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """Answer with this error. ``look_again`` names servers whose return would help: check them now."""

    error: GatewayError
    look_again: tuple[str, ...] = ()


Plan = Forward | Queue | Refuse
_QUEUE = Queue()


def plan(
    model: str,
    snapshot: Snapshot,
    board: Board,
    tried: Collection[str],
    now: float,
    random: Callable[[], float],
) -> Plan:
    """Decide on one attempt of one request; arguments as for ``balancing.choose``."""
    route = snapshot.routes.get(model)
    if route is None:
        return Refuse(unknown_model(model, snapshot))
    if not tried:
        drawn = draw(route, board, now, random)
        if drawn is not None:
            return Forward(drawn)
    chosen = choose(route.ready, board, tried, now, random)
    if chosen is None or isinstance(chosen, Cooling):
        chosen = choose(route.standby, board, tried, now, random) or chosen
    match chosen:
        case Candidate():
            return Forward(chosen)
        case Full():
            return _QUEUE
        case Cooling(seconds) if seconds <= _PATIENCE_SECONDS:
            return _QUEUE  # asked again soon: the queue is looked at ten times a second
        case Cooling(seconds):
            wait = math.ceil(seconds)
        case None:
            wait = RETRY_AFTER_SECONDS
        case _:
            assert_never(chosen)
    return Refuse(_nobody(route, wait), tuple(candidate.server.id for candidate in route.down))


def unknown_model(model: str, snapshot: Snapshot) -> ModelNotFound:
    """The 404 for a name that no registered server has; it lists those that exist."""
    names = list(snapshot.routes)
    shown = ", ".join(names[:_NAMES_SHOWN]) or "none yet: register a server with POST /admin/register"
    more = f" and {len(names) - _NAMES_SHOWN} more, see GET /v1/models" if len(names) > _NAMES_SHOWN else ""
    return ModelNotFound(f"Model '{model[:200]}' not found. Available: {shown}{more}.", param="model")


def _nobody(route: Route, wait_seconds: int) -> Unavailable:
    count = f"{route.registered} server{'s' if route.registered != 1 else ''}"
    return Unavailable(
        f"Model '{route.name}' is registered on {count}, but none can serve it now. "
        f"Try again in {wait_seconds} seconds.",
        retry_after_seconds=wait_seconds,
    )
