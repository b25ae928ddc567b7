"""Which groups of keys are there, and what bounds each? The pages of groups."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.routers.aliases import AliasesHere
from app.routers.dashboard.forms import Form, FormFields
from app.routers.dashboard.key_answers import told
from app.routers.dashboard.key_forms import (
    GROUP_FIELDS,
    changed_fields,
    checked,
    given_fields,
    group_fields,
    shown_form,
    shown_group,
    what_changed,
)
from app.routers.dashboard.key_pages import limits_in_short, making_choices
from app.routers.dashboard.rendering import done, page
from app.routers.dashboard.visitors import AdminChanging, AdminVisitor, SignedIn, Visitor
from app.routers.groups import ChangeGroup, DescribeGroup
from app.routers.key_views import group_view
from app.routers.keys import KeysHere
from app.services.core.errors import GatewayError
from app.services.registry.aliases.service import Aliases
from app.services.registry.people.keys import Keys
from app.services.registry.people.listing import KeyQuery
from app.services.registry.people.records import GroupRecord

__all__ = ["router"]

LIST: Final = "/ui/keys/groups"
STALE: Final = (
    "Somebody changed this group since the form was loaded. What stands here now is how it is: change it again."
)

router = APIRouter(include_in_schema=False)


@router.get("/ui/keys/groups")
async def list_groups(request: Request, visitor: SignedIn, keys: KeysHere) -> HTMLResponse:
    """Show the groups that one may see."""
    rows = [_row(record) for record in keys.list_groups(visitor.principal)]
    return page(request, visitor, "groups.html", title="Groups", rows=rows)


@router.get("/ui/keys/groups/new")
async def new_group(request: Request, visitor: AdminVisitor, keys: KeysHere, aliases: AliasesHere) -> HTMLResponse:
    """Show the form that makes a group."""
    return _form_page(request, visitor, keys, aliases, None, dict.fromkeys(GROUP_FIELDS, ""))


@router.post("/ui/keys/groups/new")
async def make_group(
    request: Request, visitor: AdminChanging, form: FormFields, keys: KeysHere, aliases: AliasesHere
) -> Response:
    """Make a group."""
    try:
        body = checked(DescribeGroup, given_fields(group_fields(form)))
        group = await keys.create_group(visitor.principal, body.spec())
    except GatewayError as error:
        values = shown_form(form, GROUP_FIELDS)
        return _form_page(request, visitor, keys, aliases, None, values, faults=told(error), status=error.status)
    return done(request, visitor, f"{LIST}/{group.id}", f"The group {group.name} is made. Now put keys into it.")


@router.get("/ui/keys/groups/{group_id}")
async def show_group(request: Request, visitor: SignedIn, group_id: str, keys: KeysHere) -> HTMLResponse:
    """Show one group."""
    record = keys.get_group(visitor.principal, group_id)
    inside = (await keys.page(visitor.principal, KeyQuery(group=group_id, limit=1))).total
    return page(request, visitor, "groups_one.html", title=record.name, inside=inside, **_row(record))


@router.get("/ui/keys/groups/{group_id}/edit")
async def edit_group(
    request: Request, visitor: AdminVisitor, group_id: str, keys: KeysHere, aliases: AliasesHere
) -> HTMLResponse:
    """Show the form that changes a group."""
    record = keys.get_group(visitor.principal, group_id)
    return _form_page(request, visitor, keys, aliases, record, shown_group(record))


@router.post("/ui/keys/groups/{group_id}/edit")
async def change_group(
    request: Request, visitor: AdminChanging, group_id: str, form: FormFields, keys: KeysHere, aliases: AliasesHere
) -> Response:
    """Change what differs from what stood in the form; keys follow from the next request on."""
    record = keys.get_group(visitor.principal, group_id)
    if form.raw("updated_at") != record.updated_at.isoformat():
        values, faults = shown_group(record), {"": STALE}
        return _form_page(request, visitor, keys, aliases, record, values, faults=faults, status=409)
    try:
        before = group_fields(Form({name: [value] for name, value in shown_group(record).items()}))
        fields = changed_fields(group_fields(form), before)
        await keys.change_group(visitor.principal, group_id, checked(ChangeGroup, fields).change())
    except GatewayError as error:
        values, faults = shown_form(form, GROUP_FIELDS), told(error)
        return _form_page(request, visitor, keys, aliases, record, values, faults=faults, status=error.status)
    return done(request, visitor, f"{LIST}/{group_id}", what_changed(fields))


@router.get("/ui/keys/groups/{group_id}/remove")
async def ask_to_remove(request: Request, visitor: AdminVisitor, group_id: str, keys: KeysHere) -> HTMLResponse:
    """Ask before a group goes."""
    record = keys.get_group(visitor.principal, group_id)
    inside = (await keys.page(visitor.principal, KeyQuery(group=group_id, limit=1))).total
    title = f"Remove {record.name}?"
    return page(request, visitor, "groups_remove.html", title=title, group=group_view(record), inside=inside)


@router.post("/ui/keys/groups/{group_id}/remove")
async def remove_group(request: Request, visitor: AdminChanging, group_id: str, keys: KeysHere) -> Response:
    """Remove a group that no key is in but revoked ones."""
    name = keys.get_group(visitor.principal, group_id).name
    await keys.remove_group(visitor.principal, group_id)
    return done(request, visitor, LIST, f"The group {name} is removed.")


def _row(record: GroupRecord) -> dict[str, Any]:
    """Show a group with its limits in words."""
    return {
        "group": group_view(record),
        "limits": limits_in_short(record.limits),
        "person_limits": limits_in_short(record.person_limits),
        "model_limits": {model: limits_in_short(limits) for model, limits in sorted(record.model_limits.items())},
    }


def _form_page(
    request: Request,
    visitor: Visitor,
    keys: Keys,
    aliases: Aliases,
    record: GroupRecord | None,
    values: dict[str, str],
    *,
    faults: dict[str, str] | None = None,
    status: int = 200,
) -> HTMLResponse:
    context: dict[str, Any] = {
        "group": None if record is None else group_view(record),
        "updated_at": "" if record is None else record.updated_at.isoformat(),
        "values": values,
        "faults": faults or {},
        **making_choices(keys, visitor, aliases.served()),
    }
    title = "Make a group" if record is None else f"Change {record.name}"
    return page(request, visitor, "groups_form.html", title=title, status=status, **context)
