"""How is the gateway told to Prometheus? Metric families made from tallies, lanes and what is open at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from app.services.core.live.board import GAP_BOUNDS_SECONDS
from app.services.core.reporting.tallies import TIME_BOUNDS_SECONDS
from app.services.pulse import LATENESS_BOUNDS_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from app.services.core.choice.snapshot import Snapshot
    from app.services.core.live.board import Board, Lane
    from app.services.core.reporting.tallies import Tallies, Tally
    from app.services.pulse import Lateness

__all__ = ["Flow", "families"]


class Connections(Protocol):
    """``dataplane.pool.Pool``."""

    def connections(self) -> Iterable[tuple[str, int, int]]:
        """For each server its id, how many connections to it are idle, and how many are open, those included."""


class Flow(Protocol):
    """``dataplane.plane.DataPlane``, as far as it is looked at when figures are read."""

    @property
    def snapshot(self) -> Snapshot:
        """The registry now."""

    @property
    def board(self) -> Board:
        """The live figures per server."""

    @property
    def pool(self) -> Connections:
        """The connections to servers."""

    @property
    def queued(self) -> int:
        """How many requests wait for a place on a server."""

    @property
    def open_exchanges(self) -> int:
        """How many requests are being served or wait."""

    @property
    def client_connections(self) -> int:
        """How many connections of clients are open at the door."""


def families(
    tallies: Tallies, flow: Flow, lateness: Lateness, *, lines_dropped: int, spans_dropped: int
) -> Iterator[Metric]:
    """Yield every metric family. The manual's table of metrics is held to what comes from here."""
    yield from _requests(tallies)
    yield from _lanes(flow.board.lanes)
    yield from _servers(flow)
    yield _number(GaugeMetricFamily, "multiverse_queue_length", "Requests that wait for a place.", flow.queued)
    yield _number(GaugeMetricFamily, "multiverse_open_requests", "Requests served or waiting.", flow.open_exchanges)
    yield _number(
        GaugeMetricFamily, "multiverse_client_connections", "Open connections of clients.", flow.client_connections
    )
    lag = HistogramMetricFamily("multiverse_event_loop_lag_seconds", "How late the event loop came to a timer.")
    lag.add_metric([], _buckets(LATENESS_BOUNDS_SECONDS, lateness.counts), lateness.seconds_total)
    yield lag
    yield _number(
        CounterMetricFamily, "multiverse_log_lines_dropped", "Lines of the request log that were lost.", lines_dropped
    )
    yield _number(CounterMetricFamily, "multiverse_spans_dropped", "Spans that were lost unsent.", spans_dropped)


def _requests(tallies: Tallies) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "multiverse_requests", "Requests by model, server and status.", labels=["model", "server", "status"]
    )
    tokens: dict[tuple[str, str, str], int] = {}
    events: dict[tuple[str, str], int] = {}
    continuations: dict[tuple[str], int] = {}
    for (model, server_id, status), tally in tallies.by_key.items():
        server = server_id or ""
        requests.add_metric([model, server, str(status)], tally.requests)
        _add(tokens, (model, server, "prompt"), tally.prompt_tokens)
        _add(tokens, (model, server, "completion"), tally.completion_tokens)
        _add(events, (model, server), tally.events)
        _add(continuations, (model,), tally.continuations)
    yield requests
    yield _labelled("multiverse_tokens", "Tokens by model, server and kind.", ["model", "server", "kind"], tokens)
    yield _labelled("multiverse_events", "Events of streams that were relayed.", ["model", "server"], events)
    yield _labelled(
        "multiverse_continuations", "Streams that broke and went on elsewhere, each time.", ["model"], continuations
    )
    every: Iterable[Tally] = tallies.by_key.values()
    attempts = sum(tally.attempts for tally in every)
    retries = sum(tally.retries for tally in every)
    yield _number(CounterMetricFamily, "multiverse_attempts", "Attempts sent to servers.", attempts)
    yield _number(CounterMetricFamily, "multiverse_retries", "Attempts after the first of their request.", retries)
    durations = HistogramMetricFamily(
        "multiverse_request_duration_seconds", "Time from request to end.", labels=["model"]
    )
    first_tokens = HistogramMetricFamily(
        "multiverse_first_token_seconds", "Time from sending to the first event.", labels=["model"]
    )
    for model, times in tallies.by_model.items():
        durations.add_metric([model], _buckets(TIME_BOUNDS_SECONDS, times.durations), times.duration_seconds_total)
        first_tokens.add_metric(
            [model], _buckets(TIME_BOUNDS_SECONDS, times.first_tokens), times.first_token_seconds_total
        )
    yield durations
    yield first_tokens


def _lanes(lanes: Mapping[str, Lane]) -> Iterator[Metric]:
    gaps = HistogramMetricFamily("multiverse_event_gap_seconds", "Time between events of a stream.", labels=["server"])
    ejections = CounterMetricFamily(
        "multiverse_ejections", "How often a server failed and was avoided for a while.", labels=["server"]
    )
    for server_id, lane in lanes.items():
        gaps.add_metric([server_id], _buckets(GAP_BOUNDS_SECONDS, lane.gaps), lane.gap_seconds_total)
        ejections.add_metric([server_id], lane.ejections)
    yield gaps
    yield ejections


def _servers(flow: Flow) -> Iterator[Metric]:
    in_flight = GaugeMetricFamily("multiverse_in_flight", "Requests running on a server.", labels=["server"])
    healthy = GaugeMetricFamily("multiverse_server_healthy", "1 when the server's checks pass.", labels=["server"])
    for server in flow.snapshot.servers.values():
        in_flight.add_metric([server.id], flow.board.in_flight(server.id))
        healthy.add_metric([server.id], float(server.health == "healthy"))
    pool = GaugeMetricFamily(
        "multiverse_server_connections", "Open connections to a server.", labels=["server", "state"]
    )
    for server_id, idle_count, open_count in flow.pool.connections():
        pool.add_metric([server_id, "idle"], idle_count)
        pool.add_metric([server_id, "busy"], open_count - idle_count)
    yield in_flight
    yield healthy
    yield pool


def _add(sums: dict[Any, int], key: tuple[str, ...], amount: int) -> None:
    sums[key] = sums.get(key, 0) + amount


def _labelled(name: str, text: str, labels: list[str], sums: Mapping[Any, int]) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for key, amount in sums.items():
        family.add_metric(list(key), amount)
    return family


def _number(kind: type[CounterMetricFamily | GaugeMetricFamily], name: str, text: str, value: float) -> Metric:
    """Make a family without labels."""
    family = kind(name, text)
    family.add_metric([], value)
    return family


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Turn counts for each bucket into Prometheus' running sums."""
    running, rows = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        running += count
        rows.append((bound, float(running)))
    return rows
