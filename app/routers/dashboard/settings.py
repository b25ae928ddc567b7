"""What is the gateway made of, what is it set to, and is it backed up? The page Settings, for the operator."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse

from app.routers.dashboard.rendering import done, page, part
from app.routers.dashboard.settings_views import setting_groups
from app.routers.dashboard.visitors import OperatorChanging, OperatorVisitor, Visitor
from app.routers.deps import GatewayHere
from app.services.core.errors import Conflict, Unavailable
from app.services.made_of import database_file, versions
from app.utils.setting_sources import setting_states

if TYPE_CHECKING:
    from app.routers.deps import Gateway
    from app.services.backups import Backups
    from app.utils.config import Settings

__all__ = ["router"]

_PATH: Final = "/ui/settings"
_LONGEST: Final = 200

router = APIRouter(include_in_schema=False)

Search = Annotated[str, Query(alias="q")]
OnlyChanged = Annotated[str, Query(alias="changed")]


def backups_of(request: Request) -> Backups:
    """Return what makes backups.

    Raises:
        Unavailable: it is not there yet.
    """
    found = getattr(request.app.state, "backups", None)
    if found is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Backups", found)


@router.get("/ui/settings")
async def show_settings(
    request: Request, visitor: OperatorVisitor, gateway: GatewayHere, search: Search = "", changed: OnlyChanged = ""
) -> HTMLResponse:
    """Show settings, versions, the database and backups."""
    wanted = search.strip()[:_LONGEST]
    told = await asyncio.to_thread(_told, request, gateway, wanted, only_changed=bool(changed))
    health = await gateway.database.check()
    about: dict[str, Any] = {"search": wanted, "changed": bool(changed), "health": health}
    return page(
        request, visitor, "settings.html", title="Settings", **told, **about, **await _backups(request, visitor)
    )


@router.get("/ui/settings/backups")
async def show_backups(request: Request, visitor: OperatorVisitor) -> HTMLResponse:
    """Show how backups stand: a part, asked for again while one is being made."""
    return part(request, visitor, "settings_backups.html", **await _backups(request, visitor))


@router.post("/ui/settings/backups")
async def make_backup(request: Request, visitor: OperatorChanging) -> Response:
    """Begin to make a backup."""
    if _is_demo(request):
        raise Conflict("The demo's folder is removed when it ends, and its backups with it.")
    await backups_of(request).begin(visitor.principal)
    return done(request, visitor, f"{_PATH}#backups", "A backup is being made. The gateway goes on serving.")


def _told(request: Request, gateway: Gateway, search: str, *, only_changed: bool) -> dict[str, Any]:
    """What is read from files."""
    settings = cast("Settings", request.app.state.settings)
    standing = setting_states(settings, _started_at(gateway), reads_nothing=_is_demo(request))
    groups = setting_groups(settings, standing, search, changed_only=only_changed)
    return {
        "groups": groups,
        "problems": standing.problems,
        "waiting": sum(state.will_change for state in standing.states.values()),
        "count": sum(len(group.rows) for group in groups),
        "of": len(standing.states),
        "versions": versions(),
        "started_at": datetime.fromtimestamp(_started_at(gateway), UTC),
        "database": database_file(settings.database_path),
    }


async def _backups(request: Request, visitor: Visitor) -> dict[str, Any]:
    return {"backups": await backups_of(request).state(visitor.principal), "is_demo": _is_demo(request)}


def _is_demo(request: Request) -> bool:
    return getattr(request.app.state, "demo", None) is not None


def _started_at(gateway: Gateway) -> float:
    """When the gateway started, in Unix seconds."""
    return time.time() - (time.monotonic() - gateway.started_at)
