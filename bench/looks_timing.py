"""How long does a part of a page take, and for how long does it hold up everything else?"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["EACH_TURN", "TIMER_SECONDS", "least_beside_the_loop", "least_milliseconds", "tell"]

ROUNDS: Final = 10
EACH_TURN: Final = 0.0
"""Looks at each turn of the event loop: for what runs in the loop itself."""
TIMER_SECONDS: Final = 0.001
"""Looks at a timer: for what runs in a thread, which a loop without rest would hold up. Timers are good to a
millisecond, so a loop that nothing holds up is late by up to that."""


def tell(what: str, figure: float, unit: str) -> None:
    """Print a figure."""
    print(f"{what:76} {figure:>10,.2f} {unit}", flush=True)


def least_milliseconds(
    call: Callable[[], object], before: Callable[[], object] = lambda: None, rounds: int = ROUNDS
) -> float:
    """Return the milliseconds of the fastest of some calls.

    Args:
        call: what is measured.
        before: called before each of them; its time is not counted.
        rounds: how many calls.
    """
    best = float("inf")
    for _round in range(rounds):
        before()
        began = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - began)
    return best * 1000


async def least_beside_the_loop(
    call: Callable[[], Awaitable[object]], look_seconds: float, rounds: int
) -> tuple[float, float]:
    """Return the milliseconds of the fastest of some calls, and for how many at most one held up the loop.

    The latter is the longest stretch of each call, and of all calls the least of that.

    Args:
        call: what is measured.
        look_seconds: ``EACH_TURN`` or ``TIMER_SECONDS``.
        rounds: how many calls.
    """
    took, held = float("inf"), float("inf")
    for _round in range(rounds):
        watch = _Watch(look_seconds)
        watching = asyncio.create_task(watch.run(), name="watch the loop")
        await asyncio.sleep(0)
        began = time.perf_counter()
        await call()
        took = min(took, time.perf_counter() - began)
        watch.is_over = True
        await watching
        held = min(held, watch.longest_seconds)
    return took * 1000, held * 1000


class _Watch:
    """Finds the longest stretch of time in which nothing else had a turn in the loop."""

    __slots__ = ("_look_seconds", "is_over", "longest_seconds")

    def __init__(self, look_seconds: float) -> None:
        self._look_seconds = look_seconds
        self.is_over = False
        self.longest_seconds = 0.0

    async def run(self) -> None:
        """Look until it is over."""
        before = time.perf_counter()
        while not self.is_over:
            await asyncio.sleep(self._look_seconds)
            now = time.perf_counter()
            self.longest_seconds = max(self.longest_seconds, now - before - self._look_seconds)
            before = now
