"""Which model of which server is looked at next? Without any waiting of its own.

One at a time. All times are seconds of one monotonic clock, handed in by the caller.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.continuation.ability import UNJUDGED, Rung
from app.services.core.types import HealthStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from app.services.core.types import Server

__all__ = ["Duty", "Key", "Rota", "is_askable", "may_be_asked"]

LEAST_GAP_SECONDS: Final = 600.0
"""However often a server changes, a model is not looked at more often than this, but for a new endpoint or engine."""
PATIENCE_SECONDS: Final = 600.0
"""How long one that is due waits until its server is idle, and its continuation was tried."""

Key = tuple[str, str]
"""A server's id, and what it calls the model."""
Claims = dict[str, int | None]
"""The context lengths that are registered, in tokens, by what a server calls its models."""


def _nothing(_server_id: str) -> None:
    """Nobody declared anything."""


@dataclass(slots=True, eq=False)
class Duty:
    """One model of one server.

    Attributes:
        server: as routing saw it last.
        upstream_name: what it calls the model.
        due: when it is to be looked at; infinite for never again.
        faults: how many looks in a row came to nothing.
        begun_at: when it was last looked at.
        claimed: the context length that is registered or listed, in tokens.
    """

    server: Server
    upstream_name: str
    due: float
    faults: int = 0
    begun_at: float = -math.inf
    claimed: int | None = None

    @property
    def key(self) -> Key:
        """What it is found by."""
        return self.server.id, self.upstream_name


class Rota:
    """All models of all servers.

    Args:
        is_idle: whether nobody uses a server just now.
        has_room: whether it could take one more request for what it calls a model.
        after_trials: whether a model waits until it is known how it goes on with broken answers.
        declared: the context length, in tokens, that an owner declared for a server, if any. It counts where there is
            one model; else what is listed of each.
    """

    def __init__(
        self,
        is_idle: Callable[[str], bool],
        has_room: Callable[[Server, str], bool],
        *,
        after_trials: bool,
        declared: Callable[[str], int | None] = _nothing,
    ) -> None:
        self._is_idle = is_idle
        self._has_room = has_room
        self._after_trials = after_trials
        self._declared = declared
        self._duties: dict[Key, Duty] = {}
        self._claims: dict[str, tuple[object, int | None, Claims]] = {}

    @property
    def served(self) -> dict[str, Collection[str]]:
        """What servers call their models, by their ids."""
        return {server_id: claims.keys() for server_id, (_models, _declared, claims) in self._claims.items()}

    def follow(self, servers: Iterable[Server], now: float, first_due: Callable[[Key], float]) -> set[str]:
        """Take over what routing sees.

        Args:
            servers: all there are.
            now: the time.
            first_due: says when a model that is new here is due.

        Returns:
            The ids of servers that are others by now: what was found of them holds no more.
        """
        known, self._duties = self._duties, {}
        before, self._claims = self._claims, {}
        moved: set[str] = set()
        for server in servers:
            models, was_declared, claims = before.get(server.id, (None, None, {}))
            declared = self._declared(server.id)
            if models is not server.models or declared != was_declared:  # most are those of the last time
                claims = _claims_of(server, declared)
            self._claims[server.id] = server.models, declared, claims
            for name, claimed in claims.items():
                key = server.id, name
                duty = known.get(key)
                if duty is None:
                    duty = Duty(server, name, first_due(key), claimed=claimed)
                elif _is_another(server, duty.server):
                    moved.add(server.id)
                    duty = Duty(server, name, now, claimed=claimed)
                else:
                    duty.server = server
                    if duty.claimed != claimed:
                        duty.claimed = claimed
                        self.hasten(duty, now)
                self._duties[key] = duty
        return moved

    def hasten(self, duty: Duty, now: float) -> None:
        """Have a model looked at soon, though it was looked at before."""
        duty.due = min(duty.due, max(now, duty.begun_at + LEAST_GAP_SECONDS))

    def begin_anew(self, server_id: str, now: float) -> None:
        """Have all models of a server looked at: its engine is another by now."""
        for key, duty in list(self._duties.items()):
            if key[0] == server_id:
                self._duties[key] = Duty(duty.server, duty.upstream_name, now, claimed=duty.claimed)

    def next(self, now: float) -> Duty | None:
        """Return what is to be looked at now: of those whose time has come and that may be asked the first."""
        return min((duty for duty in self._ripe(now) if self._fits(duty, now)), key=_due, default=None)

    def next_due(self, now: float) -> float:
        """Say when the next one's time comes, or that it has come for one that waits; infinite where none will."""
        return max(now, min(map(_ready_at, self._duties.values()), default=math.inf))

    def is_current(self, duty: Duty) -> bool:
        """Whether the server and its model are still those that the duty was made for."""
        return self._duties.get(duty.key) is duty

    def __iter__(self) -> Iterator[Duty]:
        return iter(tuple(self._duties.values()))

    def _ripe(self, now: float) -> Iterator[Duty]:
        return (duty for duty in self._duties.values() if _ready_at(duty) <= now)

    def _fits(self, duty: Duty, now: float) -> bool:
        server = duty.server
        if not self._has_room(server, duty.upstream_name):
            return False
        if now >= duty.due + PATIENCE_SECONDS:
            return True
        ability = server.abilities.get(duty.upstream_name, UNJUDGED)
        is_tried = not self._after_trials or Rung.UNJUDGED not in (ability.chat, ability.text)
        return is_tried and self._is_idle(server.id)


def may_be_asked(server: Server) -> bool:
    """Whether a server is well, and work is let to it."""
    return server.health is HealthStatus.HEALTHY and server.accepts_work and not server.misconfigured


def is_askable(duty: Duty) -> bool:
    """Whether a model is to be asked as soon as its time has come and its server is idle."""
    return _ready_at(duty) < math.inf


def _ready_at(duty: Duty) -> float:
    """Say when a model may be asked at the earliest; infinite while it may not.

    One that is not in the memory of a server that swaps models is not asked, for it might put another out. Where the
    engine does not tell what is there, only a model that is alone is, and not before it had time to tell.
    """
    server, name = duty.server, duty.upstream_name
    if not may_be_asked(server) or name in server.missing_models:
        return math.inf
    if not server.swaps_models:
        return duty.due
    if server.loaded is None:
        return duty.due + PATIENCE_SECONDS if len(server.models) == 1 else math.inf
    return math.inf if server.loaded.isdisjoint({name, f"{name}:latest"}) else duty.due


def _is_another(server: Server, before: Server) -> bool:
    """Whether a server is another one to whoever looks at its claims."""
    return server.endpoint != before.endpoint or server.engine != before.engine


def _claims_of(server: Server, declared: int | None) -> Claims:
    """Return the context lengths that are claimed: of a model that is there twice the first that is told."""
    claims: dict[str, int | None] = {}
    for model in server.models:
        claims[model.upstream_name] = claims.get(model.upstream_name) or model.context_length
    return dict.fromkeys(claims, declared) if declared is not None and len(claims) == 1 else claims


def _due(duty: Duty) -> tuple[float, Key]:
    return duty.due, duty.key
