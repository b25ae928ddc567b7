"""What was served? Takes every outcome; counts them, adds up use, writes lines and passes on to traces, in batches.

Nothing here waits, and a request pays for one append: the rest is done for a few hundred outcomes at a time, twice a
second, before figures are read, and at the end. A key appears by its id, a server by its id, prompts and answers never.
"""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Protocol

from prometheus_client import CollectorRegistry, generate_latest

from app.services.core.reporting.tallies import Tallies
from app.services.exposition import families
from app.utils.logger import get_logger

if TYPE_CHECKING:
    from collections.abc import Container, Iterator, Mapping, Sequence

    from prometheus_client.core import Metric

    from app.services.core.reporting.outcome import Outcome
    from app.services.core.reporting.request_line import LineFormat
    from app.services.core.types import Server
    from app.services.exposition import Flow
    from app.services.pulse import Lateness

__all__ = ["BATCH_OUTCOMES", "Keeps", "Ledger", "LineWriter", "Spans", "UseCounts"]

logger = get_logger(__name__)

BATCH_OUTCOMES = 256
"""How many outcomes may wait: then they are taken in at once, in less than a millisecond."""


class LineWriter(Protocol):
    """Where the request log goes: ``log_sinks.BatchedLines``."""

    @property
    def enabled(self) -> bool:
        """Whether lines are wanted at all."""

    @property
    def dropped_lines(self) -> int:
        """How many lines were lost so far."""

    def extend(self, block: bytes, count: int) -> None:
        """Take so many lines, each ended by a newline; never blocks."""


class Spans(Protocol):
    """Where outcomes go as spans: ``tracing.SpanExport``."""

    @property
    def dropped_spans(self) -> int:
        """How many spans were lost so far."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch; never blocks."""


class UseCounts(Protocol):
    """Where use is added up: ``core.reporting.use.UseTally``."""

    def count(self, outcomes: Sequence[Outcome], models: Container[str], servers: Mapping[str, Server]) -> None:
        """Take a batch; ``models`` are the names that are real."""


class Keeps(Protocol):
    """Where the last outcomes are kept: ``recent.RecentRequests``."""

    def take(self, outcomes: Sequence[Outcome]) -> None:
        """Take a batch."""


class Ledger:
    """Takes outcomes in.

    Args:
        lines: the request log.
        flow: the data plane, for what is open now and to know which models and servers are there.
        format_lines: makes the lines of a batch (``core.reporting.request_line``).
        lateness: how late the event loop came to its timers.
        spans: takes the outcomes for traces; None when these are off.
        use: adds up who used what; None where nobody asks.
        recent: keeps the last ones; None where nobody asks.
    """

    def __init__(
        self,
        lines: LineWriter,
        flow: Flow,
        format_lines: LineFormat,
        lateness: Lateness,
        spans: Spans | None = None,
        use: UseCounts | None = None,
        recent: Keeps | None = None,
    ) -> None:
        self._lines = lines
        self._flow = flow
        self._format_lines = format_lines
        self._lateness = lateness
        self._spans = spans
        self._use = use
        self._recent = recent
        self._waiting: list[Outcome] = []
        self._tallies = Tallies()
        self._registry = CollectorRegistry()
        self._registry.register(self)
        atexit.register(self.fold)  # after the lines' own hook was registered, and so before it runs

    def finished(self, outcome: Outcome) -> None:
        """Take one outcome."""
        waiting = self._waiting
        waiting.append(outcome)
        if len(waiting) >= BATCH_OUTCOMES:
            self.fold()

    def fold(self) -> None:
        """Count what waits, add up its use, make lines, pass it to traces. Belongs to the event loop's thread."""
        outcomes, self._waiting = self._waiting, []
        if not outcomes:
            return
        try:
            snapshot = self._flow.snapshot
            models = snapshot.routes.keys() | snapshot.aliases.keys() if snapshot.aliases else snapshot.routes
            self._tallies.count(outcomes, models, snapshot.servers)
            if self._use is not None:
                self._use.count(outcomes, models, snapshot.servers)
            if self._recent is not None:
                self._recent.take(outcomes)
            if self._lines.enabled:
                self._lines.extend(self._format_lines(outcomes), len(outcomes))
            if self._spans is not None:
                self._spans.take(outcomes)
        except Exception:  # a bug here must not reach the request that happened to fill the batch
            logger.exception("A batch of finished requests was not taken in whole", requests=len(outcomes))

    def tallies(self) -> Tallies:
        """Give what was counted since the start, what has just ended included."""
        self.fold()
        return self._tallies

    def good_answers(self, server_id: str) -> int:
        """How many answers of a server were good, since the start."""
        self.fold()
        return sum(
            tally.requests
            for (_model, server, status), tally in self._tallies.by_key.items()
            if server == server_id and status < 400  # noqa: PLR2004 - HTTP's own border
        )

    def close(self) -> None:
        """Take in what is left, and let go of the exit hook."""
        self.fold()
        atexit.unregister(self.fold)

    def render(self) -> bytes:
        """Give the figures in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield metric families (called by prometheus-client)."""
        self.fold()
        yield from families(
            self._tallies,
            self._flow,
            self._lateness,
            lines_dropped=self._lines.dropped_lines,
            spans_dropped=self._spans.dropped_spans if self._spans is not None else 0,
        )
