"""What goes on in the background for as long as the gateway runs? The sweeper, the house, and who looks at servers.

A bug in any of it is logged, and it goes on.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from app.services.core.errors import StorageUnavailable
from app.services.dataplane.plane import TICK_SECONDS
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from app.services.dataplane.plane import DataPlane
    from app.services.pulse import Lateness
    from app.services.registry.service import Registry
    from app.utils.config import Settings
    from app.utils.tasks import TaskKeeper
    from app.watching import Watching

__all__ = ["keep_going", "look_after"]

logger = get_logger("gateway")

_FLUSH_TICKS = 5
_EXPIRY_TICKS = 10
_PURGE_TICKS = 36_000
_RESTART_SECONDS = 0.5


class Runs(Protocol):
    """A service of its own: ``prober.Prober``, ``canary.Canary``, ``verifier.Verifier``."""

    async def run(self) -> None:
        """Do it until cancelled."""


async def look_after(services: Mapping[str, Runs]) -> None:
    """Look at the servers, each service in its way, for as long as this process is on duty."""
    await asyncio.gather(*(_for_ever(service.run, name) for name, service in services.items()))


def keep_going(plane: DataPlane, settings: Settings, tasks: TaskKeeper, registry: Registry, watching: Watching) -> None:
    """Start what goes on whether this process is on duty or not."""
    services = {
        "sweeper": lambda: _sweep(plane, watching.lateness),
        "housekeeping": lambda: _keep_house(settings, registry, watching),
    }
    for name, run in services.items():
        tasks.spawn(_for_ever(run, name), name=name)


async def _for_ever(run: Callable[[], Awaitable[None]], name: str) -> None:
    """Run what must not end: a bug in it is logged, and it goes on."""
    while True:
        try:
            await run()
        except Exception:
            logger.exception("A background service failed and is started again", service=name)
        await asyncio.sleep(_RESTART_SECONDS)


async def _sweep(plane: DataPlane, lateness: Lateness) -> None:
    """Turn the sweeper ten times a second. A blocked loop makes late turns, not missed ones."""
    while True:
        due = time.monotonic() + TICK_SECONDS
        await asyncio.sleep(TICK_SECONDS)
        lateness.turned(due, time.monotonic())
        plane.tick()


async def _keep_house(settings: Settings, registry: Registry, watching: Watching) -> None:
    """Write the request log, publish holds that ran out, and purge what retention no longer covers."""
    turn = 0
    while True:
        if turn % _FLUSH_TICKS == 0:
            await watching.flush()
        if turn % _EXPIRY_TICKS == 0:
            registry.publish_if_due()
        if turn % _PURGE_TICKS == 0:
            await _purge(settings, registry)
        turn += 1
        await asyncio.sleep(TICK_SECONDS)


async def _purge(settings: Settings, registry: Registry) -> None:
    now = datetime.now(UTC)
    try:
        await registry.purge(
            removed_before=now - timedelta(days=settings.removed_server_retention_days),
            checks_before=now - timedelta(days=settings.health_history_retention_days),
        )
    except StorageUnavailable as error:
        logger.warning("Old rows were not purged; it is tried again in an hour", reason=error.message)
