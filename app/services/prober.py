"""Who is checked when? The background watch over all registered servers.

Every server has a due time of its own (``agenda``), and nobody waits for anybody else's check. Paused and blocked
servers are checked too, so that their state is right when they come back.

Three things bring a check forward: a request that could not connect (``check_soon``), a person (``check_now``), and
the table in ``core.health`` while a state is changing.

A check that failed while the event loop itself was blocked says nothing of the server: it is repeated, not counted.
What was found is dropped if the server was removed or changed while the check ran.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from random import random
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeVar

from app.services.agenda import Agenda, Slot
from app.services.core.errors import GatewayError, NotFound
from app.services.core.health import Cadence, next_check_in_seconds
from app.services.core.types import CheckFailure, HealthStatus
from app.services.pulse import LoopLag, SystemClock
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
    from datetime import datetime

    from app.services.core.health import HealthState
    from app.services.core.types import DiscoveredModel, Endpoint, Inspection
    from app.services.pulse import Clock

__all__ = ["Looks", "Pace", "ProbeTarget", "Prober", "Records", "Spawns"]

FLUSH_INTERVAL_SECONDS: Final = 1.0
TICK_SECONDS: Final = 0.1
"""How often the loop's lag is measured while checks are running."""
MAX_REPEATS: Final = 2
"""How often a check is repeated because the event loop was blocked; then it counts."""

Result = TypeVar("Result")

logger = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ProbeTarget:
    """What the prober needs to know of a server.

    ``expected`` holds the upstream names that it is registered for. A server that ``discovers`` was registered without
    a list of models: it follows what it lists. ``engine`` is what was identified at its registration.
    """

    endpoint: Endpoint
    api_key: str | None = field(repr=False)
    expected: tuple[str, ...]
    engine: str = "unknown"
    discovers: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How often servers are checked, and how many at a time."""

    cadence: Cadence = field(default_factory=Cadence)
    concurrency: int = 64


class Looks(Protocol):
    """Looks at a server; ``inspector.Inspector`` is the one."""

    async def inspect(
        self, endpoint: Endpoint, api_key: str | None, expected: Sequence[str], *, engine: str | None = None
    ) -> Inspection:
        """Look once. Failures of the server are part of what is returned."""


class Records(Protocol):
    """Keeps what was found; ``registry.book.HealthBook`` is the one."""

    def state(self, server_id: str, /) -> HealthState:
        """Return what is known of a server."""

    def record(self, server_id: str, inspection: Inspection, now: datetime) -> None:
        """Take in what a check found."""

    async def flush(self) -> None:
        """Write to the database what changed."""


class Spawns(Protocol):
    """Starts tasks, keeps them, and logs their failures; ``utils.tasks`` has the one."""

    def spawn(self, coroutine: Coroutine[Any, Any, Result], *, name: str) -> asyncio.Task[Result]:
        """Start a task under a name."""


class Prober:
    """Checks all servers, for ever.

    Args:
        inspector: looks at one server.
        book: takes in what was found.
        tasks: starts the tasks that the checks run in.
        pace: how often, and how many at a time.
        targets: hands out the servers by id. Asked several times a second, so it should return the same mapping
            until something changes.
        on_models: called with id, models and engine when what a server lists is news, the first list after a start
            included. A ``GatewayError`` from it is logged, and the call is repeated after the next check.
        clock: time, and waiting in it.
        draw: draws evenly from [0, 1).
    """

    def __init__(
        self,
        inspector: Looks,
        book: Records,
        tasks: Spawns,
        pace: Pace,
        *,
        targets: Callable[[], Mapping[str, ProbeTarget]],
        on_models: Callable[[str, tuple[DiscoveredModel, ...], str], Awaitable[None]],
        clock: Clock | None = None,
        draw: Callable[[], float] = random,
    ) -> None:
        self._inspector = inspector
        self._book = book
        self._tasks = tasks
        self._cadence = pace.cadence
        self._targets = targets
        self._on_models = on_models
        self._clock = clock or SystemClock()
        self._draw = draw
        self._agenda = Agenda(pace.concurrency, self._is_down)
        self._adopted: Mapping[str, ProbeTarget] | None = None
        self._checks: dict[Slot, asyncio.Task[Inspection]] = {}
        self._listed: dict[str, tuple[tuple[DiscoveredModel, ...], str]] = {}
        self._lag = LoopLag()
        self._wake = asyncio.Event()
        self._flush_due = 0.0
        self._flush: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Check until cancelled. All servers are due at once at the start. The last flush is the caller's."""
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            self._lag.tick(now)
            self._adopt(now)
            for slot in self._agenda.take(now):
                self._spawn(slot)
            self._flush_when_due(now)
            until = min(self._flush_due, self._agenda.next_due, now + (TICK_SECONDS if self._agenda.is_busy else 1.0))
            self._lag.expect(until)
            await self._clock.wait(self._wake, max(0.0, until - now))

    def check_soon(self, server_id: str) -> None:
        """Check a server that a request could not reach: at once, but at most once a second."""
        if self._agenda.bring_forward(server_id, self._clock.monotonic()):
            self._wake.set()

    async def check_now(self, server_id: str) -> Inspection:
        """Check a server and return what was found; a check that is under way is joined.

        Raises:
            NotFound: no such server is registered.
        """
        now = self._clock.monotonic()
        self._adopt(now)
        slot = self._agenda.slot(server_id)
        if slot is None:
            raise NotFound(f"Server '{server_id}' not found. GET /admin/servers lists those that are registered.")
        if not slot.running:
            self._agenda.start(slot, now)
            self._spawn(slot)
            self._wake.set()
        return await asyncio.shield(self._checks[slot])

    def _adopt(self, now: float) -> None:
        """Follow the registry. What is there at the start is due at once, what joins later was checked on joining."""
        targets = self._targets()
        if targets is self._adopted:
            return
        for server_id in self._agenda.keep_only(targets):
            state = self._book.state(server_id)
            fresh = self._adopted is not None and state.status is not HealthStatus.UNKNOWN
            self._agenda.add(server_id, now + (self._pause(state) if fresh else 0.0))
        self._listed = {server_id: seen for server_id, seen in self._listed.items() if server_id in targets}
        self._adopted = targets

    def _spawn(self, slot: Slot) -> None:
        """Start the check of a slot that holds a place."""
        check = self._check(slot, self._targets()[slot.server_id])
        self._checks[slot] = self._tasks.spawn(check, name=f"check of server {slot.server_id}")

    async def _check(self, slot: Slot, target: ProbeTarget) -> Inspection:
        """Look, take in what was found unless the server was changed meanwhile, and plan the next check."""
        try:
            inspection = await self._inspect(target)
            current = self._agenda.is_current(slot) and self._targets().get(slot.server_id) == target
            if current:
                self._book.record(slot.server_id, inspection, self._clock.now())
            slot.again = slot.again or not current
        finally:
            self._finish(slot)
        if current and inspection.passed:
            await self._report_models(slot.server_id, target, inspection)
        return inspection

    async def _inspect(self, target: ProbeTarget) -> Inspection:
        """Look at a server, again if the gateway itself was too slow to tell."""
        expected = () if target.discovers else target.expected
        repeats = 0
        while True:
            blocked_before = self._lag.blocked_seconds(self._clock.monotonic())
            inspection = await self._inspector.inspect(target.endpoint, target.api_key, expected, engine=target.engine)
            blocked = self._lag.blocked_seconds(self._clock.monotonic()) > blocked_before
            if inspection.failure is not CheckFailure.UNREACHABLE or not blocked or repeats == MAX_REPEATS:
                return _with_missing(inspection, target) if target.discovers else inspection
            repeats += 1

    def _finish(self, slot: Slot) -> None:
        """Give the place back and plan the next check."""
        self._checks.pop(slot, None)
        due = self._clock.monotonic() + self._pause(self._book.state(slot.server_id))
        self._agenda.finish(slot, due)
        self._wake.set()

    async def _report_models(self, server_id: str, target: ProbeTarget, inspection: Inspection) -> None:
        """Report a list that differs from the last one seen, or that a discovering server is not registered with."""
        listed = (inspection.models, inspection.engine)
        differs = target.discovers and {model.name for model in inspection.models} != set(target.expected)
        if not differs and self._listed.get(server_id) == listed:
            return
        try:
            await self._on_models(server_id, *listed)
        except GatewayError as error:
            logger.warning(
                "The new list of a server's models was not taken over", server_id=server_id, reason=str(error)
            )
        else:
            self._listed[server_id] = listed

    def _flush_when_due(self, now: float) -> None:
        """Write to the database beside the checks, so that a slow disk delays none."""
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_INTERVAL_SECONDS
        if self._flush is None or self._flush.done():
            self._flush = self._tasks.spawn(self._book.flush(), name="flush of health results")

    def _pause(self, state: HealthState) -> float:
        """Return the seconds until the next check."""
        return next_check_in_seconds(state, self._cadence, self._draw())

    def _is_down(self, server_id: str) -> bool:
        return self._book.state(server_id).status is HealthStatus.UNHEALTHY


def _with_missing(inspection: Inspection, target: ProbeTarget) -> Inspection:
    """Delist at once what a discovering server no longer lists; that it changed its list is no fault of it."""
    if not inspection.passed and inspection.failure is not CheckFailure.MODEL_MISSING:
        return inspection
    listed = {model.name for model in inspection.models}
    return replace(inspection, missing_models=frozenset(target.expected) - listed)
