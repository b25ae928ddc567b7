"""How do the routers become one application? Everything but the services, which the composition root fills in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from fastapi import FastAPI
from fastapi.routing import APIRoute

from app.routers import (
    aliases,
    audit,
    classes,
    dashboard,
    docs,
    explain,
    groups,
    inference,
    invites,
    keys,
    model_limits,
    ops,
    servers,
    stats,
    usage,
)
from app.routers.dashboard.rendering import error_page
from app.routers.dashboard.visitors import form_bytes
from app.routers.deps import refuse_strangers
from app.routers.envelope import install_error_handlers
from app.routers.middleware import Bounds, RequestGuard

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from starlette.types import Scope

__all__ = ["create_api"]

DESCRIPTION: Final = """
One OpenAI-compatible endpoint over many model servers that their owners run themselves.

This page describes how models are **used**, how servers are **registered and steered**, and how the gateway itself is
doing. Any OpenAI client works: take this gateway's URL and `/v1` as base URL, and your key as API key.

Keys go into `Authorization: Bearer <key>` or `X-API-Key: <key>`; press *Authorize* to try the routes here. Every
answer carries an `X-Request-ID`, yours if you send one. Every error has one form:
`{"error": {"message", "type", "param", "code"}}`, and its message says what to do.
"""

TAGS: Final = [
    inference.TAG,
    {
        "name": "servers",
        "description": "Register model servers, look at them, steer them. Needs an owner's key for one's own, or an "
        "admin key.",
    },
    {"name": "aliases", "description": "Names that stand for models, with weights, fallbacks and bounds."},
    {"name": "keys", "description": "Keys, groups and invites: who may do what, and how much."},
    {"name": "usage", "description": "What was used, by whom and of what."},
    {"name": "audit", "description": "Who changed what, from where, before and after."},
    {"name": "gateway", "description": "How the gateway itself is doing."},
]


_RESOURCES: Final = (
    ops, servers, explain, classes, aliases, keys, groups, model_limits, invites, usage, stats, audit, docs, dashboard,
)  # fmt: skip


def create_api(
    version: str,
    *,
    lifespan: Callable[[FastAPI], AbstractAsyncContextManager[Any]] | None = None,
    bounds: Bounds | None = None,
) -> FastAPI:
    """Make the application. Until there is a ``Gateway`` at ``app.state.gateway`` its routes answer 503.

    Args:
        version: the gateway's own.
        lifespan: starts and stops the services.
        bounds: what a request to these routes may bring.
    """
    app = inference.ApiWithInference(
        title="Multiverse Inference Gateway",
        version=version,
        description=DESCRIPTION,
        openapi_tags=TAGS,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    for resource in _RESOURCES:
        app.include_router(resource.router)
    install_error_handlers(app, error_page)
    app.add_middleware(RequestGuard, bounds=bounds, gate=_gate, error_page=error_page)
    return app


def _gate(scope: Scope) -> int | None:
    """Say how long a body may be, before it is read; pages and the API know their callers in different ways."""
    return form_bytes(scope) if scope["path"].startswith("/ui") else refuse_strangers(scope)


def _operation_id(route: APIRoute) -> str:
    """Name an operation as its function is named: generated clients get ``register_server``."""
    return route.name
