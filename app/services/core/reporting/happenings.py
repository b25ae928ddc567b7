"""What happened lately, in sentences? What of two looks at the servers differs, and how each difference is told."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final, NamedTuple

from app.services.core.types import HealthStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from datetime import datetime

__all__ = ["Change", "Happening", "Kind", "Standing", "changes", "sentence"]


class Kind(StrEnum):
    """What happened."""

    STARTED = "started"
    JOINED = "joined"
    REMOVED = "removed"
    PENDING = "pending"
    APPROVED = "approved"
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"
    REFUSES_KEY = "refuses_key"
    TAKES_KEY = "takes_key"
    PAUSED = "paused"
    RESUMED = "resumed"
    QUARANTINED = "quarantined"
    RELEASED = "released"
    BLOCKED = "blocked"
    UNBLOCKED = "unblocked"
    DRAINING = "draining"
    UNDRAINED = "undrained"
    CONTINUED = "continued"


_OF_HEALTH: Final = {
    HealthStatus.HEALTHY: Kind.HEALTHY,
    HealthStatus.UNHEALTHY: Kind.UNHEALTHY,
    HealthStatus.UNKNOWN: Kind.UNKNOWN,
}
_OF_HOLDS: Final = {
    "blocked": (Kind.BLOCKED, Kind.UNBLOCKED),
    "pending": (Kind.PENDING, Kind.APPROVED),
    "quarantined": (Kind.QUARANTINED, Kind.RELEASED),
    "paused": (Kind.PAUSED, Kind.RESUMED),
    "draining": (Kind.DRAINING, Kind.UNDRAINED),
}
"""By the name of a hold: what its beginning is, and its end."""
_WORDS: Final = {
    Kind.JOINED: "was registered",
    Kind.REMOVED: "was removed",
    Kind.PENDING: "waits for the operator's approval",
    Kind.APPROVED: "was approved",
    Kind.HEALTHY: "is healthy again",
    Kind.UNHEALTHY: "became unhealthy",
    Kind.UNKNOWN: "is to be checked anew",
    Kind.REFUSES_KEY: "refuses the gateway's key",
    Kind.TAKES_KEY: "takes the gateway's key again",
    Kind.PAUSED: "was paused",
    Kind.RESUMED: "was resumed",
    Kind.QUARANTINED: "was put in quarantine",
    Kind.RELEASED: "left quarantine",
    Kind.BLOCKED: "was blocked",
    Kind.UNBLOCKED: "was unblocked",
    Kind.DRAINING: "is draining",
    Kind.UNDRAINED: "takes new work again",
}
_TELLS_REASON: Final = frozenset(
    {
        Kind.UNHEALTHY,
        Kind.REFUSES_KEY,
        Kind.PENDING,
        Kind.PAUSED,
        Kind.QUARANTINED,
        Kind.BLOCKED,
        Kind.DRAINING,
    }
)


class Standing(NamedTuple):
    """How a server stands, as far as a change of it is worth a sentence. ``holds`` are those in force, by name."""

    health: HealthStatus
    refuses_key: bool
    holds: frozenset[str]


class Change(NamedTuple):
    """One difference. ``hold`` names the hold that it is about; empty: it is about health, or about being there."""

    kind: Kind
    server_id: str
    hold: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing that happened.

    Attributes:
        id: a later one has a larger one.
        at: timezone-aware UTC.
        kind: what.
        server_id: to which server; empty where it is about none.
        server: what that is called.
        owner: who registered it.
        reason: why, in words; empty where nobody said.
        count: how many, where it is about many.
    """

    id: int
    at: datetime
    kind: Kind
    server_id: str = ""
    server: str = ""
    owner: str = ""
    reason: str = ""
    count: int = 0


def changes(before: Mapping[str, Standing], after: Mapping[str, Standing]) -> Iterator[Change]:
    """Say what differs, by server id. What becomes known of a new server's health is no news: it is registered."""
    for server_id in before.keys() - after.keys():
        yield Change(Kind.REMOVED, server_id)
    for server_id, now in after.items():
        then = before.get(server_id)
        if then is None:
            yield Change(Kind.JOINED, server_id)
            yield from _of_holds(server_id, frozenset(), now.holds)
        elif then != now:
            yield from _of_holds(server_id, then.holds, now.holds)
            yield from _of_health(server_id, then, now)


def _of_holds(server_id: str, then: frozenset[str], now: frozenset[str]) -> Iterator[Change]:
    for hold, (begins, ends) in _OF_HOLDS.items():
        if (hold in now) is not (hold in then):
            yield Change(begins if hold in now else ends, server_id, hold)


def _of_health(server_id: str, then: Standing, now: Standing) -> Iterator[Change]:
    is_first_word = then.health is HealthStatus.UNKNOWN and now.health is HealthStatus.HEALTHY
    if now.refuses_key and not then.refuses_key:
        yield Change(Kind.REFUSES_KEY, server_id)
    elif now.health is not then.health and not is_first_word:
        yield Change(_OF_HEALTH[now.health], server_id)
    elif then.refuses_key and not now.refuses_key:
        yield Change(Kind.TAKES_KEY, server_id)


def sentence(happening: Happening) -> str:
    """Tell it to whoever may know the reason."""
    match happening.kind:
        case Kind.STARTED:
            return "The gateway started."
        case Kind.CONTINUED if happening.count == 1:
            return "1 broken answer was carried on elsewhere."
        case Kind.CONTINUED:
            return f"{happening.count} broken answers were carried on elsewhere."
        case kind:
            why = f": {happening.reason.rstrip('. ')}" if happening.reason and kind in _TELLS_REASON else ""
            return f"{happening.server} {_WORDS[kind]}{why}."
