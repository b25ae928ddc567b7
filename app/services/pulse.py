"""What time is it, and does the event loop keep up with it?"""

from __future__ import annotations

import asyncio
import math
import time
from bisect import bisect_left
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Protocol

__all__ = ["LATENESS_BOUNDS_SECONDS", "Clock", "Lateness", "LoopLag", "SystemClock"]

LATE_SECONDS: Final = 0.1
"""Lateness up to this is everyday business: a garbage collection, a burst of traffic."""

LATENESS_BOUNDS_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""Upper bounds of the buckets of ``Lateness``; timers of uvloop are good to a millisecond."""


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


class Lateness:
    """How late the event loop came to a timer that turns for ever, for the operator to see.

    A loop that is held up by anything, a long computation or a blocking call, comes late to all that it does: what is
    seen here is added to every request of that moment.
    """

    __slots__ = ("counts", "seconds_total")

    def __init__(self) -> None:
        self.counts = [0] * (len(LATENESS_BOUNDS_SECONDS) + 1)
        self.seconds_total = 0.0

    def turned(self, due: float, now: float) -> None:
        """Note a turn that was due at one monotonic time and came at another."""
        late = max(0.0, now - due)
        self.counts[bisect_left(LATENESS_BOUNDS_SECONDS, late)] += 1
        self.seconds_total += late
