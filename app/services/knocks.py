"""Is a server that somebody looks at still there? It is knocked at beside its checks, for as long as a page shows it.

A check comes every ten seconds, and people who look at a page expect it to tell what is so. Checks that came so often
would cost each server a list of models a second. A knock costs neither side more than a connection that is opened and
closed: no request, no TLS. What it finds is a hint and no evidence. It brings the next check forward

* where a server that counts as healthy refuses connections, or no longer answers them, and
* where a server that did so at the last knock is there again.

Servers in view of somebody are knocked at every ``GAP_SECONDS``; those that a page lists further down come after them.
All of them share ``MOST_A_SECOND``, so that a thousand listed servers cost no more than a hundred.
"""

from __future__ import annotations

import asyncio
import heapq
import math
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING, Final, Protocol

from app.services.core.errors import EndpointRefused
from app.services.core.types import HealthStatus
from app.services.dataplane.connect_failures import ConnectFailed, ConnectFailure
from app.services.pulse import SystemClock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from app.services.core.types import Endpoint
    from app.services.prober_interface import ProbeTarget, Spawns
    from app.services.pulse import Clock

__all__ = [
    "GAP_SECONDS",
    "IN_VIEW_SECONDS",
    "LISTED_SECONDS",
    "MOST_A_SECOND",
    "MOST_VIEWS_OF_ONE",
    "Dials",
    "Hanger",
    "Knocks",
]

GAP_SECONDS: Final = 0.75
"""Between two knocks at one server."""
MOST_A_SECOND: Final = 100
"""Knocks at all servers together: about 1.3 % of a processor core (devlog, the dashboard)."""
PATIENCE_SECONDS: Final = 1.0
"""How long a knock waits for an answer."""
LISTED_SECONDS: Final = 3.0
"""How long a server counts as looked at. Pages that list servers say so once a second."""
IN_VIEW_SECONDS: Final = 600.0
"""How long a server counts as in view of a page that lists it. Pages say so when that changes, and at no other time."""
MOST_VIEWS: Final = 200
"""Pages whose views are known; the one that changed longest ago is forgotten first."""
MOST_VIEWS_OF_ONE: Final = 20
"""So many pages of one viewer count: nobody puts out everybody else's."""
_TURN_SECONDS: Final = 0.1
_FIRST: Final = -math.inf


class Dials(Protocol):
    """Opens connections; ``dataplane.link.Link`` is the one."""

    async def dial(self, endpoint: Endpoint, protocol_factory: Callable[[], Hanger], /) -> Hanger:
        """Connect.

        Raises:
            EndpointRefused: the address may not be dialled.
            ConnectFailed: no connection came about.
        """


class Hanger(asyncio.Protocol):
    """A connection that is closed as soon as it stands."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Hang up."""
        transport.close()


class Found(Enum):
    """What a knock found."""

    NOTHING = auto()
    """That says nothing of the server: none was made, or the gateway's own machine is at fault."""
    OPEN = auto()
    REFUSED = auto()
    SILENT = auto()
    """No connection, for another reason than that it is refused."""


_BY_FAILURE: Final = {ConnectFailure.OWN: Found.NOTHING, ConnectFailure.REFUSED: Found.REFUSED}
_AWAY: Final = frozenset({Found.REFUSED, Found.SILENT})


@dataclass(slots=True)
class _Watched:
    """One server that somebody looks at, and what the last knock found. Times are monotonic seconds."""

    until: float = _FIRST
    knocked_at: float = _FIRST
    is_asked: bool = False
    found: Found = Found.NOTHING


class Knocks:
    """Knocks at the servers that are looked at.

    Args:
        link: dials, so that each address is judged.
        tasks: starts the tasks that the knocks run in.
        targets: hands out the servers by id.
        status: what the checks found of a server, by its id.
        check_soon: called with the id of a server that is to be checked at once.
        clock: time, and waiting in it.
    """

    __slots__ = (
        "_check_soon",
        "_clock",
        "_link",
        "_never",
        "_status",
        "_targets",
        "_tasks",
        "_views",
        "_wake",
        "_watched",
    )

    def __init__(
        self,
        link: Dials,
        tasks: Spawns,
        *,
        targets: Callable[[], Mapping[str, ProbeTarget]],
        status: Callable[[str], HealthStatus],
        check_soon: Callable[[str], None],
        clock: Clock | None = None,
    ) -> None:
        self._link, self._tasks = link, tasks
        self._targets, self._status, self._check_soon = targets, status, check_soon
        self._clock = clock or SystemClock()
        self._watched: dict[str, _Watched] = {}
        self._views: dict[tuple[str, str], tuple[float, frozenset[str]]] = {}
        self._wake, self._never = asyncio.Event(), asyncio.Event()

    def listed(self, server_ids: Iterable[str]) -> None:
        """Somebody has a page open that lists these servers. To be called about once a second."""
        until = self._clock.monotonic() + LISTED_SECONDS
        for server_id in server_ids:
            self._watch(server_id).until = until
        self._wake.set()

    def in_view(self, viewer: str, page: str, server_ids: Iterable[str]) -> None:
        """Somebody has these servers before their eyes, and no others on this page any more: they come first."""
        self._views.pop((viewer, page), None)
        own = [view for view in self._views if view[0] == viewer]
        if len(own) >= MOST_VIEWS_OF_ONE:
            del self._views[own[0]]
        self._views[viewer, page] = (self._clock.monotonic() + IN_VIEW_SECONDS, frozenset(server_ids))
        if len(self._views) > MOST_VIEWS:
            del self._views[next(iter(self._views))]

    def is_watched(self, server_id: str) -> bool:
        """Whether somebody looks at a server now."""
        watched = self._watched.get(server_id)
        return watched is not None and watched.until > self._clock.monotonic()

    async def run(self) -> None:
        """Knock for as long as somebody looks, until cancelled."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            for server_id in self._turn(now):
                self._tasks.spawn(self._knock(server_id), name=f"knock at server {server_id}")
            if self._watched:
                await self._clock.wait(self._never, _TURN_SECONDS)
            else:
                await self._wake.wait()

    def _watch(self, server_id: str) -> _Watched:
        watched = self._watched.get(server_id)
        if watched is None:
            watched = self._watched[server_id] = _Watched()
        return watched

    def _viewed(self, now: float) -> frozenset[str]:
        """Return the servers in view, and forget the views that are too old."""
        self._views = {page: view for page, view in self._views.items() if view[0] > now}
        return frozenset().union(*(seen for _, seen in self._views.values()))

    def _turn(self, now: float) -> list[str]:
        """Forget whom nobody looks at any more, and choose who is knocked at now: in view first, then longest ago."""
        targets = self._targets()
        self._watched = {
            server_id: watched
            for server_id, watched in self._watched.items()
            if watched.until > now and server_id in targets
        }
        viewed = self._viewed(now)
        due = [
            (server_id not in viewed, watched.knocked_at, server_id)
            for server_id, watched in self._watched.items()
            if not watched.is_asked and now - watched.knocked_at >= GAP_SECONDS
        ]
        return [server_id for _, _, server_id in heapq.nsmallest(round(MOST_A_SECOND * _TURN_SECONDS), due)]

    async def _knock(self, server_id: str) -> None:
        """Knock once, and have the server checked if what is found is news."""
        watched, target = self._watched.get(server_id), self._targets().get(server_id)
        if watched is None or target is None:
            return
        watched.is_asked, watched.knocked_at = True, self._clock.monotonic()
        try:
            found = await self._ask(target.endpoint)
        finally:
            watched.is_asked = False
        before, watched.found = watched.found, found
        is_lost = found is Found.REFUSED or (found is Found.SILENT and before is not Found.SILENT)
        is_back = found is Found.OPEN and before in _AWAY
        if is_back or (is_lost and self._status(server_id) is HealthStatus.HEALTHY):
            self._check_soon(server_id)

    async def _ask(self, endpoint: Endpoint) -> Found:
        """Open a connection and close it."""
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                await self._link.dial(replace(endpoint, scheme="http"), Hanger)
        except EndpointRefused:
            return Found.NOTHING
        except ConnectFailed as error:
            return _BY_FAILURE.get(error.kind, Found.SILENT)
        except TimeoutError:
            return Found.SILENT
        return Found.OPEN
