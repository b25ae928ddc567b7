"""Which keys are there, what may each do, and what is left of its limits? The pages of keys."""

from __future__ import annotations

from typing import Annotated, Any, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse

from app.routers.aliases import AliasesHere
from app.routers.dashboard import groups, key_import
from app.routers.dashboard.forms import FormFields
from app.routers.dashboard.key_answers import (
    OVERLAPS,
    changed,
    editing_page,
    making_page,
    own_page,
    secret_page,
    told,
    whole_link,
)
from app.routers.dashboard.key_forms import KEY_FIELDS, checked, given_fields, key_fields, shown_form, what_changed
from app.routers.dashboard.key_pages import (
    DAYS_LOOKED_BACK,
    KeySearch,
    asked_search,
    bars_of,
    key_rows,
    last_used,
    left_of,
    limits_in_short,
    live_principal,
    minted_count,
    minter_name,
    query_of,
)
from app.routers.dashboard.once import FIELD, AlreadySent, SentFormsHere, new_form_id
from app.routers.dashboard.rendering import done, page
from app.routers.dashboard.visitors import Changing, SignedIn
from app.routers.deps import GatewayHere
from app.routers.import_schemas import MakeInvite
from app.routers.invites import InvitesHere
from app.routers.key_schemas import ChangeKey, MakeKey, RotateKey, group_named
from app.routers.key_views import key_view, made_key
from app.routers.keys import KeysHere
from app.routers.usage import UsageHere
from app.services.core.errors import GatewayError
from app.services.core.keys import Role
from app.services.registry.people.records import KeyState

__all__ = ["router"]

LIST: Final = "/ui/keys"
STALE: Final = (
    "Somebody changed this key since the form was loaded. What stands here now is how it is: change it again."
)

router = APIRouter(include_in_schema=False)
router.include_router(groups.router)  # their paths come before those with a key's id
router.include_router(key_import.router)


@router.get("/ui/keys")
async def list_keys(
    request: Request,
    visitor: SignedIn,
    keys: KeysHere,
    usage: UsageHere,
    gateway: GatewayHere,
    search: Annotated[KeySearch, Depends(asked_search)],
) -> Response:
    """Show the keys that one may see; a user's key sees itself."""
    if visitor.principal.role is Role.USER:
        return await own_page(request, visitor, keys, usage)
    if search.held_key:
        return done(
            request, visitor, search.url(), "A whole key does not belong into an address: it is out of it again."
        )
    there = keys.list_groups(visitor.principal)
    found = await keys.page(visitor.principal, query_of(search, there))
    rows = await key_rows(keys, usage, visitor.principal, found.keys, gateway.now())
    context: dict[str, Any] = {
        "rows": rows,
        "found": found,
        "search": search,
        "groups": [("", "All groups"), *((group.name, group.name) for group in there)],
        "days": DAYS_LOOKED_BACK,
    }
    return page(request, visitor, "keys.html", title="Keys", **context)


@router.get("/ui/keys/own")
async def show_own(request: Request, visitor: SignedIn, keys: KeysHere, usage: UsageHere) -> HTMLResponse:
    """Show the key that is signed in: its limits, and what is left of them."""
    return await own_page(request, visitor, keys, usage)


@router.get("/ui/keys/new")
async def new_key(
    request: Request, visitor: SignedIn, keys: KeysHere, aliases: AliasesHere, group: str = ""
) -> HTMLResponse:
    """Show the form that makes a key."""
    values = dict.fromkeys(KEY_FIELDS, "") | {"role": "user", "group": group[:200]}
    return making_page(request, visitor, keys, aliases, values)


@router.post("/ui/keys/new")
async def make_key(
    request: Request,
    visitor: Changing,
    form: FormFields,
    keys: KeysHere,
    invites: InvitesHere,
    aliases: AliasesHere,
    sent: SentFormsHere,
) -> Response:
    """Make a key, and show it this once. To load the page again makes no other one."""
    try:
        body = checked(MakeKey, given_fields(key_fields(form)))
        group_id = group_named(body.group, keys.list_groups(visitor.principal))
        with sent.once(visitor.principal.key_id, form.raw(FIELD)):
            record, secret = await keys.create(visitor.principal, body.spec(group_id))
    except AlreadySent as error:
        return done(request, visitor, LIST, error.message, kind="info")
    except GatewayError as error:
        return making_page(request, visitor, keys, aliases, shown_form(form, KEY_FIELDS), told(error))
    made = made_key(keys, record, secret)
    return secret_page(request, visitor, made, invites.public_url, "The key is made")


@router.get("/ui/keys/{key_id}")
async def show_key(
    request: Request, visitor: SignedIn, key_id: str, keys: KeysHere, usage: UsageHere, gateway: GatewayHere
) -> HTMLResponse:
    """Show one key: what it may do, what it used, and what is left of its limits."""
    record = keys.get(visitor.principal, key_id)
    opened = live_principal(keys, record)
    own = None if opened is None else await left_of(usage, opened)
    context: dict[str, Any] = {
        "key": key_view(keys, record),
        "own": own,
        "bars": bars_of(own),
        "limits": limits_in_short(record.limits),
        "model_limits": {model: limits_in_short(limits) for model, limits in sorted(record.model_limits.items())},
        "minter": minter_name(keys, record),
        "last_used": await last_used(usage, visitor.principal, key_id, gateway.now()),
        "days": DAYS_LOOKED_BACK,
        "overlaps": OVERLAPS,
        "form_id": new_form_id(),
        "is_unclaimed": keys.state(record) is KeyState.UNCLAIMED,
    }
    return page(request, visitor, "key.html", title=record.name, **context)


@router.get("/ui/keys/{key_id}/edit")
async def edit_key(
    request: Request, visitor: SignedIn, key_id: str, keys: KeysHere, aliases: AliasesHere
) -> HTMLResponse:
    """Show the form that changes a key."""
    return editing_page(request, visitor, keys, aliases, key_id)


@router.post("/ui/keys/{key_id}/edit")
async def change_key(
    request: Request,
    visitor: Changing,
    key_id: str,
    form: FormFields,
    keys: KeysHere,
    aliases: AliasesHere,
    gateway: GatewayHere,
) -> Response:
    """Change what differs from what stood in the form; it counts from the next request on."""
    record = keys.get(visitor.principal, key_id)
    if form.raw("updated_at") != record.updated_at.isoformat():
        return editing_page(request, visitor, keys, aliases, key_id, faults={"": STALE}, status=409)
    try:
        fields = changed(form, keys, record)
        body = checked(ChangeKey, fields)
        group_id = group_named(body.group, keys.list_groups(visitor.principal))
        await keys.change(visitor.principal, key_id, body.change(group_id, gateway.now()))
    except GatewayError as error:
        values = shown_form(form, KEY_FIELDS)
        faults, status = told(error), error.status
        return editing_page(request, visitor, keys, aliases, key_id, values=values, faults=faults, status=status)
    return done(request, visitor, f"{LIST}/{key_id}", what_changed(fields))


@router.post("/ui/keys/{key_id}/rotate")
async def rotate_key(
    request: Request,
    visitor: Changing,
    key_id: str,
    form: FormFields,
    keys: KeysHere,
    invites: InvitesHere,
    sent: SentFormsHere,
) -> Response:
    """Give a key a new secret, and show it this once. To load the page again changes nothing."""
    back = LIST if key_id == visitor.principal.key_id else f"{LIST}/{key_id}"
    overlap = checked(RotateKey, given_fields({"overlap_seconds": form.number("overlap_seconds")})).overlap_seconds
    try:
        with sent.once(visitor.principal.key_id, form.raw(FIELD)):
            record, secret = await keys.rotate(visitor.principal, key_id, overlap_seconds=overlap)
    except AlreadySent as error:
        return done(request, visitor, back, error.message, kind="info")
    made = made_key(keys, record, secret)
    return secret_page(request, visitor, made, invites.public_url, "The key has a new secret")


@router.post("/ui/keys/{key_id}/invite")
async def renew_invite(
    request: Request,
    visitor: Changing,
    key_id: str,
    form: FormFields,
    keys: KeysHere,
    invites: InvitesHere,
    sent: SentFormsHere,
) -> Response:
    """Make a new link to a key that nobody has fetched, and show it this once."""
    body = checked(MakeInvite, given_fields({"invite_days": form.number("invite_days")}))
    try:
        with sent.once(visitor.principal.key_id, form.raw(FIELD)):
            link = await invites.renew(visitor.principal, key_id, days=body.invite_days)
    except AlreadySent as error:
        return done(request, visitor, f"{LIST}/{key_id}", error.message, kind="info")
    context: dict[str, Any] = {
        "key": key_view(keys, keys.get(visitor.principal, key_id)),
        "link": whole_link(request, link.url),
        "expires_at": link.expires_at,
    }
    return page(request, visitor, "key_invite.html", title="The invite link", **context)


@router.get("/ui/keys/{key_id}/revoke")
async def ask_to_revoke(request: Request, visitor: SignedIn, key_id: str, keys: KeysHere) -> HTMLResponse:
    """Ask before a key ends, and say what ends with it."""
    record = keys.get(visitor.principal, key_id)
    context: dict[str, Any] = {"key": key_view(keys, record), "minted": minted_count(keys, record)}
    return page(request, visitor, "key_revoke.html", title=f"Revoke {record.name}?", **context)


@router.post("/ui/keys/{key_id}/revoke")
async def revoke_key(request: Request, visitor: Changing, key_id: str, keys: KeysHere) -> Response:
    """End a key for good."""
    record = await keys.revoke(visitor.principal, key_id)
    return done(request, visitor, LIST, f"{record.name} is revoked: it opens nothing any more.")
