"""How are keys made, shown, changed and ended over HTTP?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal, cast

from fastapi import APIRouter, Depends, Path, Query, Request, Response

from app.routers.deps import DOCUMENTED_SCHEMES, GatewayHere, current_principal
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.import_schemas import ImportedKeys, ImportPeople, InviteView, MakeInvite, imported_keys
from app.routers.invites import InvitesHere
from app.routers.key_schemas import ChangeKey, MakeKey, RotateKey, group_named
from app.routers.key_views import (
    EXAMPLE_ID,
    KeyList,
    KeyView,
    MadeKey,
    key_list,
    key_view,
    made_key,
)
from app.services.core.errors import Unavailable
from app.services.core.people.principal import Principal, Role
from app.services.core.people.scope import Scope
from app.services.registry.people.keys import Keys
from app.services.registry.people.listing import MAX_PAGE_KEYS, KeyQuery
from app.services.registry.people.records import KeyState
from app.services.registry.people.rules import Actor, require_keeper

__all__ = ["Keeper", "KeysHere", "keys_of", "router"]

WORDS: Final = {
    403: (
        "The key's role does not reach this, or what is asked for would do more than the key that asks.",
        "A key makes no key that may do more than itself: yours may give the role user or less. Ask an admin.",
    ),
    404: (
        "There is no key with this id that one may see.",
        "There is no key of this id that you may see. GET /admin/keys lists those.",
    ),
    409: (
        "The key has ended, or was not fetched yet.",
        "This key was revoked, and that is for good. Make a new one.",
    ),
}
"""What some statuses mean here: in words, and by example."""
IMPORT_WORDS: Final = {
    **WORDS,
    409: (
        "Somebody on the list has a key there already, or stands in it twice. Nothing was made.",
        "line 3: ada@example.org has a key in the group physics-101 already. Nothing was made.",
    ),
    422: (
        "A line of the list, or a field, is not good. Nothing was made.",
        "line 4: its email is no address: write it as someone@example.org, or leave it out. Nothing was made.",
    ),
}
NEVER_STORED: Final = {"cache-control": "no-store"}
"""Sent with a key, whatever else is decided for other answers."""
FOLLOWING: Final = ("show_key", "change_key", "rotate_key", "revoke_key")
LINKS: Final = {name: {"operationId": name, "parameters": {"key_id": "$response.body#/id"}} for name in FOLLOWING}
"""What can be done with the id of a new key (OpenAPI links, for clients and testers)."""

_errors: Final = partial(errors_in_words, {**DATABASE_FAILS, **WORDS})
router = APIRouter(prefix="/admin/keys", tags=["keys"], dependencies=DOCUMENTED_SCHEMES)

KeyId = Annotated[str, Path(description="The key's `id`.", examples=[EXAMPLE_ID])]
GroupFilter = Annotated[str | None, Query(description="Only keys of this group: its name or id.", max_length=200)]
RoleFilter = Annotated[Literal["admin", "owner", "user"] | None, Query(description="Only keys of this role.")]
StateFilter = Annotated[KeyState | None, Query(description="Only keys that are in this state.")]
Search = Annotated[
    str,
    Query(
        alias="q",
        description="Only keys with this in their name, person, id, or what is shown of their secrets (`wxyz`); "
        "case is ignored.",
        max_length=200,
        examples=["ada"],
    ),
]
After = Annotated[
    str | None, Query(description="Only keys after this one: `next_after` of the page before.", max_length=200)
]
PageLength = Annotated[int, Query(ge=1, le=MAX_PAGE_KEYS, description="How many at most.")]


def keys_of(request: Request) -> Keys:
    """Return the keys.

    Raises:
        Unavailable: they are not there yet.
    """
    keys = getattr(request.app.state, "keys", None)
    if keys is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Keys", keys)


def keeper(principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Let pass who may have to do with keys, before the body is judged: who may not is told nothing of it.

    Raises:
        NotAllowed: a user's key.
    """
    require_keeper(Actor(principal, Scope(principal.role)))
    return principal


def rotator(key_id: KeyId, principal: Annotated[Principal, Depends(current_principal)]) -> Principal:
    """Let pass each key that asks for itself, and who may have to do with others.

    Raises:
        NotAllowed: a user's key asks for another one.
    """
    return principal if key_id == principal.key_id else keeper(principal)


KeysHere = Annotated[Keys, Depends(keys_of)]
Keeper = Annotated[Principal, Depends(keeper)]
Rotator = Annotated[Principal, Depends(rotator)]


def asked_keys(
    principal: Keeper,
    keys: KeysHere,
    group: GroupFilter = None,
    role: RoleFilter = None,
    state: StateFilter = None,
    text: Search = "",
    after: After = None,
    limit: PageLength = MAX_PAGE_KEYS,
) -> KeyQuery:
    """Put the question together.

    Raises:
        FieldsInvalid: there is no such group.
    """
    group_id = group_named(group, keys.list_groups(principal))
    return KeyQuery(group_id, Role(role) if role else None, state, text, after, limit)


@router.post("", status_code=201, responses={**_errors(401, 403, 409, 422, 503), 201: {"links": LINKS}})
async def create_key(body: MakeKey, principal: Keeper, keys: KeysHere, response: Response) -> MadeKey:
    """Make a key, and show it this once.

    What is left out is as with the key that asks, as far as that one is bounded. An owner's key makes users' keys
    inside its own scope; they end with it and draw on its limits.
    """
    response.headers.update(NEVER_STORED)
    group_id = group_named(body.group, keys.list_groups(principal))
    record, secret = await keys.create(principal, body.spec(group_id))
    return made_key(keys, record, secret)


@router.post(
    "/import", status_code=201, responses=errors_in_words({**DATABASE_FAILS, **IMPORT_WORDS}, 401, 403, 409, 422, 503)
)
async def import_keys(
    body: ImportPeople, principal: Keeper, keys: KeysHere, invites: InvitesHere, response: Response
) -> ImportedKeys:
    """Make a key, or a link by which a key is fetched, for each person of a list: for all of them or for none.

    The list comes as `people` or as `csv`, whose first row names its columns (`name`, `person`, `email`, in any order).
    Keys and links are shown this once.
    """
    response.headers.update(NEVER_STORED)
    group_id = group_named(body.group, keys.list_groups(principal))
    imported = await invites.hand_out(
        principal,
        body.listed(),
        body.terms(group_id),
        body.handed_out,
        days=body.invite_days,
        skip_existing=body.skip_existing,
    )
    return imported_keys(body.handed_out, imported)


@router.get("", responses=_errors(401, 403, 422))
async def list_keys(principal: Keeper, keys: KeysHere, query: Annotated[KeyQuery, Depends(asked_keys)]) -> KeyList:
    """List the keys that one may see, oldest first. The operator's own, `ADMIN_API_KEY`, is not among them."""
    return await key_list(keys, await keys.page(principal, query))


@router.get("/{key_id}", responses=_errors(401, 403, 404, 422))
async def show_key(key_id: KeyId, principal: Keeper, keys: KeysHere) -> KeyView:
    """Show one key: what it may do, and the last characters of the secrets that open it."""
    return key_view(keys, keys.get(principal, key_id))


@router.patch("/{key_id}", responses=_errors(401, 403, 404, 409, 422, 503))
async def change_key(
    key_id: KeyId, body: ChangeKey, principal: Keeper, keys: KeysHere, gateway: GatewayHere
) -> KeyView:
    """Change some fields of a key. It counts from the next request on, and the secret stays.

    Fields that are left out stay as they are. A null clears `group`, `person`, `models`, `routes`, `limits`,
    `model_limits` and `expires_at`.
    """
    group_id = group_named(body.group, keys.list_groups(principal))
    return key_view(keys, await keys.change(principal, key_id, body.change(group_id, gateway.now())))


@router.delete("/{key_id}", status_code=204, responses=_errors(401, 403, 404, 422, 503))
async def revoke_key(key_id: KeyId, principal: Keeper, keys: KeysHere) -> Response:
    """End a key for good, at once, and with it what it minted if it is an owner's. Its name stays with what it did."""
    await keys.revoke(principal, key_id)
    return Response(status_code=204)


@router.post("/{key_id}/rotate", responses=_errors(401, 403, 404, 409, 422, 503))
async def rotate_key(
    key_id: KeyId, principal: Rotator, keys: KeysHere, response: Response, body: RotateKey | None = None
) -> MadeKey:
    """Give a key a new secret, and show it this once. The old one opens it for `overlap_seconds` more.

    Every key may do so for itself, and those who keep keys for each that lies inside the scope of their own.
    """
    response.headers.update(NEVER_STORED)
    overlap_seconds = (body or RotateKey()).overlap_seconds
    record, secret = await keys.rotate(principal, key_id, overlap_seconds=overlap_seconds)
    return made_key(keys, record, secret)


@router.post("/{key_id}/invite", status_code=201, responses=_errors(401, 403, 404, 409, 422, 503))
async def renew_invite(
    key_id: KeyId, principal: Keeper, invites: InvitesHere, response: Response, body: MakeInvite | None = None
) -> InviteView:
    """Make a new link to a key that nobody has fetched yet, and show it this once. The one before works no more."""
    response.headers.update(NEVER_STORED)
    link = await invites.renew(principal, key_id, days=(body or MakeInvite()).invite_days)
    return InviteView(id=key_id, link=link.url, expires_at=link.expires_at)
