"""What does it cost to knock at servers while a page lists them?

Time is a clock of this file's own: the next turn comes as soon as all knocks of the one before are over, so that a
second of knocks takes as long as it costs.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any, Final

from app.services.core.network.addresses import AddressPolicy
from app.services.core.types import Endpoint, HealthStatus
from app.services.dataplane.link import Link
from app.services.dataplane.resolver import SystemResolver
from app.services.knocks import MOST_A_SECOND, Knocks
from app.services.prober_interface import ProbeTarget
from app.utils.tasks import TaskKeeper
from bench.looks_timing import tell

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

_ROUNDS: Final = 5
_SECONDS: Final = 3
_CONNECT_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 60.0
_LOOPBACK: Final = "127.0.0.1"


async def knocks(count: int) -> None:
    """Measure and print."""
    few = min(count, MOST_A_SECOND)
    number, seconds = await _least(few)
    tell("a knock, with the side that listens in the same process (processor)", seconds / number * 1e6, "us")
    number, seconds = await _least(count)
    what = f"a second of them, {number / _SECONDS:.0f} knocks among {count:,} servers on a page (processor)"
    tell(what, seconds / _SECONDS * 1000, "ms")


async def _least(count: int) -> tuple[int, float]:
    """Return how many knocks there were in some seconds with so many servers listed, and the least processor time."""
    runs = [await _run([f"server-{number}" for number in range(count)]) for _round in range(_ROUNDS)]
    return min(runs, key=lambda run: run[1])


async def _run(ids: Sequence[str]) -> tuple[int, float]:
    """Return how many knocks there were in some seconds, and the processor time that they took."""
    closed = asyncio.Semaphore(0)
    listener = await asyncio.get_running_loop().create_server(lambda: _Door(closed), _LOOPBACK, 0)
    targets = dict.fromkeys(
        ids, ProbeTarget(Endpoint("http", _LOOPBACK, listener.sockets[0].getsockname()[1]), None, ())
    )
    policy = AddressPolicy(allowed_networks=(ip_network("127.0.0.0/8"),))
    link = Link(policy, SystemResolver(), connect_timeout_seconds=_CONNECT_SECONDS)
    hurry = _Hurry(closed)
    knocking = Knocks(
        link,
        hurry,
        targets=lambda: targets,
        status=lambda _server_id: HealthStatus.HEALTHY,
        check_soon=lambda _server_id: None,
        clock=hurry,
    )
    began = time.process_time()
    turning = hurry.keeper.spawn(knocking.run(), name="knock")
    for second in range(_SECONDS):
        knocking.listed(ids)
        await hurry.pass_until(second + 1)
    took = time.process_time() - began
    turning.cancel()
    await hurry.keeper.close()
    listener.close()
    await listener.wait_closed()
    return hurry.knocked, took


class _Door(asyncio.Protocol):
    """The side that listens: it takes a connection, says nothing, and tells when that is closed."""

    def __init__(self, closed: asyncio.Semaphore) -> None:
        self._closed = closed

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell."""
        self._closed.release()


class _Hurry:
    """A clock that stands while knocks are under way and jumps when they are over; it starts them too.

    Args:
        closed: released for each connection that the listener saw closed.
    """

    def __init__(self, closed: asyncio.Semaphore) -> None:
        self.keeper = TaskKeeper()
        self.knocked = 0
        self._closed = closed
        self._under_way = 0
        self._moment = self._until = 0.0
        self._go, self._is_there = asyncio.Event(), asyncio.Event()

    def spawn(self, coroutine: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[object]:
        """Start a knock."""
        self.knocked += 1
        self._under_way += 1
        return self.keeper.spawn(coroutine, name=name)

    def monotonic(self) -> float:
        """Return the seconds that have passed."""
        return self._moment

    def now(self) -> datetime:
        """Return the date and time."""
        return datetime.now(UTC)

    async def wait(self, _event: asyncio.Event, timeout_seconds: float) -> None:
        """Let the time pass as soon as all connections are closed."""
        while self._under_way:
            await self._closed.acquire()
            self._under_way -= 1
        self._moment = round(self._moment + timeout_seconds, 6)
        if self._moment >= self._until:
            self._is_there.set()
            self._go.clear()
            await self._go.wait()

    async def pass_until(self, moment: float) -> None:
        """Wait until it is so late.

        Raises:
            TimeoutError: a knock came to nothing.
        """
        self._until = moment
        self._is_there.clear()
        self._go.set()
        async with asyncio.timeout(_PATIENCE_SECONDS):
            await self._is_there.wait()
