"""How is what was registered of a server changed? A form, then what would change, side by side, then it is saved."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Path, Request, Response

from app.routers import servers as api
from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.plain_words import for_people
from app.routers.dashboard.rendering import done, page
from app.routers.dashboard.server_forms import (
    LABELS,
    NEW,
    change_in,
    differences,
    field_of,
    texts_in,
    texts_of,
)
from app.routers.dashboard.server_standing import caption_of
from app.routers.dashboard.visitors import Owner, OwnerChanging, Visitor
from app.routers.deps import GatewayHere
from app.services.core.errors import Conflict, GatewayError, NotAllowed, NotFound

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.registry.records import ServerRecord

__all__ = ["router"]

ServerId = Annotated[str, Path(max_length=200)]

_CHANGED: Final = (
    "Somebody has changed this server since the form was opened. What you have and the server has not is marked: look "
    "it over, and go on."
)

router = APIRouter(include_in_schema=False)


@router.get("/ui/servers/{server_id}/edit")
async def show_form(request: Request, server_id: ServerId, visitor: Owner, gateway: GatewayHere) -> Response:
    """Show the form, as the server is."""
    record = gateway.registry.steered(visitor.principal, server_id)
    return _form(request, visitor, record, texts_of(record))


@router.post("/ui/servers/{server_id}/edit")
async def review(
    request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Show what would change, and ask; or the form again, where a field can't be read or somebody goes back to it."""
    record = gateway.registry.steered(visitor.principal, server_id)
    texts = texts_in(form, record)
    if _is_stale(form, record):
        return _form(request, visitor, record, texts, Conflict(_CHANGED))
    try:
        change_in(texts, record, form.text("new_key"))
    except GatewayError as error:
        return _form(request, visitor, record, texts, error)
    changes = differences(texts, record)
    if not changes or form.flag("back"):
        return _form(request, visitor, record, texts, nothing=not changes)
    return _review(request, visitor, record, texts)


@router.post("/ui/servers/{server_id}/save")
async def save(
    request: Request, server_id: ServerId, visitor: OwnerChanging, gateway: GatewayHere, form: FormFields
) -> Response:
    """Save what was reviewed. What the gateway refuses is told at its field."""
    record = gateway.registry.steered(visitor.principal, server_id)
    texts = texts_in(form, record)
    if _is_stale(form, record):
        return _form(request, visitor, record, texts, Conflict(_CHANGED))
    told = ", ".join(difference.label.lower() for difference in differences(texts, record))
    try:
        change = change_in(texts, record, form.text("new_key"))
        server = await api.change_server(server_id, change, visitor.principal, gateway)
    except (NotFound, NotAllowed):
        raise
    except GatewayError as error:
        return _form(request, visitor, record, texts, error)
    return done(
        request, visitor, f"/ui/servers/{server_id}", f"Saved: {told or 'nothing changed'}. {server.note}".strip()
    )


def _as_of(record: ServerRecord) -> str:
    """Name what the form showed, to see whether somebody has changed it since."""
    return hashlib.sha256(repr(sorted(texts_of(record).items())).encode()).hexdigest()[:16]


def _is_stale(form: Form, record: ServerRecord) -> bool:
    return "as_of" in form and form.raw("as_of") != _as_of(record)


def _form(
    request: Request,
    visitor: Visitor,
    record: ServerRecord,
    texts: Mapping[str, str],
    error: GatewayError | None = None,
    *,
    nothing: bool = False,
) -> Response:
    """Show the form with these texts; what is wrong stands at its field, or above all where it is no field's."""
    at = field_of(error.param) if error else ""
    context: dict[str, Any] = {
        "record_id": record.id,
        "caption": caption_of(record, known=True),
        "texts": texts,
        "now_texts": texts_of(record),
        "changed": {difference.name for difference in differences(texts, record)},
        "labels": LABELS,
        "as_of": _as_of(record),
        "has_key": record.api_key is not None or record.key_unreadable,
        "errors": {at: for_people(error.message, error.param)} if error and at else {},
        "problem": for_people(error.message) if error and not at else "",
        "nothing": nothing,
    }
    return page(
        request, visitor, "server_edit.html", title="Edit server", status=error.status if error else 200, **context
    )


def _review(request: Request, visitor: Visitor, record: ServerRecord, texts: Mapping[str, str]) -> Response:
    """Show what would change. A new key is asked for once more: no page gives back what was typed."""
    changes = differences(texts, record)
    checked = {"endpoint_url", "api_key", "models", "context_length"}
    context: dict[str, Any] = {
        "record_id": record.id,
        "caption": caption_of(record, known=True),
        "texts": texts,
        "changes": changes,
        "as_of": _as_of(record),
        "asks_key": texts["api_key"] == NEW,
        "is_checked": any(change.name in checked for change in changes),
    }
    return page(request, visitor, "server_review.html", title="Review changes", **context)
