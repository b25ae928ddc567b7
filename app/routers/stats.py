"""How is it asked over HTTP how the pool does, now and over time?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, Literal, cast

from fastapi import APIRouter, Depends, Query, Request

from app.routers.deps import DOCUMENTED_SCHEMES, GatewayHere, current_principal
from app.routers.documented import errors_in_words
from app.routers.stats_views import StatsView, stats_view
from app.services.core.errors import Unavailable
from app.services.core.people.principal import Principal
from app.services.core.reporting.series import SPANS
from app.services.happenings import Happenings
from app.services.scopes import scope_of
from app.services.traffic import Traffic

__all__ = ["HappeningsHere", "TrafficHere", "happenings_of", "router", "traffic_of"]

WORDS: Final = {
    403: (
        "The key lends no servers.",
        "This key lends no servers. GET /v1/usage tells what it used itself, and what is left.",
    ),
    422: ("There is no such span.", "span: should be '15m', '6h' or '7d'."),
    503: (
        "The gateway is starting. Retry-After says when to try again.",
        "The gateway is starting. Try again in a second.",
    ),
}
"""What some statuses mean here: in words, and by example."""
_MOST_HAPPENED: Final = 50
_errors: Final = partial(errors_in_words, WORDS)

router = APIRouter(tags=["usage"], dependencies=DOCUMENTED_SCHEMES)

SpanName = Annotated[
    Literal["15m", "6h", "7d"] | None,
    Query(description="Adds `series`: steps of ten seconds, of one minute or of half an hour.", examples=["15m"]),
]


def traffic_of(request: Request) -> Traffic:
    """Return the figures over time.

    Raises:
        Unavailable: they are not there yet.
    """
    return cast("Traffic", _started(request, "traffic"))


def happenings_of(request: Request) -> Happenings:
    """Return what happened.

    Raises:
        Unavailable: it is not known yet.
    """
    return cast("Happenings", _started(request, "happenings"))


def _started(request: Request, name: str) -> object:
    service: object = getattr(request.app.state, name, None)
    if service is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return service


TrafficHere = Annotated[Traffic, Depends(traffic_of)]
HappeningsHere = Annotated[Happenings, Depends(happenings_of)]


@router.get("/admin/stats", responses=_errors(401, 403, 422, 503))
async def show_stats(
    principal: Annotated[Principal, Depends(current_principal)],
    gateway: GatewayHere,
    traffic: TrafficHere,
    happenings: HappeningsHere,
    span: SpanName = None,
) -> StatsView:
    """Show how the pool does now, what happened lately and, if asked, the figures of a span of time.

    Admins see the whole pool, those that are bound to a group the servers of its owners; owners see their own servers.
    """
    scope = scope_of(principal, traffic.owners(), gateway.registry.owners)
    figures, series = traffic.figures(scope), None if span is None else traffic.series(SPANS[span], scope)
    return stats_view(gateway, principal, scope, figures, happenings.of(scope, _MOST_HAPPENED), series)
