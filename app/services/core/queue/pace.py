"""How fast does a queue move of late, and how long will one wait who stands at this place in it?"""

from __future__ import annotations

import math
from typing import Final

__all__ = ["LONGEST_WAIT_SECONDS", "Pace"]

LONGEST_WAIT_SECONDS: Final = 60
"""Nobody is told to stay away for longer: places may come free that nobody knows of yet."""
_HALF_LIFE_SECONDS: Final = 30.0
_TELLING_SECONDS: Final = 1.0
"""A queue that began sooner has not shown yet how fast it moves."""


class Pace:
    """Places that were found, and the time in which somebody waited for one. Both fade.

    Args:
        now: monotonic seconds; None where nobody has told the time yet.
    """

    __slots__ = ("_found", "_seconds", "_seen_at")

    def __init__(self, now: float | None) -> None:
        self._found = self._seconds = 0.0
        self._seen_at = now

    def found(self) -> None:
        """One that waited has found a place."""
        self._found += 1.0

    def turn(self, now: float, *, somebody_waits: bool) -> None:
        """Let time pass, in which somebody waited or not. ``now`` in monotonic seconds."""
        passed = 0.0 if self._seen_at is None else max(now - self._seen_at, 0.0)
        self._seen_at = now
        fading = 2.0 ** (-passed / _HALF_LIFE_SECONDS)
        self._found *= fading
        self._seconds = self._seconds * fading + (passed if somebody_waits else 0.0)

    @property
    def is_forgotten(self) -> bool:
        """Whether nothing is left that could tell anything."""
        return self._seconds < _TELLING_SECONDS and self._found < 0.5

    def wait_seconds(self, position: int) -> int | None:
        """How long the wait is at a position, 1 being the next: whole seconds, 1 to 60; None where nothing is known.

        Where no place came free in all the time, it is taken that one comes in as long again.
        """
        if self.is_forgotten:
            return None
        seconds = max(position, 1) * self._seconds / max(self._found, 1.0)
        return min(max(math.ceil(seconds), 1), LONGEST_WAIT_SECONDS)
