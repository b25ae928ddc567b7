"""How is the pool doing? The first page: by role the pool, one's own servers, or what one may use and what is left."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from app.routers.dashboard.key_pages import bars_of, left_of
from app.routers.dashboard.model_cards import models_topic
from app.routers.dashboard.overview_rows import now_of, series_data, table_of
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import page
from app.routers.dashboard.server_standing import STATES
from app.routers.dashboard.visitors import Owner, SignedIn, Visitor
from app.routers.deps import GatewayHere
from app.routers.stats import HappeningsHere, TrafficHere
from app.routers.usage import UsageHere
from app.services.core.reporting.series import SPANS, Span
from app.services.scopes import scope_of

if TYPE_CHECKING:
    from app.routers.deps import Gateway
    from app.services.core.choice.snapshot import Snapshot
    from app.services.happenings import Happenings
    from app.services.registry.accounting.usage import Usage
    from app.services.traffic import Traffic

__all__ = ["router"]

MODELS_SHOWN: Final = 12
DEFAULT_SPAN: Final = SPANS["15m"]
SPAN_WORDS: Final = {"15m": "15 minutes", "6h": "6 hours", "7d": "7 days"}
_REFRESH_SECONDS: Final = {"15m": 10, "6h": 60, "7d": 300}
_STEPS_A_ROW: Final = {"15m": 6, "6h": 30, "7d": 12}
"""A table of steps of a minute, half an hour, six hours says as much as a picture of finer ones."""

router = APIRouter(include_in_schema=False)
SpanName = Annotated[str, Query(max_length=16)]


@router.get("/ui/")
async def overview_by_another_name(_visitor: SignedIn) -> RedirectResponse:
    """Go on to the overview."""
    return RedirectResponse("/ui", status_code=308)


@router.get("/ui")
async def overview(
    request: Request,
    visitor: SignedIn,
    gateway: GatewayHere,
    traffic: TrafficHere,
    happenings: HappeningsHere,
    usage: UsageHere,
    span: SpanName = "",
) -> HTMLResponse:
    """Show how the pool is doing, as far as it is the visitor's business."""
    context: dict[str, Any] = {"pool": None, "mine": None}
    if visitor.is_owner:
        context["pool"] = _pool(gateway, traffic, happenings, visitor, SPANS.get(span, DEFAULT_SPAN))
    if not visitor.is_admin:
        context["mine"] = await _mine(request, usage, visitor)
    return page(request, visitor, "overview.html", title="Overview", **context)


@router.get("/ui/overview/series")
async def overview_series(
    visitor: Owner, gateway: GatewayHere, traffic: TrafficHere, span: SpanName = ""
) -> JSONResponse:
    """Give the charts their figures."""
    scope = scope_of(visitor.principal, traffic.owners(), gateway.registry.owners)
    told = series_data(traffic.series(SPANS.get(span, DEFAULT_SPAN), scope))
    return JSONResponse(told, headers=dict(PAGE_HEADERS))


def _pool(gateway: Gateway, traffic: Traffic, happenings: Happenings, visitor: Visitor, span: Span) -> dict[str, Any]:
    """Say how those servers do that the visitor may steer."""
    scope = scope_of(visitor.principal, traffic.owners(), gateway.registry.owners)
    series = traffic.series(span, scope, _STEPS_A_ROW[span.name])
    now = now_of(gateway, traffic, happenings, visitor.principal)
    return {
        "now": now,
        "moments": {one["id"]: datetime.fromisoformat(one["at"]) for one in now["news"]},
        "state_words": STATES,
        "span": span.name,
        "span_words": SPAN_WORDS,
        "every": _REFRESH_SECONDS[span.name],
        "rows": [(datetime.fromtimestamp(time, UTC), texts) for time, texts in table_of(series)],
        "row_seconds": series.span.step_seconds,
    }


async def _mine(request: Request, usage: Usage, visitor: Visitor) -> dict[str, Any]:
    """Say which models there are for the visitor, what it used today, and what is left of its limits."""
    snapshot = cast("Snapshot", request.app.state.plane.snapshot)
    models = sorted(
        models_topic(lambda: snapshot)(visitor.principal).items(), key=lambda one: (-one[1]["ready"], one[0])
    )
    own = await left_of(usage, visitor.principal)
    return {
        "models": models[:MODELS_SHOWN],
        "more": max(len(models) - MODELS_SHOWN, 0),
        "own": own,
        "bars": bars_of(own),
    }
