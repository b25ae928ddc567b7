"""What is done with a server at the press of a button? Each is the admin API's own use case, and tells how it went."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import JSONResponse

from app.routers import servers as api
from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.pauses import hold_end
from app.routers.dashboard.plain_words import for_people
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import done, page, refusal
from app.routers.dashboard.server_forms import validated
from app.routers.dashboard.server_standing import STATES, caption_of
from app.routers.dashboard.visitors import OperatorChanging, Owner, OwnerChanging, Visitor
from app.routers.dashboard.wording import absolute, milliseconds
from app.routers.deps import Gateway, GatewayHere
from app.routers.schemas import HoldRequest
from app.routers.terms_schemas import ApproveServer, TrustServer
from app.services.core.errors import GatewayError, NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from datetime import datetime

    from app.routers.views import ServerDetails

__all__ = ["Outcome", "router"]

ServerId = Annotated[str, Path(max_length=200)]

router = APIRouter(include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of it, in a sentence; ``kind`` is that of a notice."""

    text: str
    kind: str = "good"


@router.post("/ui/servers/{server_id}/check")
async def check(request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere) -> Response:
    """Check it now, and say what was found."""

    async def act() -> Outcome:
        return _found(await api.check_server(server_id, visitor.principal, gateway))

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/pause")
async def pause(
    request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Send it no new requests for a while."""

    async def act() -> Outcome:
        hold = _hold(form, gateway)
        await api.pause_server(server_id, visitor.principal, gateway, hold)
        return Outcome(f"Paused {_until(hold.until)}. What runs there is finished.")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/drain")
async def drain(
    request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Send it nothing new, to take it away once what runs is finished."""

    async def act() -> Outcome:
        server = await api.drain_server(server_id, visitor.principal, gateway, _hold(form, gateway))
        left = f"{server.in_flight} in flight" if server.in_flight else "nothing runs there: it may be stopped now"
        return Outcome(f"Draining: {left}.")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/resume")
async def resume(request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere) -> Response:
    """End a pause and a drain."""

    async def act() -> Outcome:
        server = await api.resume_server(server_id, visitor.principal, gateway)
        kept = [STATES[name].lower() for name in ("blocked", "quarantined", "pending") if getattr(server, name)]
        left = f" It stays {' and '.join(kept)}." if kept else " It is checked, and takes requests if it is well."
        return Outcome(f"Resumed.{left} {server.note}".strip(), "info" if kept else "good")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/block")
async def block(
    request: Request, server_id: ServerId, visitor: OperatorChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Send it no requests, by the operator's word."""

    async def act() -> Outcome:
        hold = _hold(form, gateway)
        await api.block_server(server_id, visitor.principal, gateway, hold)
        return Outcome(f"Blocked {_until(hold.until)}. Its owner can't lift that.")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/unblock")
async def unblock(request: Request, server_id: ServerId, visitor: OperatorChanging, gateway: GatewayHere) -> Response:
    """Lift a block, and a quarantine with it."""

    async def act() -> Outcome:
        await api.unblock_server(server_id, visitor.principal, gateway)
        return Outcome("Block and quarantine are lifted.")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/approve")
async def approve(
    request: Request, server_id: ServerId, visitor: OperatorChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Let a server that waits for approval take requests."""

    async def act() -> Outcome:
        body = validated(ApproveServer, {"trust": form.optional("trust")})
        await api.approve_server(server_id, visitor.principal, gateway, body)
        return Outcome("Approved: it takes requests from now on.")

    return await _tell(request, visitor, server_id, act())


@router.post("/ui/servers/{server_id}/trust")
async def trust(
    request: Request, server_id: ServerId, visitor: OperatorChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Say how far it is trusted."""

    async def act() -> Outcome:
        body = validated(TrustServer, {"trust": form.optional("trust")})
        server = await api.trust_server(server_id, body, visitor.principal, gateway)
        how = "" if server.trust_given else ", as its owner and its share imply"
        return Outcome(f"Its trust is now {server.trust.value}{how}.")

    return await _tell(request, visitor, server_id, act())


@router.get("/ui/servers/{server_id}/remove")
async def ask_before_removal(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Say what a removal means, and ask."""
    record = gateway.registry.steered(visitor.principal, server_id)
    served = {
        model.name
        for other in gateway.registry.find(visitor.principal)
        if other is not record
        for model in other.models
    }
    names = sorted(model.name for model in record.models)
    context: dict[str, Any] = {
        "server_id": server_id,
        "caption": caption_of(record, known=True),
        "in_flight": gateway.plane.board.in_flight(server_id),
        "stay": [name for name in names if name in served],
        "go": [name for name in names if name not in served],
    }
    title = "Reject server" if record.pending.in_force(gateway.now()) else "Remove server"
    return page(request, visitor, "server_remove.html", title=title, **context)


@router.post("/ui/servers/{server_id}/remove")
async def remove(request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere) -> Response:
    """Remove it, or reject one that waits for approval."""
    caption = caption_of(gateway.registry.steered(visitor.principal, server_id), known=True)
    await api.remove_server(server_id, visitor.principal, gateway)
    return done(request, visitor, "/ui/servers", f"Removed {caption}. What runs there is finished.")


async def _tell(request: Request, visitor: Visitor, server_id: str, act: Awaitable[Outcome]) -> Response:
    """Do it, and tell how it went: a script at once, a browser on the server's page.

    Raises:
        NotFound, NotAllowed: there is no page to tell it on.
    """
    is_script = "application/json" in request.headers.get("accept", "")
    try:
        outcome = await act
    except GatewayError as error:
        if is_script:
            return refusal(error)
        if isinstance(error, NotFound | NotAllowed):
            raise
        outcome = Outcome(for_people(error.message), "bad")
    if is_script:
        return JSONResponse({"notice": outcome.text, "kind": outcome.kind}, headers=dict(PAGE_HEADERS))
    return done(request, visitor, f"/ui/servers/{server_id}", outcome.text, kind=outcome.kind)


def _found(server: ServerDetails) -> Outcome:
    """Say what a check found."""
    last = server.history[0] if server.history else None
    if last is None:
        return Outcome("It could not be checked. Try again in a moment.", "bad")
    if last.ok:
        listed = f"It answered in {milliseconds(last.latency_ms)}."
        return Outcome(f"Checked just now. {listed} {last.reason} {server.note}".strip())
    return Outcome(f"Checked just now, and it failed: {last.reason or 'no reason is known'}.", "bad")


def _hold(form: Form, gateway: Gateway) -> HoldRequest:
    """Read why, and until when."""
    until = hold_end(form.text("for"), form.number("own"), form.text("unit", "minutes"), gateway.now())
    return validated(HoldRequest, {"reason": form.text("reason"), "until": until and until.isoformat()})


def _until(until: datetime | None) -> str:
    return "until it is lifted" if until is None else f"until {absolute(until)}"
