"""When is a server taken out that passes its checks and fails requests, for how long, and when must it stay?

The breaker (``core.live.breaker``) turns away from a server that fails, and tries it again by a request, a longer while
later each time. One that lists its models well and cannot answer is tried for ever in that way, each time at the cost
of somebody's request. The rules:

* **Five ejections within ten minutes** for answers of its own that were no good (5xx, nonsense, broken off), with at
  most one good answer to three bad ones meanwhile: then it is out for ten minutes, twice as long each time, up to six
  hours. Six good hours, and that is forgotten.
* **What the network or the load does is no fault**: lost dials, resets, silence, 429 and 503, and whatever a client
  got wrong. Health and breaker answer for those.
* **Nobody goes without a model for it.** It stays where another server is not ready for all who may use it, for each
  of its models, and where more than a third of a model's servers would be out. Where the others fail while it is out,
  it comes back.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from app.services.core.choice.sight import Sight, sees
from app.services.core.people.principal import Trust
from app.services.core.retry import Failure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from app.services.core.choice.snapshot import Candidate, Route, Snapshot
    from app.services.core.types import Server

__all__ = [
    "FORGET_SECONDS",
    "MOST_EJECTIONS",
    "WINDOW_SECONDS",
    "Ejection",
    "fault_of",
    "is_needed",
    "may_be_taken_out",
    "out_for_seconds",
    "verdict",
]

WINDOW_SECONDS: Final = 600.0
MOST_EJECTIONS: Final = 5
FIRST_SECONDS: Final = 600.0
LONGEST_SECONDS: Final = 6 * 3600.0
FORGET_SECONDS: Final = 6 * 3600.0
"""How long after its last quarantine a server's next one is its first."""
_BAD_TO_ONE_GOOD: Final = 3
_LARGEST_SHARE: Final = 3
"""One in so many of a model's servers may be out."""
_MOST_DOUBLINGS: Final = 10
_FAULTS_TOLD: Final = 3


@dataclass(frozen=True, slots=True)
class Ejection:
    """The breaker turned away from a server.

    Attributes:
        at: monotonic seconds.
        fault: what was wrong with its last answer, in words (``fault_of``).
        failures: how many of its answers in a row were no good.
        good: how many of its answers were, since the gateway's start.
    """

    at: float
    fault: str
    failures: int
    good: int = 0


def fault_of(failure: Failure, status: int, *, begun: bool) -> str | None:
    """Say in words what was wrong with an answer; None if that is not the server's own answer.

    Args:
        failure: why it could not be used.
        status: of the answer; 0 if there was none.
        begun: whether a good answer had begun.
    """
    if failure is Failure.FAILED:
        return f"it answered {status}"
    if failure is Failure.BROKEN:
        return "its answer broke off" if begun else "its answer made no sense"
    return None


def verdict(ejections: Sequence[Ejection], now: float, good: int = 0) -> str | None:
    """Say to its owner why a server is to be taken out; None if it is not.

    Args:
        ejections: of the server, oldest first.
        now: monotonic seconds.
        good: how many of its answers were good, since the gateway's start.
    """
    recent = [ejection for ejection in ejections if now - ejection.at <= WINDOW_SECONDS]
    if len(recent) < MOST_EJECTIONS:
        return None
    bad, since = sum(ejection.failures for ejection in recent), max(good - recent[0].good, 0)
    if since * _BAD_TO_ONE_GOOD > bad:
        return None
    faults = Counter[str]()
    for ejection in recent:
        faults[ejection.fault] += ejection.failures
    told = ", ".join(fault for fault, _count in faults.most_common(_FAULTS_TOLD))
    return f"{bad} of its last {bad + since} answers were no good ({told}), though its checks pass"


def out_for_seconds(times: int) -> float:
    """Say how long a server is out that was out so many times before."""
    return min(FIRST_SECONDS * 2.0 ** min(times, _MOST_DOUBLINGS), LONGEST_SECONDS)


def may_be_taken_out(server: Server, snapshot: Snapshot, is_shut: Callable[[str], bool]) -> bool:
    """Whether all who may use a server can use another for each of its models, and enough of them stay.

    Args:
        server: the one in question.
        snapshot: all servers.
        is_shut: whether the breaker holds requests back from a server, by its id.
    """
    for route in _routes(server, snapshot):
        ready = [one.server for one in route.ready if not is_shut(one.server.id)]
        serving = {one.server.id for one in (*route.ready, *route.standby, *route.down)} - {server.id}
        out = {one.server.id for one in route.held if one.server.quarantined} | {server.id}
        if len(out) * _LARGEST_SHARE > len(out | serving) or not _is_covered(server, ready):
            return False
    return True


def is_needed(server: Server, snapshot: Snapshot) -> bool:
    """Whether somebody goes without one of its models while a server is out."""
    return not all(_is_covered(server, _servers(route.ready, route.standby)) for route in _routes(server, snapshot))


def _routes(server: Server, snapshot: Snapshot) -> Iterator[Route]:
    names = {model.name for model in server.models}
    return (route for name in names if (route := snapshot.routes.get(name)) is not None)


def _servers(*groups: Iterable[Candidate]) -> list[Server]:
    return [candidate.server for group in groups for candidate in group]


def _is_covered(server: Server, others: Iterable[Server]) -> bool:
    """Whether each kind of request that may use a server may use one of the others."""
    rest = [other for other in others if other.id != server.id]
    return all(any(sees(sight, other) for other in rest) for sight in _users(server))


def _users(server: Server) -> Iterator[Sight]:
    """Give the kinds of requests that may use a server: strangers', its group's, or where it is its owner's, his."""
    for reach in Trust:
        for sight in (Sight("", None, reach), Sight("", server.group, reach)):
            if sees(sight, server):
                yield sight
    if server.share == "me":
        yield Sight(server.owner, server.group, Trust.PUBLIC)
