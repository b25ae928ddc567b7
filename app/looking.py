"""Which services do the pages have? What changes while somebody looks, and what was seen lately.

Who is signed in is known where keys are (``app.accounts``).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from app.routers.dashboard.activity_views import requests_topic
from app.routers.dashboard.model_cards import models_topic
from app.routers.dashboard.overview_rows import overview_topic
from app.routers.dashboard.server_rows import rows_of, servers_topic
from app.services.backups import Backups
from app.services.feed import Feed
from app.services.log_reader import LogReader
from app.utils.log_redaction import Redactor

if TYPE_CHECKING:
    from fastapi import FastAPI

    from app.assembly import Services
    from app.lifespan import Parts
    from app.lookback import Lookback
    from app.routers.deps import Gateway

__all__ = ["Looking"]


class Looking:
    """All that the pages have beside what the API has.

    Args:
        parts: what exists before the start.
        services: what looks after the servers.
        lookback: what went through of late.
    """

    def __init__(self, parts: Parts, services: Services, lookback: Lookback) -> None:
        settings = parts.settings
        self._parts, self._services, self._lookback = parts, services, lookback
        self.feed = Feed()
        self.backups = Backups(settings, parts.tasks, _utc_now)
        self.log_reader = LogReader(
            settings.log_file,
            backup_count=settings.log_backup_count,
            redactor=Redactor(settings.secret_values()),
        )

    def close(self) -> None:
        """End all streams of pages; they connect again to whoever serves then."""
        self.feed.close()

    def show(self, app: FastAPI, gateway: Gateway) -> None:
        """Put all of it where the routes find it."""
        app.state.feed, app.state.log_reader, app.state.knocks = self.feed, self.log_reader, self._services.knocks
        app.state.trials = self._services.trials
        app.state.backups = self.backups
        rows = rows_of(app, gateway)
        lookback, plane = self._lookback, self._parts.plane
        lookback.show(app)
        self.feed.topics |= {
            "overview": overview_topic(gateway, lookback.traffic, lookback.happenings),
            "servers": servers_topic(gateway, self._services.knocks.listed, rows),
            "models": models_topic(lambda: plane.snapshot),
            "requests": requests_topic(lookback.recent),
        }


def _utc_now() -> datetime:
    return datetime.now(UTC)
