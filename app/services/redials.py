"""Which of the servers that requests wait for is looked at now?

Each of them every 250 ms, until it is back. A look may hang, on a machine whose lid is closed say, while the server is
back already: after a second the next look begins beside it, and the fifth takes the place of the first. So a look has
up to four seconds to be answered, and no hanging one holds the next back for longer than one.

All together hold a bounded number of places. When they are all taken, a server that has no look under way takes the
place of the oldest one that has had its second; those that have waited longest come first.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

__all__ = ["GAP_SECONDS", "MOST_BESIDE", "PATIENCE_SECONDS", "Redials"]

GAP_SECONDS: Final = 0.25
PATIENCE_SECONDS: Final = 1.0
"""How long a look is waited for before another one begins."""
MOST_BESIDE: Final = 4
"""Looks at one server that may be under way."""
_MEMORY_SECONDS: Final = 60.0
"""How long it is remembered when a server had its turn."""


@dataclass(slots=True)
class _Server:
    """The looks at one server, oldest first, and when the last began."""

    started_at: float = -math.inf
    looks: list[asyncio.Task[None]] = field(default_factory=list)


class Redials:
    """The looks at servers that somebody waits for. Times are seconds of one monotonic clock.

    Args:
        places: how many looks may be under way, all together.
        start: begins a look at a server.
    """

    __slots__ = ("_places", "_servers", "_start", "_under_way")

    def __init__(self, places: int, start: Callable[[str], asyncio.Task[None]]) -> None:
        self._places = places
        self._start = start
        self._servers: dict[str, _Server] = {}
        self._under_way: dict[asyncio.Task[None], tuple[str, float]] = {}

    def ask(self, server_ids: Iterable[str], now: float) -> None:
        """Look at those of the servers whose turn it is."""
        self._forget(now)
        servers = {server_id: self._servers.setdefault(server_id, _Server()) for server_id in server_ids}
        for server_id in sorted(servers, key=lambda name: servers[name].started_at):
            server = servers[server_id]
            if self._is_due(server, now) and self._makes_room(server, now):
                self._begin(server_id, server, now)

    def _is_due(self, server: _Server, now: float) -> bool:
        return now - server.started_at >= (PATIENCE_SECONDS if server.looks else GAP_SECONDS)

    def _makes_room(self, server: _Server, now: float) -> bool:
        """Whether there is a place, be it another look's."""
        if len(server.looks) >= MOST_BESIDE:
            self._end(server.looks[0])
        if len(self._under_way) < self._places:
            return True
        oldest, (_, started_at) = next(iter(self._under_way.items()))
        if server.looks or now - started_at < PATIENCE_SECONDS:
            return False
        self._end(oldest)
        return True

    def _begin(self, server_id: str, server: _Server, now: float) -> None:
        look = self._start(server_id)
        server.started_at = now
        server.looks.append(look)
        self._under_way[look] = (server_id, now)
        look.add_done_callback(self._ended)

    def _end(self, look: asyncio.Task[None]) -> None:
        look.cancel()
        self._ended(look)

    def _ended(self, look: asyncio.Task[None]) -> None:
        if look in self._under_way:
            server_id, _ = self._under_way.pop(look)
            self._servers[server_id].looks.remove(look)

    def _forget(self, now: float) -> None:
        old = [
            server_id
            for server_id, server in self._servers.items()
            if not server.looks and now - server.started_at > _MEMORY_SECONDS
        ]
        for server_id in old:
            del self._servers[server_id]
