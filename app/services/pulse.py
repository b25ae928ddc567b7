"""What time is it, and does the event loop keep up with it?"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["Clock", "LoopLag", "SystemClock"]

LATE_SECONDS: Final = 0.1
"""Lateness up to this is everyday business: a garbage collection, a burst of traffic."""


class Clock(Protocol):
    """Time, and waiting in it, so that tests can put a clock of their own in its place."""

    def monotonic(self) -> float:
        """Return seconds that never jump; for schedules."""

    def now(self) -> datetime:
        """Return the date and time, aware, in UTC; for people."""

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        """Return when the event is set, or when the time is over."""


class SystemClock:
    """The machine's own time."""

    def monotonic(self) -> float:
        """Return seconds that never jump; for schedules."""
        return time.monotonic()

    def now(self) -> datetime:
        """Return the date and time, aware, in UTC; for people."""
        return datetime.now(UTC)

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        """Return when the event is set, or when the time is over."""
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_seconds):
                await event.wait()


class LoopLag:
    """How long the event loop was blocked, measured by a loop that says beforehand when it will be back.

    Lateness counts from 100 ms on. The time is the monotonic clock's.
    """

    def __init__(self) -> None:
        self._expected = math.inf
        self._blocked_seconds = 0.0

    def expect(self, at: float) -> None:
        """Announce the next tick."""
        self._expected = at

    def tick(self, now: float) -> None:
        """Take note of how late this tick is."""
        self._blocked_seconds = self.blocked_seconds(now)
        self._expected = math.inf

    def blocked_seconds(self, now: float) -> float:
        """Return all the seconds that the loop was blocked so far, one block that has just ended included."""
        late = now - self._expected
        return self._blocked_seconds + (late if late >= LATE_SECONDS else 0.0)
