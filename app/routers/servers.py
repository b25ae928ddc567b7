"""How are servers registered, listed and steered over HTTP?"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Response

from app.routers.deps import DOCUMENTED_SCHEMES, Admin, Gateway, GatewayHere, current_principal
from app.routers.documented import errors
from app.routers.schemas import ChangeServer, HoldRequest, RegisterServer
from app.routers.terms_schemas import ApproveServer, TrustServer
from app.routers.views import (
    AwaitsApproval,
    Registered,
    ServerDetails,
    ServerList,
    ServerView,
    registered,
    server_details,
    server_view,
)
from app.services.core.keys import Principal
from app.services.core.types import HealthStatus
from app.services.registry.access import require_registrant
from app.services.registry.terms_rules import change_in_words

__all__ = ["router"]

router = APIRouter(prefix="/admin", tags=["servers"], dependencies=DOCUMENTED_SCHEMES)

ServerId = Annotated[str, Path(description="The `registration_id`.", examples=["3f0c4a52-8c1e-4c55-9d0b-5a7d0f9c2b11"])]
ModelFilter = Annotated[str | None, Query(description="Only servers with this model.", examples=["llama-3-8b"])]
StatusFilter = Annotated[HealthStatus | None, Query(description="Only servers with this `health_status`.")]
OwnerFilter = Annotated[
    str | None, Query(description="Only servers registered by this key id, or with this `owner` in their metadata.")
]
RELEASED = "The check passed, so its quarantine is lifted."


def lender(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Let owners' and admins' keys pass, before a body is judged.

    Raises:
        NotAllowed: a user's key.
    """
    require_registrant(principal)
    return principal


Lender = Annotated[Principal, Depends(lender)]

FOLLOWING = ("show_server", "change_server", "replace_server", "pause_server", "remove_server")
LINKS = {
    name: {"operationId": name, "parameters": {"server_id": "$response.body#/registration_id"}} for name in FOLLOWING
}
"""What can be done with the id that a registration answers (OpenAPI links, for clients and testers)."""


@router.post("/register", status_code=201, responses={**errors(401, 403, 409, 422, 503), 201: {"links": LINKS}})
async def register_server(body: RegisterServer, principal: Lender, gateway: GatewayHere) -> Registered | AwaitsApproval:
    """Register a model server.

    It is checked first, on the way that traffic will take: it must be reachable and list the models. Without
    `model_name` and `models` it serves whatever it lists. `model_name` is short for one model that is called the same
    by users and server. Where the operator wants to approve what owners register, it waits for that: `pending`.
    """
    return registered(gateway, await gateway.registry.register(principal, body.spec()))


@router.put("/register/{server_id}", responses=errors(401, 403, 404, 409, 422, 503))
async def replace_server(
    server_id: ServerId, body: RegisterServer, principal: Lender, gateway: GatewayHere
) -> ServerView:
    """Describe a server anew, as a whole.

    What is left out falls back to its default; without `api_key` the server is called without one. It is checked as at
    its registration. Pauses and blocks stay. At another endpoint it may wait for approval again, and is trusted no
    more than its owner: `note` says so.
    """
    before = gateway.registry.seen(principal, server_id)
    record = await gateway.registry.replace(principal, server_id, body.spec())
    return server_view(gateway, principal, record, change_in_words(before, record))


@router.patch("/register/{server_id}", responses=errors(401, 403, 404, 409, 422, 503))
async def change_server(server_id: ServerId, body: ChangeServer, principal: Lender, gateway: GatewayHere) -> ServerView:
    """Change some fields of a server.

    Fields that are left out stay as they are. A null clears `api_key`, `max_concurrency` and `hours`; for `models` it
    means "all that it lists". A new endpoint, key or list of models is checked first. A stored key is only ever sent
    to the address it was stored for: with another scheme, host or port give `api_key` again, or null.
    """
    before = gateway.registry.seen(principal, server_id)
    record = await gateway.registry.change(principal, server_id, body.change())
    return server_view(gateway, principal, record, change_in_words(before, record))


@router.delete("/register/{server_id}", status_code=204, responses=errors(401, 403, 404, 422, 503))
async def remove_server(server_id: ServerId, principal: Lender, gateway: GatewayHere) -> Response:
    """Remove a server.

    At once no new request goes there; running ones finish. Its endpoint may be registered anew.
    """
    await gateway.registry.remove(principal, server_id)
    return Response(status_code=204)


@router.get("/servers", responses=errors(401, 403, 422))
async def list_servers(
    principal: Lender,
    gateway: GatewayHere,
    model: ModelFilter = None,
    status: StatusFilter = None,
    owner: OwnerFilter = None,
) -> ServerList:
    """List the servers that the key may know of, oldest first: an owner's own, and those shared with it."""
    found = gateway.registry.find(principal, model=model, status=status, owner=owner)
    return ServerList(servers=[server_view(gateway, principal, record) for record in found], total=len(found))


@router.get("/servers/{server_id}", responses=errors(401, 403, 404, 422))
async def show_server(server_id: ServerId, principal: Lender, gateway: GatewayHere) -> ServerDetails:
    """Show one server with its last 100 checks."""
    return server_details(gateway, principal, gateway.registry.seen(principal, server_id))


@router.post("/servers/{server_id}/check", responses=errors(401, 403, 404, 422, 503))
async def check_server(server_id: ServerId, principal: Lender, gateway: GatewayHere) -> ServerDetails:
    """Check a server now, out of its turn, and show what was found. If it passes, its quarantine is lifted."""
    gateway.registry.steered(principal, server_id)
    note = await _checked(gateway, principal, server_id)
    return server_details(gateway, principal, gateway.registry.get(server_id), note)


@router.post("/servers/{server_id}/pause", responses=errors(401, 403, 404, 422, 503))
async def pause_server(
    server_id: ServerId, principal: Lender, gateway: GatewayHere, body: HoldRequest | None = None
) -> ServerView:
    """Send a server no new requests, until it is resumed or `until` has come. Running requests finish."""
    hold = body or HoldRequest()
    record = await gateway.registry.pause(principal, server_id, reason=hold.reason, until=hold.until_utc())
    return server_view(gateway, principal, record)


@router.post("/servers/{server_id}/resume", responses=errors(401, 403, 404, 422, 503))
async def resume_server(server_id: ServerId, principal: Lender, gateway: GatewayHere) -> ServerView:
    """End a pause and a drain, and give a server that refused the gateway's key another chance. A block stays.

    One in quarantine is checked at once, and let out of it if it passes.
    """
    record = await gateway.registry.resume(principal, server_id)
    if not record.quarantined.in_force(gateway.now()):
        gateway.prober.check_soon(server_id)
        return server_view(gateway, principal, record)
    note = await _checked(gateway, principal, server_id)
    return server_view(gateway, principal, gateway.registry.get(server_id), note)


@router.post("/servers/{server_id}/drain", responses=errors(401, 403, 404, 422, 503))
async def drain_server(
    server_id: ServerId, principal: Lender, gateway: GatewayHere, body: HoldRequest | None = None
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


@router.post("/servers/{server_id}/approve", responses=errors(401, 403, 404, 422, 503))
async def approve_server(
    server_id: ServerId, principal: Admin, gateway: GatewayHere, body: ApproveServer | None = None
) -> ServerView:
    """Let a server that an owner registered take requests; remove it to reject it."""
    trust = body.trust if body else None
    return server_view(gateway, principal, await gateway.registry.approve(principal, server_id, trust))


@router.post("/servers/{server_id}/trust", responses=errors(401, 403, 404, 422, 503))
async def trust_server(server_id: ServerId, body: TrustServer, principal: Admin, gateway: GatewayHere) -> ServerView:
    """Say how far a server is trusted.

    It holds until the server's owner points it at another endpoint, or another engine is found there.
    """
    return server_view(gateway, principal, await gateway.registry.trust(principal, server_id, body.trust))


async def _checked(gateway: Gateway, principal: Principal, server_id: str) -> str:
    """Check a server; if it passes, let it out of quarantine, and say so."""
    inspection = await gateway.prober.check_now(server_id)
    is_released = inspection.passed and await gateway.registry.release(server_id, principal)
    return RELEASED if is_released else ""
