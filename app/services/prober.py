"""Who is checked when? The background watch over all registered servers.

Every server has a due time of its own (``agenda``), and nobody waits for anybody else's check. Paused and blocked
servers are checked too, so that their state is right when they come back.

Three things bring a check forward: a request that could not connect (``check_soon``), a person (``check_now``), and
the table in ``core.checks.health`` while a state is changing.

Two kinds of looks come beside the checks, for traffic: whether a server that fell silent still answers (``answers``),
and whether one that requests wait for is back (``redial``, ``redials``). What was found is dropped if the server was
removed or changed meanwhile.

Who wants to know more of a server that is well is told of each good look (``on_checked``), and waited for by nobody.
"""

from __future__ import annotations

import asyncio
import math
from random import random
from typing import TYPE_CHECKING, Final

from app.services.agenda import Agenda, Slot
from app.services.core.checks.health import next_check_in_seconds
from app.services.core.errors import GatewayError, NotFound
from app.services.core.types import CheckFailure, HealthStatus, Inspection
from app.services.lookout import Lookout
from app.services.prober_interface import Looks, Pace, ProbeTarget, Records, Spawns
from app.services.pulse import LoopLag, SystemClock
from app.services.redials import Redials
from app.services.version_watch import VersionWatch
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping

    from app.services.core.checks.health import HealthState
    from app.services.core.types import DiscoveredModel
    from app.services.pulse import Clock

__all__ = ["Looks", "Pace", "ProbeTarget", "Prober", "Records", "Spawns"]

FLUSH_INTERVAL_SECONDS: Final = 1.0
TICK_SECONDS: Final = 0.1
"""How often the loop's lag is measured while checks are running."""

logger = get_logger(__name__)


def _ignore(*_told: object) -> None:
    """Nobody wants to hear it."""


def _nobody(_server_id: str) -> bool:
    """Nobody looks at it."""
    return False


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
        on_version: called with id and version when a server's engine is of another version than was last seen, the
            first after a start included.
        on_returned: called with the id of a server that is healthy and was found well by a redial: whoever holds it
            back for failures of its own counting may let it go. Routing has been told by then.
        on_checked: called with id, target and inspection after each good look that was taken in, that of a server's
            registration included (without its models). It must not block.
        is_watched: whether somebody looks at a server on a page. One that can't be reached then has its misses counted
            in quick succession.
        clock: time, and waiting in it.
        draw: draws evenly from [0, 1).
    """

    def __init__(  # noqa: PLR0913 - the composition root names each part once
        self,
        inspector: Looks,
        book: Records,
        tasks: Spawns,
        pace: Pace,
        *,
        targets: Callable[[], Mapping[str, ProbeTarget]],
        on_models: Callable[[str, tuple[DiscoveredModel, ...], str], Awaitable[None]],
        on_version: Callable[[str, str], None] = _ignore,
        on_returned: Callable[[str], None] = _ignore,
        on_checked: Callable[[str, ProbeTarget, Inspection], None] = _ignore,
        is_watched: Callable[[str], bool] = _nobody,
        clock: Clock | None = None,
        draw: Callable[[], float] = random,
    ) -> None:
        self._inspector = inspector
        self._book = book
        self._tasks = tasks
        self._cadence = pace.cadence
        self._targets = targets
        self._on_models, self._on_returned, self._on_checked = on_models, on_returned, on_checked
        self._is_watched = is_watched
        self._versions = VersionWatch(inspector, tasks, targets, on_version)
        self._clock = clock or SystemClock()
        self._draw = draw
        self._agenda = Agenda(pace.concurrency, self._is_down)
        self._adopted: Mapping[str, ProbeTarget] | None = None
        self._checks: dict[Slot, asyncio.Task[Inspection]] = {}
        self._listed: dict[str, tuple[tuple[DiscoveredModel, ...], str]] = {}
        self._asides: dict[str, asyncio.Task[bool]] = {}
        self._redials = Redials(pace.concurrency, self._start_redial)
        self._lag = LoopLag()
        self._lookout = Lookout(inspector, self._lag, self._clock)
        self._wake = asyncio.Event()
        self._flush_due = 0.0
        self._flush: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Check until cancelled. All servers are due at once at the start. The last flush is the caller's."""
        try:
            while True:
                self._wake.clear()
                await self._turn(self._clock.monotonic())
        finally:
            self._lag.expect(math.inf)  # or a look that outlives the checks would take all later time for a block

    def check_soon(self, server_id: str) -> None:
        """Check a server that a request could not reach: at once, but at most once a second."""
        if self._agenda.bring_forward(server_id, self._clock.monotonic()):
            self._wake.set()

    async def check_now(self, server_id: str) -> Inspection:
        """Check a server for a person, and return what was found; a check that is under way is joined.

        It is a chance for a server that refused a request: if the check is good, it takes work again.

        Raises:
            NotFound: no such server is registered.
        """
        now = self._clock.monotonic()
        self._adopt(now)
        slot = self._agenda.slot(server_id)
        if slot is None:
            raise NotFound(f"Server '{server_id}' not found. GET /admin/servers lists those that are registered.")
        self._book.pardon(server_id)
        if not slot.running:
            self._agenda.start(slot, now)
            self._spawn(slot)
            self._wake.set()
        return await asyncio.shield(self._checks[slot])

    async def answers(self, server_id: str, timeout_seconds: float = 1.0) -> bool:
        """Ask a server that fell silent for its models, on a connection of its own; one that does not answer is down.

        Any whole answer will do. A question under way is joined, whatever time it has. A server that is no longer
        registered can't be asked, and is not accused.
        """
        aside = self._asides.get(server_id)
        if aside is None:
            target = self._targets().get(server_id)
            if target is None:
                return True
            question = self._ask_aside(server_id, target, timeout_seconds)
            aside = self._asides[server_id] = self._tasks.spawn(question, name=f"life sign of server {server_id}")
            aside.add_done_callback(lambda _: self._asides.pop(server_id))
            self._wake.set()  # the loop's lag is measured closely from now on
        return await asyncio.shield(aside)

    def redial(self, server_ids: Iterable[str]) -> None:
        """Requests wait for these servers: look whether they are back, each at most every 250 ms.

        To be called as often as somebody waits. One good list opens a server that is down. A failure is not counted:
        looks this frequent would make a fresh outage look like an old one.
        """
        targets = self._targets()
        wanted = [name for name in server_ids if name in targets and not self._book.state(name).misconfigured]
        self._redials.ask(wanted, self._clock.monotonic())

    async def _turn(self, now: float) -> None:
        """Start what is due, and wait until something is due again."""
        self._lag.tick(now)
        self._adopt(now)
        for slot in self._agenda.take(now):
            self._spawn(slot)
        self._flush_when_due(now)
        is_looking = self._agenda.is_busy or bool(self._asides)
        until = min(self._flush_due, self._agenda.next_due, now + (TICK_SECONDS if is_looking else 1.0))
        self._lag.expect(until)
        await self._clock.wait(self._wake, max(0.0, until - now))

    def _adopt(self, now: float) -> None:
        """Follow the registry. What is there at the start is due at once, what joins later was checked on joining."""
        targets = self._targets()
        if targets is self._adopted:
            return
        for server_id in self._agenda.keep_only(targets):
            state = self._book.state(server_id)
            fresh = self._adopted is not None and state.status is not HealthStatus.UNKNOWN
            if fresh:
                self._on_checked(server_id, targets[server_id], Inspection(None, "", engine=targets[server_id].engine))
            self._agenda.add(server_id, now + (self._pause(state) if fresh else 0.0))
        self._listed = {server_id: seen for server_id, seen in self._listed.items() if server_id in targets}
        self._versions.keep(targets)
        self._adopted = targets

    def _spawn(self, slot: Slot) -> None:
        """Start the check of a slot that holds a place."""
        check = self._check(slot, self._targets()[slot.server_id])
        self._checks[slot] = self._tasks.spawn(check, name=f"check of server {slot.server_id}")

    async def _check(self, slot: Slot, target: ProbeTarget) -> Inspection:
        """Look, take in what was found unless the server was changed meanwhile, and plan the next check."""
        is_urgent = False
        try:
            inspection = await self._lookout.look(target)
            is_urgent = inspection.failure is CheckFailure.UNREACHABLE and self._is_watched(slot.server_id)
            current = self._agenda.is_current(slot) and self._targets().get(slot.server_id) == target
            if current:
                self._versions.doubt(slot.server_id, self._book.state(slot.server_id))
                self._book.record(slot.server_id, inspection, self._clock.now())
            slot.again = slot.again or not current
        finally:
            self._finish(slot, is_urgent=is_urgent)
        if current and inspection.passed:
            self._versions.ask(slot.server_id, target, inspection.engine)
            self._on_checked(slot.server_id, target, inspection)
            await self._report_models(slot.server_id, target, inspection)
        return inspection

    def _finish(self, slot: Slot, *, is_urgent: bool) -> None:
        """Give the place back and plan the next check."""
        self._checks.pop(slot, None)
        due = self._clock.monotonic() + self._pause(self._book.state(slot.server_id), is_urgent=is_urgent)
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

    async def _ask_aside(self, server_id: str, target: ProbeTarget, timeout_seconds: float) -> bool:
        """Ask a server beside a stream; one that does not answer is marked at once, and checked soon."""
        hears = await self._lookout.hears(target, timeout_seconds)
        if not hears and self._targets().get(server_id) == target:
            self._book.silent(server_id, self._clock.now())
            self.check_soon(server_id)
        return hears

    def _start_redial(self, server_id: str) -> asyncio.Task[None]:
        return self._tasks.spawn(self._redial(server_id), name=f"redial of server {server_id}")

    async def _redial(self, server_id: str) -> None:
        """Look at a server that somebody waits for, and open it if it is well."""
        target = self._targets().get(server_id)
        if target is None:
            return  # removed meanwhile
        inspection = await self._lookout.glance(target)
        if self._targets().get(server_id) != target:
            return
        state = self._book.state(server_id)
        is_news = state.status is not HealthStatus.HEALTHY or state.consecutive_failures > 0
        if inspection.failure is CheckFailure.CREDENTIALS or (inspection.passed and is_news):
            self._versions.doubt(server_id, state)
            self._book.record(server_id, inspection, self._clock.now(), wanted=True)
            if inspection.passed:
                self._on_checked(server_id, target, inspection)
        if inspection.passed and self._book.state(server_id).status is HealthStatus.HEALTHY:
            self._on_returned(server_id)

    def _flush_when_due(self, now: float) -> None:
        """Write to the database beside the checks, so that a slow disk delays none."""
        if now < self._flush_due:
            return
        self._flush_due = now + FLUSH_INTERVAL_SECONDS
        if self._flush is None or self._flush.done():
            self._flush = self._tasks.spawn(self._book.flush(), name="flush of health results")

    def _pause(self, state: HealthState, *, is_urgent: bool = False) -> float:
        """Return the seconds until the next check."""
        return next_check_in_seconds(state, self._cadence, self._draw(), is_urgent=is_urgent)

    def _is_down(self, server_id: str) -> bool:
        return self._book.state(server_id).status is HealthStatus.UNHEALTHY
