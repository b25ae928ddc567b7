"""What goes out? The answers of the admin API; a server's key is in none of them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from app.routers.model_views import ModelView, View, model_views
from app.routers.terms_schemas import LentHours, hours_view
from app.services.core.people.principal import Trust
from app.services.core.types import HealthStatus
from app.services.registry.access import steers
from app.services.registry.records import changes_at, reason_of
from app.services.registry.terms import trust_of

if TYPE_CHECKING:
    from app.routers.deps import Gateway
    from app.services.core.keys import Principal
    from app.services.registry.records import ServerRecord

__all__ = [
    "AwaitsApproval",
    "CheckView",
    "LoadView",
    "LoadingView",
    "Registered",
    "ServerDetails",
    "ServerList",
    "ServerView",
    "registered",
    "server_details",
    "server_view",
]

EXAMPLE_ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"
PUBLIC_METADATA = ("owner", "description")
"""What of it is for everybody; the rest is between its owner and the operator."""


class Registered(View):
    """What a registration answers."""

    registration_id: str = Field(examples=[EXAMPLE_ID])
    status: Literal["registered"] = "registered"
    health_status: HealthStatus = Field(examples=["healthy"])
    models: list[str] = Field(examples=[["llama-3-8b"]])
    engine: str = Field(examples=["llama.cpp"])


class AwaitsApproval(Registered):
    """What a registration answers that waits for the operator."""

    pending: Literal[True] = True
    note: str = Field(
        default="It takes no requests until the operator approves it.", description="What is still to be done."
    )


class CheckView(View):
    """One check of a server, or one request that could not connect (`source` is `traffic`)."""

    checked_at: datetime
    ok: bool
    reason: str = Field(examples=["connection refused"])
    latency_ms: float = Field(examples=[2.4])
    source: str = Field(examples=["check"])


class LoadView(View):
    """How busy an engine is by its own word, the requests of others than the gateway included."""

    running: int | None = Field(description="Requests that it computes; null if it does not tell.", examples=[3])
    waiting: int | None = Field(description="Requests in its own queue; null if it does not tell.", examples=[0])
    places: int | None = Field(description="How many it computes at once; null if it does not tell.", examples=[4])
    cache_used: float | None = Field(
        description="The share of its KV cache in use, 0 to 1; null if it does not tell.", examples=[0.25]
    )
    told_at: datetime = Field(description="When it said so: with its last good health check.")


class LoadingView(View):
    """A model on its way into a server's memory, since a request asked for it."""

    model: str = Field(description="As the server calls it.", examples=["llama3.1:8b"])
    since: datetime
    about_seconds: float | None = Field(
        description="How long a load of it takes there by what was seen before; null if none was.", examples=[40.0]
    )


class ServerView(View):
    """A registered server. Who may not steer it sees no URL, no reasons, no names of its own, no private `metadata`."""

    registration_id: str = Field(examples=[EXAMPLE_ID])
    endpoint_url: str | None = Field(examples=["http://10.0.0.5:8000"])
    models: list[str] = Field(examples=[["llama-3-8b"]])
    model_details: list[ModelView]
    discovers_models: bool = Field(description="Whether it follows what the server lists.")
    engine: str = Field(examples=["llama.cpp"])
    health_status: HealthStatus = Field(
        description="What the checks found, whatever the holds say.", examples=["healthy"]
    )
    reason: str = Field(description="What is wrong, in words; empty if nothing is.", examples=["connection refused"])
    paused: bool = Field(description="By its owner.")
    paused_reason: str
    paused_until: datetime | None
    quarantined: bool = Field(description="By the gateway.")
    quarantined_reason: str
    quarantined_until: datetime | None
    blocked: bool = Field(description="By the operator.")
    blocked_reason: str
    blocked_until: datetime | None
    draining: bool = Field(description="Takes no new work, finishes what runs.")
    draining_reason: str
    draining_until: datetime | None
    pending: bool = Field(description="It waits for the operator's approval.")
    pending_reason: str
    pending_until: datetime | None
    capabilities: dict[str, Any]
    metadata: dict[str, Any] = Field(examples=[{"owner": "alice"}])
    max_concurrency: int | None = Field(examples=[8])
    priority: int
    weight: float
    share: str = Field(description="Who may use it.", examples=["everyone"])
    trust: Trust = Field(description="How far it is trusted.", examples=["public"])
    trust_given: Trust | None = Field(description="What the operator said; null: `trust` follows from owner and share.")
    hours: LentHours | None = Field(description="When it is lent; null: always.")
    off_hours: bool = Field(description="Its owner lends it at other hours than now.")
    next_change_at: datetime | None = Field(description="When `off_hours` next changes; null if it never does.")
    has_api_key: bool = Field(description="Whether a key is stored for it.")
    in_flight: int = Field(description="Requests that the gateway runs on it now.", examples=[0])
    load: LoadView | None = Field(description="What its engine says of its load; null if it says nothing.")
    loaded_models: list[str] | None = Field(
        description="The models in its memory, as the server calls them; null if its engine does not tell. Keys that "
        "may not steer it see those that it is registered for, as users ask for them.",
        examples=[["meta-llama/Llama-3.1-8B-Instruct"]],
    )
    loading: list[LoadingView] = Field(description="The models that are being loaded for requests that wait.")
    owner: str | None = Field(description="The id of the key that registered it.", examples=["admin"])
    consecutive_failures: int
    last_checked_at: datetime | None
    last_transition_at: datetime | None = Field(description="When `health_status` last changed.")
    created_at: datetime
    updated_at: datetime
    note: str = Field(default="", description="What this request did beyond what it asked for; empty: nothing.")


class ServerDetails(ServerView):
    """A registered server with its last checks."""

    history: list[CheckView] = Field(description="The last 100 checks, newest first.")


class ServerList(View):
    """The servers that meet the conditions, oldest first."""

    servers: list[ServerView]
    total: int = Field(examples=[1])


def registered(gateway: Gateway, record: ServerRecord) -> Registered | AwaitsApproval:
    """Answer a registration."""
    answer = AwaitsApproval if record.pending.in_force(gateway.now()) else Registered
    return answer(
        registration_id=record.id,
        health_status=gateway.book.state(record.id).status,
        models=[model.name for model in record.models],
        engine=record.engine,
    )


def server_view(gateway: Gateway, principal: Principal, record: ServerRecord, note: str = "") -> ServerView:
    """Say how a server stands now, as far as the key may know, and what the request did beside."""
    return ServerView(**_fields(gateway, principal, record), note=note)


def server_details(gateway: Gateway, principal: Principal, record: ServerRecord, note: str = "") -> ServerDetails:
    """Say how a server stands now, with its last checks."""
    known = steers(principal, record, gateway.registry.owners)
    history = [
        CheckView(
            checked_at=check.checked_at,
            ok=check.ok,
            reason=check.reason if known else "",
            latency_ms=check.latency_ms,
            source=check.source,
        )
        for check in gateway.book.history(record.id)
    ]
    return ServerDetails(**_fields(gateway, principal, record), history=history, note=note)


def _fields(gateway: Gateway, principal: Principal, record: ServerRecord) -> dict[str, Any]:
    known = steers(principal, record, gateway.registry.owners)
    health = gateway.book.state(record.id)
    now = gateway.now()
    fields: dict[str, Any] = {
        "registration_id": record.id,
        "endpoint_url": record.endpoint.url if known else None,
        "models": [model.name for model in record.models],
        "model_details": _models(gateway, record, known=known),
        "load": _load(gateway, record.id),
        "loaded_models": _loaded_models(gateway, record, known=known),
        "loading": _loading(gateway, record, known=known),
        "health_status": health.status,
        "reason": reason_of(record, health, now) if known else "",
        "consecutive_failures": health.consecutive_failures,
        "last_checked_at": health.last_checked_at,
        "last_transition_at": health.last_transition_at,
        "has_api_key": record.api_key is not None or record.key_unreadable,
        "in_flight": gateway.plane.board.in_flight(record.id),
        "trust": trust_of(record, gateway.registry.owners),
        "trust_given": record.trust,
        "hours": hours_view(record.hours),
        "off_hours": record.is_off_hours(now),
        "next_change_at": changes_at(record, now),
    }
    for name, hold in record.holds.items():
        held = hold.in_force(now)
        fields |= {
            name: held,
            f"{name}_reason": hold.reason if held and known else "",
            f"{name}_until": hold.until if held else None,
        }
    same = ("discovers_models", "engine", "max_concurrency", "priority", "weight", "share", "owner")
    fields |= {name: getattr(record, name) for name in (*same, "created_at", "updated_at")}
    shown = (
        record.metadata
        if known
        else {name: record.metadata[name] for name in PUBLIC_METADATA if name in record.metadata}
    )
    return fields | {"capabilities": dict(record.capabilities), "metadata": dict(shown)}


def _load(gateway: Gateway, server_id: str) -> LoadView | None:
    """Say how busy an engine is by its own word; None where it has none."""
    signals, told_at = gateway.said.signals(server_id), gateway.said.told_at(server_id)
    figures = (signals.running, signals.waiting, signals.places, signals.cache_used)
    if told_at is None or all(figure is None for figure in figures):
        return None
    running, waiting, places, cache_used = figures
    return LoadView(running=running, waiting=waiting, places=places, cache_used=cache_used, told_at=told_at)


def _models(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[ModelView]:
    """Say how a server's models stand; what its owner calls them there, often a path, concerns nobody else."""
    views = model_views(gateway, record, known=known)
    return views if known else [view.model_copy(update={"upstream_name": view.name}) for view in views]


def _loading(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[LoadingView]:
    """Say which models a server loads now."""
    loads = gateway.plane.board.loading(record.id)
    now, moment = gateway.now(), gateway.plane.clock()
    names = {model.upstream_name: model.name for model in record.models}
    return [
        LoadingView(
            model=load.model if known else names[load.model],
            since=now - timedelta(seconds=max(moment - load.since, 0.0)),
            about_seconds=load.about_seconds,
        )
        for load in loads
        if known or load.model in names
    ]


def _loaded_models(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[str] | None:
    """Name the models in memory; what its owner runs beside what is registered concerns nobody else."""
    loaded = gateway.said.signals(record.id).loaded
    if loaded is None or known:
        return None if loaded is None else sorted(loaded)
    return sorted({model.name for model in record.models if model.upstream_name in loaded})
