"""When is a server that refused our key given another chance?

A server that answers requests with 401 or 403 takes no work, although its list of models may be public and its checks
pass. Its chance comes after 60 s, doubling to 300 s while it goes on refusing, so that one whose key was put right at
the far end comes back by itself; at once when its owner asks for it. The chance is the next good check.

What was sent before it was trusted again does not count against it: requests with the old key may still be answered
while the new one is in force.

All times are seconds of one monotonic clock, handed in by the caller, so that a wall clock that jumps moves nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

__all__ = ["FIRST_PAUSE_SECONDS", "LONGEST_PAUSE_SECONDS", "Rejections"]

FIRST_PAUSE_SECONDS: Final = 60.0
LONGEST_PAUSE_SECONDS: Final = 300.0
"""Also how long a server has to serve well until its next pause is a first one again."""


@dataclass(slots=True)
class _Standing:
    """How one server stands: its last pause, when its chance comes or came, since when it is trusted."""

    pause_seconds: float = 0.0
    chance_at: float = -math.inf
    trusted_since: float = -math.inf


class Rejections:
    """The servers that refused our key, by id."""

    __slots__ = ("_standings",)

    def __init__(self) -> None:
        self._standings: dict[str, _Standing] = {}

    def reject(self, server_id: str, now: float, asked_at: float) -> bool:
        """Take in a refusal.

        Args:
            server_id: who refused.
            now: the present moment.
            asked_at: when the request was sent.

        Returns:
            Whether it counts; one that was asked before the server was trusted again does not.
        """
        standing = self._standings.setdefault(server_id, _Standing())
        if asked_at < standing.trusted_since:
            return False
        is_anew = now >= standing.trusted_since + LONGEST_PAUSE_SECONDS
        doubled = FIRST_PAUSE_SECONDS if is_anew else max(FIRST_PAUSE_SECONDS, 2 * standing.pause_seconds)
        standing.pause_seconds = min(doubled, LONGEST_PAUSE_SECONDS)
        standing.chance_at = now + standing.pause_seconds
        return True

    def has_chance(self, server_id: str, now: float) -> bool:
        """Whether the next good check opens the server; true for one that never refused."""
        standing = self._standings.get(server_id)
        return standing is None or now >= standing.chance_at

    def pardon(self, server_id: str, now: float) -> None:
        """Give a server its chance at once, and a short pause the next time: its owner says that it is mended."""
        standing = self._standings.get(server_id)
        if standing is not None:
            standing.pause_seconds, standing.chance_at = 0.0, now

    def opened(self, server_id: str, now: float) -> None:
        """A good check has opened the server: it is trusted from now on."""
        self._standings.setdefault(server_id, _Standing()).trusted_since = now

    def renewed(self, server_id: str, now: float) -> None:
        """The server was described and examined anew: what it refused before says nothing any more."""
        self._standings[server_id] = _Standing(trusted_since=now)

    def forget(self, server_id: str) -> None:
        """Drop what is known of a server that was removed."""
        self._standings.pop(server_id, None)
