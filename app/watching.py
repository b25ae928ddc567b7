"""What tells the operator of requests? The log, the figures and the traces: put together, flushed and closed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from app.services.core.reporting.request_line import json_lines, text_lines
from app.services.ledger import Ledger
from app.services.pulse import Lateness
from app.utils.logger import BatchedLines

if TYPE_CHECKING:
    from collections.abc import Callable

    from app.services.dataplane.plane import DataPlane
    from app.services.ledger import Keeps, UseCounts
    from app.services.tracing import SpanExport
    from app.utils.config import Settings

__all__ = ["OpenSpans", "Watching"]


class OpenSpans(Protocol):
    """``SpanExport``, once it knows where to send to."""

    def __call__(self, engine_of: Callable[[str], str]) -> SpanExport:
        """Begin to send spans. ``engine_of`` names the engine of a server by its id."""


class Watching:
    """One run's request log, figures and traces.

    Attributes:
        ledger: hears of every request that ended.
        lateness: hears of every turn of the sweeper.
    """

    def __init__(
        self,
        settings: Settings,
        plane: DataPlane,
        open_spans: OpenSpans | None,
        use: UseCounts | None = None,
        recent: Keeps | None = None,
    ) -> None:
        self.lateness = Lateness()
        self._lines = BatchedLines()
        self._spans = open_spans(_engines(plane)) if open_spans is not None else None
        format_lines = json_lines if settings.log_format == "json" else text_lines
        self.ledger = Ledger(self._lines, plane, format_lines, self.lateness, self._spans, use, recent)

    async def flush(self) -> None:
        """Take in what ended and write its lines."""
        self.ledger.fold()
        await asyncio.to_thread(self._lines.flush)

    async def close(self) -> None:
        """Lose nothing of what ended before. A collector of traces that does not answer is waited for in seconds."""
        self.ledger.close()
        self._lines.close()
        if self._spans is not None:
            await asyncio.to_thread(self._spans.close)


def _engines(plane: DataPlane) -> Callable[[str], str]:
    """Look up servers in the snapshot of the moment; it is frozen, so any thread may."""

    def engine_of(server_id: str) -> str:
        server = plane.snapshot.servers.get(server_id)
        return server.engine if server is not None else ""

    return engine_of
