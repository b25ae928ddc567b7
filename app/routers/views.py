"""What goes out? The answers of the admin API; a server's key is in none of them."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.services.core.continuation.ability import Rung
from app.services.core.types import HealthStatus
from app.services.core.verification.findings import Subject, Verdict
from app.services.registry.access import steers
from app.services.registry.records import Finding, reason_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from app.routers.deps import Gateway
    from app.services.core.keys import Principal
    from app.services.core.verification.findings import VerificationFinding
    from app.services.registry.records import ServerRecord

__all__ = [
    "CheckView",
    "ContinuationView",
    "LoadView",
    "ModelView",
    "Registered",
    "ServerDetails",
    "ServerList",
    "ServerView",
    "server_details",
    "server_view",
]

EXAMPLE_ID = "3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"


class View(BaseModel):
    """An answer. Its fields are all there, always."""

    model_config = ConfigDict(protected_namespaces=(), json_schema_serialization_defaults_required=True)


class Registered(View):
    """What a registration answers."""

    registration_id: str = Field(examples=[EXAMPLE_ID])
    status: Literal["registered"] = "registered"
    health_status: HealthStatus = Field(examples=["healthy"])
    models: list[str] = Field(examples=[["llama-3-8b"]])
    engine: str = Field(examples=["llama.cpp"])


class ContinuationView(View):
    """How a model goes on with an answer that broke off elsewhere: found by trying."""

    chat: Rung = Field(description="How chats go on; `none` if they can't.", examples=["continue_final_message"])
    text: Rung = Field(description="How `/v1/completions` go on; `none` if they can't.", examples=["completions"])
    reason: str = Field(description="Why it can't, or why it is not known yet; empty where all is well.", examples=[""])
    thinking_off: bool = Field(description="Whether chats go on only with the model's thinking turned off.")
    trims: bool = Field(description="Whether white space at the end of what was said so far is lost there.")
    version: str = Field(description="Of the engine that was tried; empty if it tells none.", examples=["b7531"])
    probed_at: datetime | None = Field(description="When it was tried; null if no try has come to a verdict yet.")


class VerificationView(View):
    """What was found of one claim. It changes nothing but what is shown."""

    subject: Subject = Field(description="Which claim.", examples=["context"])
    verdict: Verdict = Field(examples=["ok"])
    detail: str = Field(description="In words; empty where the figure says it all.", examples=["4096 tokens"])
    measured: float | None = Field(
        description="`context`: tokens, `speed`: tokens a second, `first_token`: ms, `canary`: likeness to the nearest "
        "other server of the model, 0 to 1; null where there is no figure.",
        examples=[4096],
    )
    found_at: datetime


class ModelView(View):
    """One model of a server."""

    name: str = Field(description="What users ask for.", examples=["llama-3-8b"])
    upstream_name: str = Field(description="What the server calls it.", examples=["meta-llama/Llama-3.1-8B-Instruct"])
    context_length: int | None = Field(
        description="In tokens, as listed or registered; null if neither server nor owner told.", examples=[8192]
    )
    context_in_effect: int | None = Field(
        description="In tokens, as the engine runs the model now: a prompt has to fit this one. Null if it does not "
        "tell, or has the model not in memory; `context_length` counts then.",
        examples=[8192],
    )
    loaded: bool | None = Field(description="Whether it is in memory now; null if the engine does not tell.")
    capabilities: list[str] = Field(
        description="What the model can do, as far as the engine tells.", examples=[["chat", "tools"]]
    )
    listed: bool = Field(description="Whether the server's last list had it.")
    continuation: ContinuationView = Field(description="How it takes over answers that broke off elsewhere.")
    verification: list[VerificationView] = Field(description="Whether it does what it says; empty until it was asked.")


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


class ServerView(View):
    """A registered server. Keys that may not steer it see no URL and no reasons."""

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
    capabilities: dict[str, Any]
    metadata: dict[str, Any] = Field(examples=[{"owner": "alice"}])
    max_concurrency: int | None = Field(examples=[8])
    priority: int
    weight: float
    share: str
    has_api_key: bool = Field(description="Whether a key is stored for it.")
    in_flight: int = Field(description="Requests that the gateway runs on it now.", examples=[0])
    load: LoadView | None = Field(description="What its engine says of its load; null if it says nothing.")
    loaded_models: list[str] | None = Field(
        description="The models in its memory, as the server calls them; null if its engine does not tell. Keys that "
        "may not steer it see those that it is registered for.",
        examples=[["meta-llama/Llama-3.1-8B-Instruct"]],
    )
    owner: str | None = Field(description="The id of the key that registered it.", examples=["admin"])
    consecutive_failures: int
    last_checked_at: datetime | None
    last_transition_at: datetime | None = Field(description="When `health_status` last changed.")
    created_at: datetime
    updated_at: datetime


class ServerDetails(ServerView):
    """A registered server with its last checks."""

    history: list[CheckView] = Field(description="The last 100 checks, newest first.")


class ServerList(View):
    """The servers that meet the conditions, oldest first."""

    servers: list[ServerView]
    total: int = Field(examples=[1])


def server_view(gateway: Gateway, principal: Principal, record: ServerRecord) -> ServerView:
    """Say how a server stands now, as far as the key may know."""
    return ServerView(**_fields(gateway, principal, record))


def server_details(gateway: Gateway, principal: Principal, record: ServerRecord) -> ServerDetails:
    """Say how a server stands now, with its last checks."""
    known = steers(principal, record)
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
    return ServerDetails(**_fields(gateway, principal, record), history=history)


def _fields(gateway: Gateway, principal: Principal, record: ServerRecord) -> dict[str, Any]:
    known = steers(principal, record)
    health = gateway.book.state(record.id)
    now = gateway.now()
    fields: dict[str, Any] = {
        "registration_id": record.id,
        "endpoint_url": record.endpoint.url if known else None,
        "models": [model.name for model in record.models],
        "model_details": _models(gateway, record, known=known),
        "load": _load(gateway, record.id),
        "loaded_models": _loaded_models(gateway, record, known=known),
        "health_status": health.status,
        "reason": reason_of(record, health, now) if known else "",
        "consecutive_failures": health.consecutive_failures,
        "last_checked_at": health.last_checked_at,
        "last_transition_at": health.last_transition_at,
        "has_api_key": record.api_key is not None or record.key_unreadable,
        "in_flight": gateway.plane.board.in_flight(record.id),
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
    return fields | {"capabilities": dict(record.capabilities), "metadata": dict(record.metadata)}


def _models(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[ModelView]:
    """Say how a server's models stand."""
    signals, contexts = gateway.said.signals(record.id), gateway.said.facts(record.id).contexts
    findings, missing = gateway.registry.findings(record.id), gateway.book.state(record.id).missing_models
    verified = gateway.verifications.of(record.id)
    return [
        ModelView(
            name=model.name,
            upstream_name=model.upstream_name,
            context_length=model.context_length,
            context_in_effect=contexts.get(model.upstream_name),
            loaded=None if signals.loaded is None else model.upstream_name in signals.loaded,
            capabilities=sorted(signals.capabilities.get(model.upstream_name, ())),
            listed=model.upstream_name not in missing,
            continuation=_continuation(findings.get(model.upstream_name, Finding()), known=known),
            verification=_verification(verified.get(model.upstream_name, ()), known=known),
        )
        for model in record.models
    ]


def _load(gateway: Gateway, server_id: str) -> LoadView | None:
    """Say how busy an engine is by its own word; None where it has none."""
    signals, told_at = gateway.said.signals(server_id), gateway.said.told_at(server_id)
    figures = (signals.running, signals.waiting, signals.places, signals.cache_used)
    if told_at is None or all(figure is None for figure in figures):
        return None
    running, waiting, places, cache_used = figures
    return LoadView(running=running, waiting=waiting, places=places, cache_used=cache_used, told_at=told_at)


def _loaded_models(gateway: Gateway, record: ServerRecord, *, known: bool) -> list[str] | None:
    """Name the models in memory; what its owner runs beside what is registered concerns nobody else."""
    loaded = gateway.said.signals(record.id).loaded
    if loaded is None:
        return None
    return sorted(loaded if known else loaded & {model.upstream_name for model in record.models})


def _continuation(finding: Finding, *, known: bool) -> ContinuationView:
    """Say how a model goes on; the reason, which quotes the server, only to those that ``known`` lets read it."""
    ability = finding.ability
    return ContinuationView(
        chat=ability.chat,
        text=ability.text,
        reason=ability.reason if known else "",
        thinking_off=ability.thinking_off,
        trims=ability.trims,
        version=ability.version,
        probed_at=finding.probed_at,
    )


def _verification(findings: Iterable[VerificationFinding], *, known: bool) -> list[VerificationView]:
    """Say what was found of a model's claims; the words, which quote the server and name others, not to strangers."""
    return [
        VerificationView(
            subject=finding.subject,
            verdict=finding.verdict,
            detail=finding.detail if known else "",
            measured=finding.measured,
            found_at=finding.found_at,
        )
        for finding in findings
    ]
