"""How busy and how well are the servers, live?

The board is the mutable twin of the snapshot: one lane per server (``core.live.lanes``). The choice of a server reads
it. What it writes itself is where a model that is in no memory is being loaded, for the next request to be sent there
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from app.services.core.live.lanes import GAP_BOUNDS_SECONDS, RAMP_LEAST, RAMP_SECONDS, SUSPICION_GAPS, Lane
from app.services.core.live.residence import Residence

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.live.loading import Loading
    from app.services.core.types import Server

__all__ = ["GAP_BOUNDS_SECONDS", "RAMP_LEAST", "RAMP_SECONDS", "SUSPICION_GAPS", "Board", "Lane"]

_MOST_GATHERED: Final = 4096
_TELLING: Final = frozenset(("ollama", "lmstudio"))
"""Engines that tell what is in memory. What looks like one of them and does not may have room for all its models."""


class Board:
    """All lanes by server id; ``gathered`` holds for a model the server that was last sent a request to load it."""

    __slots__ = ("gathered", "lanes")

    def __init__(self) -> None:
        self.lanes: dict[str, Lane] = {}
        self.gathered: dict[str, str] = {}

    def lane(self, server_id: str) -> Lane:
        """The lane of a server, made when first asked for."""
        lane = self.lanes.get(server_id)
        if lane is None:
            lane = self.lanes[server_id] = Lane()
        return lane

    def in_flight(self, server_id: str) -> int:
        """How many requests run on a server now."""
        lane = self.lanes.get(server_id)
        return lane.in_flight if lane else 0

    def loading(self, server_id: str) -> tuple[Loading, ...]:
        """Which models a server loads now, for requests that wait."""
        lane = self.lanes.get(server_id)
        return () if lane is None or lane.residence is None else lane.residence.loading()

    def gather(self, model: str, server_id: str) -> None:
        """Note where a model is being loaded."""
        if len(self.gathered) >= _MOST_GATHERED:
            self.gathered.clear()
        self.gathered[model] = server_id

    def keep(self, servers: Mapping[str, Server]) -> None:
        """Forget servers that are gone, once nothing runs on them, and learn which ones swap models."""
        for server_id in [known for known in self.lanes if known not in servers]:
            if self.lanes[server_id].in_flight == 0:
                del self.lanes[server_id]
        for server in servers.values():
            swaps = server.swaps_models and (server.loaded is not None or server.engine not in _TELLING)
            lane = self.lane(server.id) if swaps else self.lanes.get(server.id)
            if lane is not None and swaps is not (lane.residence is not None):
                lane.swaps(_residence(server) if swaps else None)


def _residence(server: Server) -> Residence:
    """The memory of a server, with what it is known to hold."""
    residence = Residence()
    if server.loaded is not None:
        residence.told(server.loaded, 0.0)  # nothing is older than it, whatever the time
    return residence
