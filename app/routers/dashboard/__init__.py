"""How do people look at the pool, and steer it, in a browser? All pages under ``/ui``."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from app.routers.dashboard import (
    activity,
    assets,
    keys,
    live,
    models,
    overview,
    playground,
    register,
    server,
    servers,
    settings,
    sign_in,
    usage,
)

__all__ = ["router"]

_PAGES: Final = (
    assets, sign_in, live, overview, servers, server, register, models, playground, keys, usage, activity,
    settings,
)  # fmt: skip

router = APIRouter(include_in_schema=False)
for _page in _PAGES:
    router.include_router(_page.router)
