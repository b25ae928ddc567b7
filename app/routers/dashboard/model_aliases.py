"""How does the operator let names stand for models, in a browser?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Query, Request, Response

from app.routers.aliases import AliasesHere
from app.routers.dashboard.alias_forms import AliasDraft, draft_of, drafted, judged
from app.routers.dashboard.forms import FormFields
from app.routers.dashboard.plain_words import for_people
from app.routers.dashboard.rendering import done, page
from app.routers.dashboard.visitors import OperatorChanging, OperatorVisitor, Visitor
from app.services.core.errors import Conflict, FieldsInvalid, NotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from app.services.core.choice.aliases import Alias
    from app.services.registry.aliases.service import Aliases

__all__ = ["router"]

router = APIRouter(prefix="/ui/models/aliases", include_in_schema=False)

BACK: Final = "/ui/models#aliases"
TELLING: Final = (Conflict, FieldsInvalid, NotFound, StorageUnavailable)
Name = Annotated[str, Query(max_length=256)]


@router.get("/new")
async def show_new(request: Request, visitor: OperatorVisitor, aliases: AliasesHere) -> Response:
    """Show an empty form."""
    return _form(request, visitor, aliases, AliasDraft(), {})


@router.get("/edit")
async def show_alias(request: Request, visitor: OperatorVisitor, aliases: AliasesHere, name: Name = "") -> Response:
    """Show an alias in the form."""
    return _form(request, visitor, aliases, draft_of(aliases.get(name).alias), {})


@router.post("")
async def save_alias(request: Request, visitor: OperatorChanging, form: FormFields, aliases: AliasesHere) -> Response:
    """Create an alias or describe one anew, or show the form again with what is wrong."""
    draft = drafted(form)
    if form.flag("more"):
        return _form(request, visitor, aliases, draft, {})
    found = judged(draft)
    if found.alias is None:
        return _form(request, visitor, aliases, draft, found.faults)
    try:
        await _saved(aliases, visitor, draft.was, found.alias)
    except TELLING as error:
        return _form(request, visitor, aliases, draft, {error.param or "name": for_people(error.message)})
    return done(request, visitor, BACK, f"{found.alias.name} can be asked for from now on.")


@router.get("/remove")
async def ask_to_remove(request: Request, visitor: OperatorVisitor, aliases: AliasesHere, name: Name = "") -> Response:
    """Ask whether an alias is to go."""
    return page(request, visitor, "models_alias_remove.html", title="Remove an alias", record=aliases.get(name))


@router.post("/remove")
async def remove_alias(request: Request, visitor: OperatorChanging, form: FormFields, aliases: AliasesHere) -> Response:
    """Let a name stand for nothing any more."""
    try:
        await aliases.remove(visitor.principal, form.text("name"))
    except TELLING as error:
        return done(request, visitor, BACK, for_people(error.message), kind="bad")
    return done(request, visitor, BACK, f"{form.text('name')} is an alias no more.")


async def _saved(aliases: Aliases, visitor: Visitor, was: str, alias: Alias) -> None:
    if was:
        await aliases.change(visitor.principal, was, alias)
    else:
        await aliases.create(visitor.principal, alias)


def _form(
    request: Request, visitor: Visitor, aliases: Aliases, draft: AliasDraft, faults: Mapping[str, str]
) -> Response:
    title = "Edit an alias" if draft.was else "New alias"
    models = sorted(aliases.served() - aliases.names)
    status = 422 if faults else 200
    return page(
        request, visitor, "models_alias.html", title=title, status=status, draft=draft, faults=faults, models=models
    )
