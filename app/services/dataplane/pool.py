"""Which warm connection is taken, and which is stale?

One destination per server: the newest idle connection is taken first, so that those not needed grow old and are
closed. They are given up a little earlier than servers give them up (uvicorn, and so vLLM: 5 s), because a request
written into a connection that the server is closing has to be dialled anew.
"""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING
from weakref import WeakSet

from app.services.dataplane.upstream import Upstream
from app.services.dataplane.wire import post_head

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.types import Server

__all__ = ["Destination", "Pool"]

MAX_IDLE = 256


class Destination:
    """What is needed to send requests to one server: its idle connections and the heads written so far."""

    __slots__ = ("_heads", "_made", "idle", "on_idle_lost", "retired", "server")

    def __init__(self, server: Server, on_idle_lost: Callable[[str], None]) -> None:
        self.server = server
        self.on_idle_lost = on_idle_lost
        self.idle: list[Upstream] = []
        self._made: WeakSet[Upstream] = WeakSet()
        self.retired = False
        self._heads: dict[str, bytes] = {}

    def head(self, path: str) -> bytes:
        """The head of a POST to this server, up to the request id."""
        head = self._heads.get(path)
        if head is None:
            head = self._heads[path] = post_head(self.server.endpoint, path, self.server.api_key)
        return head

    def update(self, server: Server) -> None:
        """Take over changed details of the same endpoint."""
        if server.api_key != self.server.api_key:
            self._heads.clear()
        self.server = server

    def connection(self) -> Upstream:
        """A new, unconnected protocol: what the dial asks for."""
        upstream = Upstream(self._freed)
        self._made.add(upstream)
        return upstream

    @property
    def open(self) -> int:
        """How many connections are open, idle ones included. Counted when asked: nothing is kept for it."""
        return sum(1 for upstream in self._made if upstream.is_open)

    def take(self) -> Upstream | None:
        """The newest idle connection that is still open."""
        while self.idle:
            upstream = self.idle.pop()
            if upstream.usable:
                upstream.reused = True
                return upstream
        return None

    def retire(self) -> None:
        """Close the idle connections now and the others after their answers."""
        self.retired = True
        self.close_idle()

    def close_idle(self) -> None:
        """Close every idle connection."""
        idle, self.idle = self.idle, []
        for upstream in idle:
            upstream.abort()

    def _freed(self, upstream: Upstream, reusable: bool) -> None:  # noqa: FBT001 - a callback of Upstream
        if reusable and not self.retired and len(self.idle) < MAX_IDLE:
            upstream.idle_ticks = 0
            self.idle.append(upstream)
        elif reusable:
            upstream.abort()
        elif upstream in self.idle:
            self.idle.remove(upstream)
            self.on_idle_lost(self.server.id)


class Pool:
    """All destinations by server id."""

    def __init__(self, keepalive_ticks: int, on_idle_lost: Callable[[str], None]) -> None:
        """Args: keepalive_ticks: how long idle connections are kept; on_idle_lost: told which server closed one."""
        self._keepalive_ticks = keepalive_ticks
        self._on_idle_lost = on_idle_lost
        self._destinations: dict[str, Destination] = {}

    def destination(self, server: Server) -> Destination:
        """The destination of a server, made when first asked for."""
        known = self._destinations.get(server.id)
        if known is None:
            known = self._destinations[server.id] = Destination(server, self._on_idle_lost)
        return known

    def install(self, snapshot: Snapshot) -> None:
        """Follow the registry: forget servers that are gone, and connections to endpoints that moved."""
        for server_id, known in list(self._destinations.items()):
            server = snapshot.servers.get(server_id)
            if server is not None and server.endpoint == known.server.endpoint:
                known.update(server)
            else:
                del self._destinations[server_id]
                known.retire()

    def tick(self) -> None:
        """Grow older by one tick; close idle connections that are past their time."""
        for destination in self._destinations.values():
            stale = 0
            for upstream in destination.idle:
                upstream.idle_ticks += 1
                stale += upstream.idle_ticks > self._keepalive_ticks
            if stale:  # the oldest stand first
                old, destination.idle = destination.idle[:stale], destination.idle[stale:]
                for upstream in old:
                    upstream.abort()

    def close(self) -> None:
        """Close every idle connection; running ones end with their exchanges."""
        destinations, self._destinations = self._destinations, {}
        for destination in destinations.values():
            destination.retire()

    @property
    def idle_connections(self) -> int:
        """How many warm connections are held."""
        return sum(1 for _upstream in chain.from_iterable(known.idle for known in self._destinations.values()))

    def connections(self) -> Iterator[tuple[str, int, int]]:
        """For each server its id, its idle connections and all that are open."""
        for server_id, destination in self._destinations.items():
            yield server_id, len(destination.idle), destination.open
