"""Which models can be asked for, how do they stand, and how is a tool connected to one? The pages for everybody."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request, Response

from app.routers.aliases import AliasesHere
from app.routers.classes import ClassesHere
from app.routers.dashboard.forms import FormFields
from app.routers.dashboard.model_aliases import router as aliases_router
from app.routers.dashboard.model_cards import card_of, matching, names_for, seen_by
from app.routers.dashboard.plain_words import for_people
from app.routers.dashboard.rendering import done, is_htmx, page, part
from app.routers.dashboard.snippet_parts import Connection
from app.routers.dashboard.snippet_urls import api_url
from app.routers.dashboard.snippets import tools_for
from app.routers.dashboard.visitors import OperatorChanging, SignedIn, Visitor, is_https
from app.routers.deps import GatewayHere
from app.routers.keys import KeysHere
from app.services.core.errors import Conflict, FieldsInvalid, NotFound, StorageUnavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from app.services.core.choice.snapshot import Snapshot
    from app.services.registry.aliases.service import Aliases
    from app.services.registry.classes import ModelClasses

__all__ = ["router"]

router = APIRouter(include_in_schema=False)
router.include_router(aliases_router)

MOST_SHOWN: Final = 200
PAGE: Final = "/ui/models"
Sought = Annotated[str, Query(alias="q", max_length=256)]
ModelName = Annotated[str, Query(max_length=256)]
TELLING: Final = (Conflict, FieldsInvalid, NotFound, StorageUnavailable)


@router.get(PAGE)
async def show_models(
    request: Request,
    visitor: SignedIn,
    gateway: GatewayHere,
    keys: KeysHere,
    classes: ClassesHere,
    aliases: AliasesHere,
    sought: Sought = "",
) -> Response:
    """Show the models that the visitor may ask for; to admins the names to confirm and the aliases too."""
    seen = seen_by(visitor.principal, _snapshot(request))
    every = names_for(visitor.principal, seen)
    found = matching(every, seen, sought)
    cards = [card_of(gateway, seen, name, keys.model_limits) for name in found[:MOST_SHOWN]]
    shown: dict[str, Any] = {"cards": cards, "sought": sought, "total": len(every), "found": len(found)}
    if is_htmx(request):
        return part(request, visitor, "models_list.html", **shown)
    shown |= await _decisions(visitor, classes, aliases)
    return page(request, visitor, "models.html", title="Models", **shown)


@router.get(f"{PAGE}/connect")
async def show_connections(
    request: Request, visitor: SignedIn, gateway: GatewayHere, model: ModelName = ""
) -> Response:
    """Show what each tool takes to use a model through this gateway."""
    seen = seen_by(visitor.principal, _snapshot(request))
    names = names_for(visitor.principal, seen)
    if not model and names:
        model = names[0]
    if model not in names:
        raise NotFound("There is no model of this name that your key may ask for. The page Models lists those.")
    card = card_of(gateway, seen, model, {})
    connection = Connection(model, _api_url(request), card.context_length, embeds=card.embeds)
    shown: dict[str, Any] = {"card": card, "names": names, "connection": connection, "tools": tools_for(connection)}
    return page(request, visitor, "models_connect.html", title="Connect your tool", **shown)


@router.post(f"{PAGE}/classes")
async def confirm_names(
    request: Request, visitor: OperatorChanging, form: FormFields, classes: ClassesHere
) -> Response:
    """Confirm that names mean one model."""
    name, members = form.text("name"), form.list("members")
    is_known = any(record.name == form.text("extends") for record in classes.confirmed)
    deciding = (
        classes.change(visitor.principal, form.text("extends"), name, members)
        if is_known
        else classes.confirm(visitor.principal, name, members)
    )
    return await _decided(request, visitor, deciding, f"Each of these names means {name} from now on.")


@router.post(f"{PAGE}/classes/dismiss")
async def dismiss_names(
    request: Request, visitor: OperatorChanging, form: FormFields, classes: ClassesHere
) -> Response:
    """Propose names no more."""
    deciding = classes.dismiss(visitor.principal, form.list("members"))
    return await _decided(request, visitor, deciding, "These names are not proposed again, unless others join them.")


@router.post(f"{PAGE}/classes/dissolve")
async def dissolve_names(
    request: Request, visitor: OperatorChanging, form: FormFields, classes: ClassesHere
) -> Response:
    """Let each name of a class mean its own servers again."""
    deciding = classes.dissolve(visitor.principal, form.text("name"))
    return await _decided(request, visitor, deciding, "Each name means its own servers again.")


async def _decisions(visitor: Visitor, classes: ModelClasses, aliases: Aliases) -> dict[str, Any]:
    """Gather what admins see of names: proposals, classes, aliases."""
    if not visitor.is_admin:
        return {"proposals": [], "classes": (), "aliases": (), "served": frozenset()}
    return {
        "proposals": await classes.proposals(),
        "classes": classes.confirmed,
        "aliases": aliases.records,
        "served": aliases.served(),
    }


async def _decided(request: Request, visitor: Visitor, deciding: Awaitable[Any], words: str) -> Response:
    """Carry a decision out, and tell on the page what came of it."""
    try:
        await deciding
    except TELLING as error:
        return done(request, visitor, f"{PAGE}#names", for_people(error.message), kind="bad")
    return done(request, visitor, f"{PAGE}#names", words)


def _snapshot(request: Request) -> Snapshot:
    """The registry as routing sees it now."""
    return cast("Snapshot", request.app.state.plane.snapshot)


def _api_url(request: Request) -> str:
    settings = getattr(request.app.state, "settings", None)
    listener = ("127.0.0.1", 8000) if settings is None else (str(settings.host), settings.port)
    return api_url(
        str(getattr(settings, "public_url", None) or ""),
        host=request.headers.get("host", ""),
        is_https=is_https(request),
        listener=listener,
    )
