"""How is the gateway itself doing, and what is there to call?"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import BaseModel, Field

from app.routers.deps import DOCUMENTED_SCHEMES, GatewayHere, MetricsReader, Phase, started_gateway
from app.routers.documented import errors
from app.services.core.types import HealthStatus

if TYPE_CHECKING:
    from app.routers.deps import Gateway

__all__ = ["router"]

METRICS_MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
ENDPOINTS: Final = {
    "GET /v1/models": "the models that can be asked for",
    "POST /v1/chat/completions": "chat, streamed or not",
    "POST /v1/completions": "text completion, streamed or not",
    "POST /v1/embeddings": "embeddings",
    "POST /admin/register": "register a model server",
    "PUT, PATCH, DELETE /admin/register/{id}": "replace, change or remove a server",
    "GET /admin/servers": "the registered servers",
    "GET /admin/servers/{id}": "one server with its last checks",
    "POST /admin/servers/{id}/check, /pause, /resume, /drain": "steer a server of one's own",
    "POST /admin/servers/{id}/block, /unblock, /approve, /trust": "what only the operator may say of a server",
    "GET /admin/explain": "where the next request for a model would go, and why",
    "GET, POST /admin/model-classes": "which names mean one model: proposed and confirmed; confirm",
    "PUT, DELETE /admin/model-classes/{name}": "change or dissolve a class of names",
    "POST /admin/model-classes/dismiss": "propose these names as one model no more",
    "GET, POST /admin/aliases": "names that stand for models",
    "GET, PUT, DELETE /admin/aliases/{name}": "one of them",
    "GET, POST /admin/keys": "whose keys there are; make one",
    "POST /admin/keys/import": "a key or an invite for each person of a list",
    "GET, PATCH, DELETE /admin/keys/{id}": "one key: look at it, change it, revoke it",
    "POST /admin/keys/{id}/rotate, /invite": "a new secret for a key; a link to fetch it by",
    "GET, POST /invite/{token}": "what an invite is for; fetch its key",
    "GET, POST /admin/groups": "groups of keys, with what holds for all of them",
    "GET, PATCH, DELETE /admin/groups/{id}": "one group",
    "GET /admin/model-limits": "how much of a model may be used by all together",
    "PUT, DELETE /admin/model-limits/{name}": "set or lift that",
    "GET /v1/usage": "what this key used, and what is left",
    "GET /admin/usage": "what was used, by key, model, server, owner, group, person, hour or day",
    "GET /admin/usage/contributions": "what each owner's servers served, and what its people used",
    "GET /admin/stats": "how the pool does now, what happened lately, and the figures of a span of time",
    "GET /admin/audit": "who changed what",
    "GET /health": "how the gateway is doing",
    "GET /ready": "whether it takes requests",
    "GET /metrics": "Prometheus metrics",
    "GET /docs": "this API, to read and try",
    "GET /ui": "pages for people, in a browser",
}

router = APIRouter(tags=["gateway"])


class DatabaseView(BaseModel):
    """Whether the database answers, and how fast."""

    status: Literal["healthy", "unhealthy"]
    latency_ms: float = Field(examples=[0.4])


class ServersView(BaseModel):
    """How many servers there are."""

    total: int = Field(examples=[3])
    healthy: int = Field(examples=[2])


class HealthView(BaseModel):
    """How the gateway is doing."""

    status: Literal["healthy", "unhealthy"] = Field(
        description="`unhealthy` when the database fails; inference goes on."
    )
    version: str = Field(examples=["0.1.0"])
    uptime_seconds: float = Field(examples=[81.5])
    database: DatabaseView
    servers: ServersView


class ReadyView(BaseModel):
    """Whether new requests should be sent here."""

    status: Phase


class RootView(BaseModel):
    """What there is to call."""

    name: str = "Multiverse Inference Gateway"
    version: str = Field(examples=["0.1.0"])
    description: str = "One OpenAI-compatible endpoint over many model servers."
    openai_base_path: str = Field(
        default="/v1", description="OpenAI clients take the gateway's URL and this as base URL."
    )
    documentation: str = "/docs"
    openapi: str = "/openapi.json"
    endpoints: dict[str, str] = Field(default=ENDPOINTS, description="Paths and what they are for.")


@router.get(
    "/health",
    responses={
        **errors(),
        503: {"model": HealthView, "description": "The database fails, or the gateway starts (then an error)."},
    },
)
async def health(gateway: GatewayHere, response: Response) -> HealthView:
    """Tell how the gateway is doing. Needs no key."""
    database = await gateway.database.check()
    response.status_code = 200 if database.status == "healthy" else 503
    return HealthView(
        status=database.status,
        version=gateway.version,
        uptime_seconds=round(time.monotonic() - gateway.started_at, 3),
        database=DatabaseView(status=database.status, latency_ms=database.latency_ms),
        servers=_servers(gateway),
    )


@router.get("/ready", responses={**errors(), 503: {"model": ReadyView, "description": "Starting or draining."}})
async def ready(request: Request, response: Response) -> ReadyView:
    """Tell a load balancer whether to send new requests here. Needs no key."""
    gateway = started_gateway(request.app)
    phase = gateway.phase if gateway else Phase.STARTING
    if phase is not Phase.READY:
        response.status_code = 503
        response.headers["retry-after"] = "1"
    return ReadyView(status=phase)


@router.get(
    "/metrics",
    response_class=Response,
    dependencies=DOCUMENTED_SCHEMES,
    responses={**errors(401, 403), 200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
)
async def metrics(_reader: MetricsReader, gateway: GatewayHere) -> Response:
    """Give the metrics in the Prometheus text format. Needs `METRICS_KEY` or an admin key."""
    return Response(gateway.render_metrics(), headers={"content-type": METRICS_MEDIA_TYPE})


@router.get(
    "/",
    response_model=RootView,
    responses={**errors(), 307: {"description": "A browser is sent to the pages."}},
)
async def root(request: Request, gateway: GatewayHere) -> RootView | RedirectResponse:
    """Say what there is to call. A browser is sent to the pages."""
    view = RootView(version=gateway.version)
    return RedirectResponse("ui") if "text/html" in request.headers.get("accept", "") else view


def _servers(gateway: Gateway) -> ServersView:
    """Count the servers."""
    states = [gateway.book.state(server_id).status for server_id in gateway.registry.servers]
    return ServersView(total=len(states), healthy=states.count(HealthStatus.HEALTHY))
