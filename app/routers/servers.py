"""How are servers registered, listed and steered over HTTP?"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Response

from app.routers.deps import DOCUMENTED_SCHEMES, Admin, GatewayHere
from app.routers.documented import errors
from app.routers.schemas import ChangeServer, HoldRequest, RegisterServer
from app.routers.views import Registered, ServerDetails, ServerList, ServerView, server_details, server_view
from app.services.core.types import HealthStatus

__all__ = ["router"]

router = APIRouter(prefix="/admin", tags=["servers"], dependencies=DOCUMENTED_SCHEMES)

ServerId = Annotated[str, Path(description="The `registration_id`.", examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])]
ModelFilter = Annotated[str | None, Query(description="Only servers with this model.", examples=["llama-3-8b"])]
StatusFilter = Annotated[HealthStatus | None, Query(description="Only servers with this `health_status`.")]
OwnerFilter = Annotated[
    str | None, Query(description="Only servers registered by this key id, or with this `owner` in their metadata.")
]
FOLLOWING = ("show_server", "change_server", "replace_server", "pause_server", "remove_server")
LINKS = {
    name: {"operationId": name, "parameters": {"server_id": "$response.body#/registration_id"}} for name in FOLLOWING
}
"""What can be done with the id that a registration answers (OpenAPI links, for clients and testers)."""


@router.post("/register", status_code=201, responses={**errors(401, 403, 409, 422, 503), 201: {"links": LINKS}})
async def register_server(body: RegisterServer, principal: Admin, gateway: GatewayHere) -> Registered:
    """Register a model server.

    It is checked first, on the way that traffic will take: it must be reachable and list the models. Without
    `model_name` and `models` it serves whatever it lists. `model_name` is short for one model that is called the same
    by users and server.
    """
    record = await gateway.registry.register(principal, body.spec())
    return Registered(
        registration_id=record.id,
        health_status=gateway.book.state(record.id).status,
        models=[model.name for model in record.models],
        engine=record.engine,
    )


@router.put("/register/{server_id}", responses=errors(401, 403, 404, 409, 422, 503))
async def replace_server(
    server_id: ServerId, body: RegisterServer, principal: Admin, gateway: GatewayHere
) -> ServerView:
    """Describe a server anew, as a whole.

    What is left out falls back to its default; without `api_key` the server is called without one. It is checked as at
    its registration. Pauses and blocks stay.
    """
    return server_view(gateway, principal, await gateway.registry.replace(principal, server_id, body.spec()))


@router.patch("/register/{server_id}", responses=errors(401, 403, 404, 409, 422, 503))
async def change_server(server_id: ServerId, body: ChangeServer, principal: Admin, gateway: GatewayHere) -> ServerView:
    """Change some fields of a server.

    Fields that are left out stay as they are. A null clears `api_key` and `max_concurrency`; for `models` it means
    "all that it lists". A new endpoint, key or list of models is checked first. A stored key is only ever sent to the
    address it was stored for: with another scheme, host or port give `api_key` again, or null.
    """
    return server_view(gateway, principal, await gateway.registry.change(principal, server_id, body.change()))


@router.delete("/register/{server_id}", status_code=204, responses=errors(401, 403, 404, 422, 503))
async def remove_server(server_id: ServerId, principal: Admin, gateway: GatewayHere) -> Response:
    """Remove a server.

    At once no new request goes there; running ones finish. Its endpoint may be registered anew.
    """
    await gateway.registry.remove(principal, server_id)
    return Response(status_code=204)


@router.get("/servers", responses=errors(401, 403, 422))
async def list_servers(
    principal: Admin,
    gateway: GatewayHere,
    model: ModelFilter = None,
    status: StatusFilter = None,
    owner: OwnerFilter = None,
) -> ServerList:
    """List the registered servers, oldest first."""
    found = gateway.registry.find(model=model, status=status, owner=owner)
    return ServerList(servers=[server_view(gateway, principal, record) for record in found], total=len(found))


@router.get("/servers/{server_id}", responses=errors(401, 403, 404, 422))
async def show_server(server_id: ServerId, principal: Admin, gateway: GatewayHere) -> ServerDetails:
    """Show one server with its last 100 checks."""
    return server_details(gateway, principal, gateway.registry.get(server_id))


@router.post("/servers/{server_id}/check", responses=errors(401, 403, 404, 422, 503))
async def check_server(server_id: ServerId, principal: Admin, gateway: GatewayHere) -> ServerDetails:
    """Check a server now, out of its turn, and show what was found."""
    gateway.registry.steered(principal, server_id)
    await gateway.prober.check_now(server_id)
    return server_details(gateway, principal, gateway.registry.get(server_id))


@router.post("/servers/{server_id}/pause", responses=errors(401, 403, 404, 422, 503))
async def pause_server(
    server_id: ServerId, principal: Admin, gateway: GatewayHere, body: HoldRequest | None = None
) -> ServerView:
    """Send a server no new requests, until it is resumed or `until` has come. Running requests finish."""
    hold = body or HoldRequest()
    record = await gateway.registry.pause(principal, server_id, reason=hold.reason, until=hold.until_utc())
    return server_view(gateway, principal, record)


@router.post("/servers/{server_id}/resume", responses=errors(401, 403, 404, 422, 503))
async def resume_server(server_id: ServerId, principal: Admin, gateway: GatewayHere) -> ServerView:
    """End a pause and a drain, and give a server that refused the gateway's key another chance. A block stays."""
    record = await gateway.registry.resume(principal, server_id)
    gateway.prober.check_soon(server_id)
    return server_view(gateway, principal, record)


@router.post("/servers/{server_id}/drain", responses=errors(401, 403, 404, 422, 503))
async def drain_server(
    server_id: ServerId, principal: Admin, gateway: GatewayHere, body: HoldRequest | None = None
) -> ServerView:
    """Send no new requests and let the running ones finish: `in_flight` tells when it is empty. Ends with resume."""
    hold = body or HoldRequest()
    record = await gateway.registry.drain(principal, server_id, reason=hold.reason, until=hold.until_utc())
    return server_view(gateway, principal, record)


@router.post("/servers/{server_id}/block", responses=errors(401, 403, 404, 422, 503))
async def block_server(
    server_id: ServerId, principal: Admin, gateway: GatewayHere, body: HoldRequest | None = None
) -> ServerView:
    """Send a server no requests, by the operator's word. Its owner cannot lift it."""
    hold = body or HoldRequest()
    record = await gateway.registry.block(principal, server_id, reason=hold.reason, until=hold.until_utc())
    return server_view(gateway, principal, record)


@router.post("/servers/{server_id}/unblock", responses=errors(401, 403, 404, 422, 503))
async def unblock_server(server_id: ServerId, principal: Admin, gateway: GatewayHere) -> ServerView:
    """Lift a block, and a quarantine with it."""
    return server_view(gateway, principal, await gateway.registry.unblock(principal, server_id))
