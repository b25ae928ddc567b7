"""What was served? Counters, histograms and the one log line per request.

Nothing here waits and nothing is written per request: the line goes to a batching writer, the figures are plain
numbers that ``/metrics`` reads. A key appears by its id, a server by its id, prompts and answers never.
"""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from app.services.core.board import Board
    from app.services.core.outcome import Outcome
    from app.services.core.snapshot import Snapshot

__all__ = ["Ledger", "LineWriter"]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
_MODELS_COUNTED = 1000
"""Names that no server has are counted under one label, so that no client can grow the figures without bound."""


class LineWriter(Protocol):
    """Where the request log goes."""

    def append(self, line: bytes) -> None:
        """Take one line without its newline; never blocks."""


class _Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.total += seconds

    def buckets(self) -> list[tuple[str, float]]:
        running, rows = 0, []
        for bound, count in zip((*map(str, _SECONDS), "+Inf"), self.counts, strict=True):
            running += count
            rows.append((bound, float(running)))
        return rows


class Ledger:
    """Counts outcomes and writes their lines.

    Args:
        lines: the request log.
        snapshot: the registry now, for gauges and to know which model names are real.
        board: the live figures per server.
        write: makes the line of a request (``core.request_line``).
        clock: wall clock, for the lines' timestamps.
    """

    def __init__(
        self,
        lines: LineWriter,
        snapshot: Callable[[], Snapshot],
        board: Board,
        write: Callable[[Outcome, datetime], bytes],
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._lines = lines
        self._snapshot = snapshot
        self._board = board
        self._write = write
        self._clock = clock
        self._requests: dict[tuple[str, str, str], int] = {}
        self._tokens: dict[tuple[str, str, str], int] = {}
        self._attempts = 0
        self._durations: dict[str, _Histogram] = {}
        self._first_tokens: dict[str, _Histogram] = {}
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def finished(self, outcome: Outcome) -> None:
        """Count one request and write its line."""
        model, server, usage = self._label(outcome.model), outcome.server_id or "", outcome.usage
        _add(self._requests, (model, server, str(outcome.status)), 1)
        _add(self._tokens, (model, server, "prompt"), usage.prompt_tokens)
        _add(self._tokens, (model, server, "completion"), usage.completion_tokens)
        self._attempts += outcome.attempts
        self._durations.setdefault(model, _Histogram()).observe(outcome.duration_seconds)
        if outcome.first_token_seconds is not None:
            self._first_tokens.setdefault(model, _Histogram()).observe(outcome.first_token_seconds)
        self._lines.append(self._write(outcome, self._clock()))

    def render(self) -> bytes:
        """The figures in Prometheus' text format 0.0.4."""
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield metric families (called by prometheus-client)."""
        yield _counter(
            "multiverse_requests",
            "Requests by model, server and status.",
            ["model", "server", "status"],
            self._requests,
        )
        yield _counter(
            "multiverse_tokens", "Tokens by model, server and kind.", ["model", "server", "kind"], self._tokens
        )
        yield _counter("multiverse_attempts", "Attempts sent to servers.", [], {(): self._attempts})
        yield _histogram("multiverse_request_duration_seconds", "Time from request to end.", self._durations)
        yield _histogram("multiverse_first_token_seconds", "Time from sending to the first event.", self._first_tokens)
        yield from self._gauges()

    def _gauges(self) -> Iterator[Metric]:
        in_flight = GaugeMetricFamily("multiverse_in_flight", "Requests running on a server.", labels=["server"])
        healthy = GaugeMetricFamily("multiverse_server_healthy", "1 when the server's checks pass.", labels=["server"])
        for server in self._snapshot().servers.values():
            in_flight.add_metric([server.id], self._board.in_flight(server.id))
            healthy.add_metric([server.id], float(server.health == "healthy"))
        yield in_flight
        yield healthy

    def _label(self, model: str) -> str:
        known = model in self._snapshot().routes or model in self._durations
        return model if known and len(self._durations) <= _MODELS_COUNTED else "(unknown)"


def _add(counts: dict[tuple[str, str, str], int], key: tuple[str, str, str], amount: int) -> None:
    counts[key] = counts.get(key, 0) + amount


def _counter(name: str, text: str, labels: list[str], counts: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, count in counts.items():
        family.add_metric(list(key), count)
    return family


def _histogram(name: str, text: str, histograms: dict[str, _Histogram]) -> Metric:
    family = HistogramMetricFamily(name, text, labels=["model"])
    for model, histogram in histograms.items():
        family.add_metric([model], histogram.buckets(), histogram.total)
    return family
