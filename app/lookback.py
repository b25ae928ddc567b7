"""Which services remember what went through and what happened? Figures over time, the last requests, the last news.

Built at each start, once the servers are known.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.services.core.reporting.tallies import Tallies
from app.services.happenings import Happenings
from app.services.known_names import KnownNames
from app.services.recent import RecentRequests
from app.services.registry.accounting.traffic_store import TrafficStore
from app.services.traffic import Sources, Traffic

if TYPE_CHECKING:
    from collections.abc import Callable

    from fastapi import FastAPI

    from app.accounts import Accounts
    from app.assembly import Services
    from app.lifespan import Parts
    from app.utils.database import Database

__all__ = ["Lookback"]

_TURNS_A_LOOK = 10


class Lookback:
    """What was, kept in memory and in the database.

    Args:
        parts: what exists before the start.
        database: open.
        services: what looks after the servers; loaded.
        accounts: whose keys they are.

    Attributes:
        tallies: what was counted since the start; to be set once somebody counts.
    """

    def __init__(self, parts: Parts, database: Database, services: Services, accounts: Accounts) -> None:
        settings, plane, registry, book = parts.settings, parts.plane, services.registry, services.book
        self.tallies: Callable[[], Tallies] = Tallies
        self._turns = 0
        self.recent = RecentRequests(settings.recent_requests, KnownNames(lambda: accounts.keys.records, registry))
        self.happenings = Happenings(
            snapshot=lambda: plane.snapshot,
            servers=lambda: registry.servers,
            state=book.state,
            now=_utc_now,
        )
        sources = Sources(
            tallies=self._counted,
            owners=lambda: {record.id: record.owner or "" for record in registry.servers.values()},
            queued=lambda: plane.queued,
        )
        self.traffic = Traffic(
            sources,
            TrafficStore(database),
            retention_days=settings.traffic_retention_days,
            may_write=lambda: not database.lent,
        )
        self.traffic.on_continued = self.happenings.continued

    def _counted(self) -> Tallies:
        return self.tallies()

    def show(self, app: FastAPI) -> None:
        """Put all of it where the routes find it."""
        app.state.recent, app.state.traffic, app.state.happenings = self.recent, self.traffic, self.happenings

    def tick(self) -> None:
        """Look at the counters and at the servers when it is time; to be called ten times a second."""
        self.traffic.tick()
        self._turns += 1
        if self._turns % _TURNS_A_LOOK == 0:
            self.happenings.tick()

    async def flush(self) -> None:
        """Write the figures of the minutes that have passed. A database that fails is logged."""
        await self.traffic.flush()

    async def close(self) -> None:
        """Write the last of them, before the database is closed."""
        await self.traffic.close()

    async def purge(self) -> None:
        """Forget figures that are past their retention.

        Raises:
            StorageUnavailable: some of them may be there still.
        """
        await self.traffic.purge()


def _utc_now() -> datetime:
    return datetime.now(UTC)
