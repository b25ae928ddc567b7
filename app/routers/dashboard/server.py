"""How does one server stand, and what is done with it? Its page; the actions and the form are files of their own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import quote

from fastapi import APIRouter, Path, Request, Response

from app.routers.dashboard import server_actions, server_edit
from app.routers.dashboard.pauses import tomorrow
from app.routers.dashboard.rendering import page, part
from app.routers.dashboard.server_rows import rows_of
from app.routers.dashboard.server_standing import registrant_of
from app.routers.dashboard.server_view import (
    HISTORY,
    MARK_WIDTH,
    TIMELINE_HEIGHT,
    continuation_in_words,
    hours_in_words,
    marks_of,
    obstacles_of,
    timeline_in_words,
    verification_in_words,
    version_of,
)
from app.routers.dashboard.visitors import Owner, Visitor
from app.routers.deps import Gateway, GatewayHere
from app.routers.views import server_details
from app.services.registry.access import steers
from app.services.registry.records import UNREADABLE_KEY

if TYPE_CHECKING:
    from app.services.registry.people.keys import Keys
    from app.services.registry.records import ServerRecord

__all__ = ["router"]

_FOR_OTHERS: Final = frozenset({"owner", "description"})

ServerId = Annotated[str, Path(max_length=200)]

router = APIRouter(include_in_schema=False)
router.include_router(server_actions.router)
router.include_router(server_edit.router)


@router.get("/ui/servers/{server_id}")
async def show_server(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Show all that the key may know of one server."""
    record = gateway.registry.seen(visitor.principal, server_id)
    context = shown_of(request, visitor, gateway, record)
    return page(request, visitor, "server.html", title=context["row"].caption, **context)


@router.get("/ui/servers/{server_id}/now")
async def show_now(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Show why a server gets no work, and its last checks: the part of its page that changes with each check."""
    record = gateway.registry.seen(visitor.principal, server_id)
    return part(request, visitor, "server_now.html", **shown_of(request, visitor, gateway, record))


@router.get("/ui/servers/{server_id}/checks")
async def show_checks(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Show the rows of its last checks."""
    record = gateway.registry.seen(visitor.principal, server_id)
    return part(request, visitor, "server_checks.html", server=server_details(gateway, visitor.principal, record))


def shown_of(request: Request, visitor: Visitor, gateway: Gateway, record: ServerRecord) -> dict[str, Any]:
    """Gather what the page of a server shows."""
    principal, now = visitor.principal, gateway.now()
    known = steers(principal, record, gateway.registry.owners)
    health = gateway.book.state(record.id)
    server = server_details(gateway, principal, record)
    said = [UNREADABLE_KEY] if record.key_unreadable else []
    said += [health.reason] if health.reason else []
    return {
        "server": server,
        "row": rows_of(request.app, gateway).one(record, principal),
        "known": known,
        "obstacles": obstacles_of(server, "; ".join(said) if known else ""),
        "marks": marks_of(server.history),
        "timeline": {"width": HISTORY * MARK_WIDTH, "height": TIMELINE_HEIGHT, "mark": MARK_WIDTH - 2},
        "timeline_words": timeline_in_words(server.history),
        "engine_version": version_of(server),
        "hours": hours_in_words(server.hours),
        "continuations": {model.name: continuation_in_words(model) for model in server.model_details},
        "verification_in_words": verification_in_words,
        "notes": {name: value for name, value in server.metadata.items() if name not in _FOR_OTHERS},
        "tomorrow": tomorrow(now),
        **_registrant(request, visitor, record, known=known),
    }


def _registrant(request: Request, visitor: Visitor, record: ServerRecord, *, known: bool) -> dict[str, str]:
    """Name the key that registered a server, to those who may know it; admins are led to it, where they may see it."""
    if record.owner == visitor.principal.key_id:
        return {"registrant": "you", "registrant_url": ""}
    keys: Keys | None = getattr(request.app.state, "keys", None)
    key = keys.records.get(record.owner) if keys is not None and record.owner and known else None
    words = registrant_of(record, lambda _key_id: "" if key is None else key.name)
    is_seen = key is not None and visitor.is_admin and visitor.principal.group in {None, key.group_id}
    return {"registrant": words, "registrant_url": f"/ui/keys/{quote(record.owner or '', safe='')}" if is_seen else ""}
