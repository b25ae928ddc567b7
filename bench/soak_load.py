"""Who comes to the gateway in a soak, when, and how do they fare? Arrivals at random, at a given rate."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from typing import TYPE_CHECKING

from bench.soak_answers import Plan
from bench.soak_visit import Departure, End, Visit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Load"]

MOST_OPEN = 2000
"""Arrivals beyond this many open visits are passed over and counted: the machine is too slow for the rate."""
_SHOWN_WRONGS = 5
_LAST_WAIT_SECONDS = 30.0
_Kind = tuple[Departure, Plan]
KINDS: tuple[tuple[int, _Kind], ...] = (
    (24, (Departure.AT_THE_END, Plan(events=40, gap_ms=10))),
    (16, (Departure.AT_THE_END, Plan(events=20))),
    (14, (Departure.AT_THE_END, Plan(stream=0, size_bytes=800, delay_ms=20))),
    (2, (Departure.AT_THE_END, Plan(stream=0, size_bytes=1_000_000))),
    (8, (Departure.AT_THE_END, Plan(events=30, gap_ms=5, fragile=1))),
    (4, (Departure.AT_THE_END, Plan(stream=0, size_bytes=4000, fragile=1))),
    (4, (Departure.IN_THE_HEAD, Plan())),
    (4, (Departure.IN_THE_BODY, Plan())),
    (5, (Departure.BEFORE_AN_ANSWER, Plan(delay_ms=300))),
    (4, (Departure.BEFORE_AN_ANSWER, Plan(stream=0, delay_ms=300))),
    (9, (Departure.IN_THE_ANSWER, Plan(events=100, gap_ms=5))),
    (2, (Departure.IN_THE_ANSWER, Plan(stream=0, size_bytes=3_000_000))),
    (2, (Departure.BEFORE_AN_ANSWER, Plan(stream=0, size_bytes=3_000_000))),
    (2, (Departure.UNREAD, Plan(events=3000))),
)
"""Who comes, with weights: the last five kinds and the two before them leave early."""


class Load:
    """Visits that arrive at random. ``ends`` counts how they ended, ``left`` where those went that left early."""

    def __init__(self, port: int, key: str, seed: int, kinds: tuple[tuple[int, _Kind], ...] = KINDS) -> None:
        self._port = port
        self._key = key
        self._chance = random.Random(seed)
        self._kinds = [kind for _weight, kind in kinds]
        self._weights = [weight for weight, _kind in kinds]
        self._visits: set[Visit] = set()
        self._arriving: set[asyncio.Task[None]] = set()
        self._fewer = asyncio.Event()
        self.ends: Counter[End] = Counter()
        self.left: Counter[Departure] = Counter()
        self.passed_over = 0
        self.wrongs: list[str] = []
        """What was wrong with the first answers that were."""

    @property
    def open_visits(self) -> int:
        """How many clients are there now."""
        return len(self._visits) + len(self._arriving)

    @property
    def total(self) -> int:
        """How many visits have ended."""
        return self.ends.total()

    async def run(self, rate_per_second: float, seconds: float, on_second: Callable[[float], None]) -> None:
        """Let clients arrive for so long; then wait until the last has gone. ``on_second``: told the time passed."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        due, told = started, 0
        while (now := loop.time()) < started + seconds:
            while due <= now:
                self._arrive()
                due += self._chance.expovariate(rate_per_second)
            if now - started >= told:
                on_second(now - started)
                told += 1
            await asyncio.sleep(max(0.0, min(due, started + told) - loop.time()))
        await self._last_ones()

    def _arrive(self) -> None:
        if self.open_visits >= MOST_OPEN:
            self.passed_over += 1
            return
        departure, plan = self._chance.choices(self._kinds, self._weights)[0]
        patience_seconds = self._chance.expovariate(1 / 0.05)
        visit = Visit(plan, self._key, departure, min(patience_seconds, 0.25), self._ended)
        task = asyncio.create_task(self._open(visit))
        self._arriving.add(task)
        task.add_done_callback(self._arrived)

    def _arrived(self, task: asyncio.Task[None]) -> None:
        self._arriving.discard(task)
        self._fewer.set()

    async def _open(self, visit: Visit) -> None:
        self._visits.add(visit)
        try:
            await asyncio.get_running_loop().create_connection(lambda: visit, "127.0.0.1", self._port)
        except OSError as error:
            self._ended(visit, End.WRONG, f"the gateway could not be reached: {error}")

    def _ended(self, visit: Visit, end: End, wrong: str) -> None:
        self._visits.discard(visit)
        self._fewer.set()
        self.ends[end] += 1
        if end is End.LEFT:
            self.left[visit.departure] += 1
        if end is End.WRONG and len(self.wrongs) < _SHOWN_WRONGS:
            self.wrongs.append(wrong)

    async def _last_ones(self) -> None:
        """Wait for those who are still there; who then gets no answer is one that was wronged."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_WAIT_SECONDS):
                while self.open_visits:
                    self._fewer.clear()
                    await self._fewer.wait()
        for visit in list(self._visits):
            visit.give_up()
