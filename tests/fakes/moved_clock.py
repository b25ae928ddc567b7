"""A clock that stands still until a test moves it, and whoever waits in its time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

__all__ = ["NOON", "MovedClock", "settle"]

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BEGIN = 1000.0


async def settle() -> None:
    """Let everything happen that can happen without time passing."""
    for _ in range(200):
        await asyncio.sleep(0)


class MovedClock:
    """A ``pulse.Clock``. It begins at ``NOON``."""

    def __init__(self) -> None:
        self.seconds = BEGIN
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds - BEGIN)

    async def wait(self, event: asyncio.Event, timeout_seconds: float) -> None:
        over = asyncio.Event()
        self._sleepers.append((self.seconds + timeout_seconds, over))
        waits = [asyncio.ensure_future(event.wait()), asyncio.ensure_future(over.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for waiting in waits:
                waiting.cancel()
            self._sleepers = [sleeper for sleeper in self._sleepers if sleeper[1] is not over]

    async def advance(self, seconds: float) -> None:
        """Let time pass, stopping wherever somebody wants to be woken."""
        await settle()
        target = self.seconds + seconds
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= target]:
            first = min(due, key=lambda sleeper: sleeper[0])
            self._sleepers.remove(first)
            self.seconds = max(self.seconds, first[0])
            first[1].set()
            await settle()
        self.seconds = target
        await settle()
