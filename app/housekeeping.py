"""What goes on in the background for as long as the gateway runs? The sweeper, the house, and who looks at servers.

A bug in any of it is logged, and it goes on.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Protocol

from app.services.core.errors import StorageUnavailable
from app.services.dataplane.plane import TICK_SECONDS
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from app.accounts import Accounts
    from app.lookback import Lookback
    from app.looking import Looking
    from app.services.dataplane.plane import DataPlane
    from app.services.pulse import Lateness
    from app.services.registry.service import Registry
    from app.utils.config import Settings
    from app.utils.tasks import TaskKeeper
    from app.watching import Watching

__all__ = ["House", "keep_going", "look_after"]

logger = get_logger("gateway")

_FLUSH_TICKS = 5
_EXPIRY_TICKS = 10
_PURGE_TICKS = 36_000
_RESTART_SECONDS = 0.5
_ACCOUNTS_SECONDS = 0.5


class Runs(Protocol):
    """A service of its own: ``prober.Prober``, ``canary.Canary``, ``verifier.Verifier``."""

    async def run(self) -> None:
        """Do it until cancelled."""


async def look_after(services: Mapping[str, Runs]) -> None:
    """Look at the servers, each service in its way, for as long as this process is on duty."""
    await asyncio.gather(*(_for_ever(service.run, name) for name, service in services.items()))


@dataclass(frozen=True, slots=True)
class House:
    """What is to be kept in order."""

    settings: Settings
    plane: DataPlane
    registry: Registry
    watching: Watching
    accounts: Accounts
    looking: Looking
    lookback: Lookback


def keep_going(house: House, tasks: TaskKeeper) -> None:
    """Start what goes on whether this process is on duty or not."""
    services = {
        "sweeper": lambda: _sweep(house.plane, house.watching.lateness),
        "housekeeping": lambda: _keep_house(house),
        "accounts": lambda: _keep_accounts(house),
        "live data": house.looking.feed.run,
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


async def _keep_house(house: House) -> None:
    """Write the request log, publish holds that ran out, drop keys that ended, and purge what is past retention."""
    turn = 0
    while True:
        house.lookback.tick()
        if turn % _FLUSH_TICKS == 0:
            await house.watching.flush()
        if turn % _EXPIRY_TICKS == 0:
            house.registry.publish_if_due()
            house.accounts.refresh()
        if turn % _PURGE_TICKS == 0:
            await _purge(house)
        turn += 1
        await asyncio.sleep(TICK_SECONDS)


async def _keep_accounts(house: House) -> None:
    """Write use and limits twice a second, and what is due for the charts: a kill loses less than a second of use."""
    while True:
        await house.accounts.flush()
        await house.lookback.flush()
        await asyncio.sleep(_ACCOUNTS_SECONDS)


async def _purge(house: House) -> None:
    now, settings = datetime.now(UTC), house.settings
    try:
        await house.registry.purge(
            removed_before=now - timedelta(days=settings.removed_server_retention_days),
            checks_before=now - timedelta(days=settings.health_history_retention_days),
        )
        await house.accounts.purge()
        await house.lookback.purge()
    except StorageUnavailable as error:
        logger.warning("Old rows were not purged; it is tried again in an hour", reason=error.message)
