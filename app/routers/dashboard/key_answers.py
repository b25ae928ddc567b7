"""How does what was decided of a key become a page: a form, the form with its faults, a secret that is shown once?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from app.routers.dashboard.forms import Form
from app.routers.dashboard.key_forms import changed_fields, faults_of, key_fields, shown_key
from app.routers.dashboard.key_pages import bars_of, left_of, making_choices
from app.routers.dashboard.once import new_form_id
from app.routers.dashboard.rendering import page
from app.routers.key_views import key_view
from app.services.core.errors import NotAllowed, NotFound

if TYPE_CHECKING:
    from fastapi import Request
    from fastapi.responses import HTMLResponse

    from app.routers.dashboard.visitors import Visitor
    from app.routers.key_views import MadeKey
    from app.services.core.errors import GatewayError
    from app.services.registry.accounting.usage import Usage
    from app.services.registry.aliases.service import Aliases
    from app.services.registry.people.keys import Keys
    from app.services.registry.people.records import KeyRecord

__all__ = ["OVERLAPS", "changed", "editing_page", "making_page", "own_page", "secret_page", "told", "whole_link"]

OVERLAPS: Final = (
    ("3600", "for 1 hour more"),
    ("86400", "for 1 day more"),
    ("604800", "for 7 days more"),
    ("2592000", "for 30 days more"),
    ("0", "no longer: it ends at once"),
)
"""How long the old secret opens a key beside the new one, in seconds."""


async def own_page(request: Request, visitor: Visitor, keys: Keys, usage: Usage) -> HTMLResponse:
    """Show a key itself."""
    record = keys.records.get(visitor.principal.key_id)
    own = await left_of(usage, visitor.principal)
    context: dict[str, Any] = {
        "key": None if record is None else key_view(keys, record),
        "own": own,
        "bars": bars_of(own),
        "overlaps": OVERLAPS,
        "form_id": new_form_id(),
    }
    return page(request, visitor, "key_own.html", title="Your key", **context)


def changed(form: Form, keys: Keys, record: KeyRecord) -> dict[str, object]:
    """Read what differs from how a key is.

    Raises:
        FieldsInvalid: a field is no such number, or no list of limits.
    """
    shown = shown_key(record, keys.groups.get(record.group_id or ""))
    before = key_fields(Form({name: [value] for name, value in shown.items()}))
    return changed_fields(key_fields(form), before)


def told(error: GatewayError) -> dict[str, str]:
    """Say at which field something is wrong.

    Raises:
        NotAllowed, NotFound: who asks may do nothing here: there is no form to show again.
    """
    if isinstance(error, NotFound) or (isinstance(error, NotAllowed) and error.param is None):
        raise error
    return faults_of(error)


def making_page(
    request: Request,
    visitor: Visitor,
    keys: Keys,
    aliases: Aliases,
    values: dict[str, str],
    faults: dict[str, str] | None = None,
) -> HTMLResponse:
    """Show the form that makes a key; with what is wrong at which field, if something is."""
    context: dict[str, Any] = {"key": None, "values": values, "faults": faults or {}, "form_id": new_form_id()}
    choices = making_choices(keys, visitor, aliases.served())
    return page(
        request, visitor, "key_form.html", title="Make a key", status=422 if faults else 200, **context, **choices
    )


def editing_page(
    request: Request,
    visitor: Visitor,
    keys: Keys,
    aliases: Aliases,
    key_id: str,
    *,
    values: dict[str, str] | None = None,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    """Show the form that changes a key.

    Raises:
        NotAllowed, NotFound: there is none that one may see.
    """
    record = keys.get(visitor.principal, key_id)
    shown = values or shown_key(record, keys.groups.get(record.group_id or ""))
    context: dict[str, Any] = {
        "key": key_view(keys, record),
        "updated_at": record.updated_at.isoformat(),
        "values": shown,
    }
    choices = making_choices(keys, visitor, aliases.served())
    title = f"Change {record.name}"
    return page(
        request, visitor, "key_form.html", title=title, status=status, faults=faults or {}, **context, **choices
    )


def whole_link(request: Request, url: str) -> str:
    """Write a link as it is sent to somebody; where PUBLIC_URL is not set it leads to where this page came from."""
    return f"{str(request.base_url).rstrip('/')}{url}" if url.startswith("/") else url


def secret_page(request: Request, visitor: Visitor, made: MadeKey, public_url: str, title: str) -> HTMLResponse:
    """Show a key with its secret, this once."""
    base_url = f"{public_url or str(request.base_url).rstrip('/')}/v1"
    is_own = made.id == visitor.principal.key_id
    context: dict[str, Any] = {"key": made, "base_url": base_url, "is_own": is_own}
    return page(request, visitor, "key_secret.html", title=title, **context)
