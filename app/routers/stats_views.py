"""How do the live figures read, and those over time?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from app.routers.model_views import View
from app.services.core.people.principal import Role
from app.services.core.reporting.happenings import Kind, sentence
from app.services.core.reporting.series import POOL
from app.services.core.types import HealthStatus
from app.services.registry.access import steers
from app.services.server_state import STATES, state_of
from app.services.traffic import WINDOW_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.routers.deps import Gateway
    from app.services.core.people.principal import Principal
    from app.services.core.reporting.happenings import Happening
    from app.services.core.reporting.series import Series
    from app.services.traffic import Figures

__all__ = ["Counts", "StatsView", "counts_of", "stats_view"]


@dataclass(frozen=True, slots=True)
class Counts:
    """How servers and models stand that a key may steer.

    Attributes:
        states: how many servers are in each of ``server_state.STATES``.
        serving: how many take requests now.
        models: how many names there are to ask for.
        models_available: how many of them a server takes requests for now.
        in_flight: how many requests run.
    """

    states: dict[str, int]
    serving: int
    models: int
    models_available: int
    in_flight: int

    @property
    def total(self) -> int:
        """How many servers there are."""
        return sum(self.states.values())


class ServersCount(View):
    """Servers by state. A server counts once: for what keeps work away from it, else for what its checks found."""

    total: int = Field(examples=[3])
    serving: int = Field(description="Those that take requests now.", examples=[2])
    healthy: int = Field(examples=[2])
    unhealthy: int = Field(examples=[1])
    unknown: int = Field(examples=[0])
    paused: int = Field(examples=[0])
    quarantined: int = Field(examples=[0])
    blocked: int = Field(examples=[0])
    draining: int = Field(examples=[0])
    pending: int = Field(examples=[0])
    off_hours: int = Field(examples=[0])


class ModelsCount(View):
    """Models by whether they can be had."""

    total: int = Field(examples=[2])
    available: int = Field(description="Those that a server takes requests for now.", examples=[2])


class LatelyView(View):
    """What came in the last five minutes."""

    seconds: int = Field(default=WINDOW_SECONDS, examples=[WINDOW_SECONDS])
    requests: int = Field(examples=[120])
    errors: int = Field(
        description="Answered with a status from 400 on, or broke. A client that left is none.", examples=[1]
    )
    errors_share: float | None = Field(description="Of the requests; null where there were none.", examples=[0.0083])
    continuations: int = Field(
        description="How often a broken answer went on elsewhere, and came to a good end.", examples=[2]
    )
    first_token_p50_seconds: float | None = Field(
        description="Half of the streams began within so long, as far as a histogram tells; null: none began.",
        examples=[0.21],
    )
    first_token_p95_seconds: float | None = Field(description="95 of 100 streams did.", examples=[0.84])


class SeriesView(View):
    """One value for each of `times`; null where the gateway did not run."""

    span: str = Field(examples=["15m"])
    step_seconds: int = Field(examples=[10])
    times: list[int] = Field(description="When each step begins, in Unix seconds.", examples=[[1900000000]])
    requests_per_second: list[float | None] = Field(examples=[[0.4]])
    prompt_tokens_per_second: list[float | None] = Field(examples=[[51.2]])
    completion_tokens_per_second: list[float | None] = Field(examples=[[20.4]])
    errors_share: list[float | None] = Field(description="Null where no request ended.", examples=[[0.0]])
    continuations: list[int | None] = Field(examples=[[0]])
    queued_most: list[int | None] = Field(description="Null but for the pool.", examples=[[0]])
    first_token_p50_seconds: list[float | None] = Field(description="Null where no stream began.", examples=[[0.21]])
    first_token_p95_seconds: list[float | None] = Field(examples=[[0.84]])


class HappeningView(View):
    """One thing that happened since the gateway started."""

    id: int = Field(description="A later one has a larger one.", examples=[7])
    at: datetime
    kind: Kind = Field(examples=["unhealthy"])
    registration_id: str = Field(description="Of the server; empty where it is about none.")
    sentence: str = Field(examples=["10.0.0.5:8000 became unhealthy: connection refused."])


class StatsView(View):
    """How the pool, or a part of it, does at this moment."""

    scope: Literal["pool", "group", "own"] = Field(
        description="Whose servers these are: everybody's, those of the key's group, or the key's own."
    )
    at: datetime
    servers: ServersCount
    models: ModelsCount
    requests_per_second: float | None = Field(
        description="Of the last ten seconds; null in the gateway's first second.", examples=[0.4]
    )
    prompt_tokens_per_second: float | None = Field(examples=[51.2])
    completion_tokens_per_second: float | None = Field(examples=[20.4])
    in_flight: int = Field(description="Requests that run on these servers.", examples=[3])
    queued: int | None = Field(description="Requests that wait for a place; null but for the pool.", examples=[0])
    lately: LatelyView
    happened: list[HappeningView] = Field(description="The newest first.")
    series: SeriesView | None = Field(description="What `span` asked for.")


def counts_of(gateway: Gateway, principal: Principal) -> Counts:
    """Count the servers that a key may steer, and their models."""
    now, owners, board = gateway.now(), gateway.registry.owners, gateway.plane.board
    states: Counter[str] = Counter(dict.fromkeys(STATES, 0))
    models: dict[str, bool] = {}
    serving = in_flight = 0
    for record in gateway.registry.servers.values():
        if not steers(principal, record, owners):
            continue
        health = gateway.book.state(record.id)
        state = state_of(record, health, now)
        states[state] += 1
        takes = state == HealthStatus.HEALTHY.value and not health.misconfigured
        serving += takes
        in_flight += board.in_flight(record.id)
        for model in record.models:
            is_there = takes and model.upstream_name not in health.missing_models
            models[model.name] = models.get(model.name, False) or is_there
    return Counts(dict(states), serving, len(models), sum(models.values()), in_flight)


def stats_view(
    gateway: Gateway,
    principal: Principal,
    scope: frozenset[str],
    figures: Figures,
    happened: Iterable[Happening],
    series: Series | None,
) -> StatsView:
    """Tell how those servers do that a key may steer.

    Args:
        gateway: the servers.
        principal: whose key asks.
        scope: whose servers these are (``scopes.scope_of``).
        figures: what goes through them.
        happened: what happened to them, the newest first.
        series: the same over time; None where nobody asked.
    """
    counts = counts_of(gateway, principal)
    return StatsView(
        scope="pool" if POOL in scope else "group" if principal.role is Role.ADMIN else "own",
        at=gateway.now().astimezone(UTC),
        servers=ServersCount(total=counts.total, serving=counts.serving, **counts.states),
        models=ModelsCount(total=counts.models, available=counts.models_available),
        requests_per_second=figures.requests_per_second,
        prompt_tokens_per_second=figures.prompt_tokens_per_second,
        completion_tokens_per_second=figures.completion_tokens_per_second,
        in_flight=counts.in_flight,
        queued=figures.queued,
        lately=_lately(figures),
        happened=[_happening(one) for one in happened],
        series=None if series is None else _series(series),
    )


def _lately(figures: Figures) -> LatelyView:
    return LatelyView(
        requests=figures.requests,
        errors=figures.errors,
        errors_share=figures.errors_share,
        continuations=figures.continuations,
        first_token_p50_seconds=figures.first_token_p50_seconds,
        first_token_p95_seconds=figures.first_token_p95_seconds,
    )


def _happening(one: Happening) -> HappeningView:
    return HappeningView(id=one.id, at=one.at, kind=one.kind, registration_id=one.server_id, sentence=sentence(one))


def _series(series: Series) -> SeriesView:
    return SeriesView(
        span=series.span.name,
        step_seconds=series.span.step_seconds,
        times=list(series.times),
        requests_per_second=list(series.requests_per_second),
        prompt_tokens_per_second=list(series.prompt_tokens_per_second),
        completion_tokens_per_second=list(series.completion_tokens_per_second),
        errors_share=list(series.errors_share),
        continuations=list(series.continuations),
        queued_most=list(series.queued_most),
        first_token_p50_seconds=list(series.first_token_p50_seconds),
        first_token_p95_seconds=list(series.first_token_p95_seconds),
    )
