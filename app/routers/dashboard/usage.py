"""Who used what, what is left, and who gave what? The page of use, as charts, tables and CSV."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from app.routers.dashboard.key_pages import bars_of, left_of
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import page
from app.routers.dashboard.usage_views import (
    MAX_CSV_ROWS,
    NAMES,
    ROWS_A_PAGE,
    SPANS,
    UsageAsk,
    ask_of,
    chart_of,
    choices_of,
    fallback,
    own_chart,
    query_of,
)
from app.routers.dashboard.visitors import SignedIn, Visitor
from app.routers.deps import GatewayHere
from app.routers.usage import UsageHere
from app.routers.usage_views import contribution_csv, contribution_list, usage_csv, usage_table
from app.services.core.errors import FieldsInvalid, Unavailable
from app.services.core.keys import Role
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_query import GroupBy, Side, UsageQuery

__all__ = ["router"]

CONTRIBUTIONS_SHOWN: Final = 50

router = APIRouter(include_in_schema=False)


@router.get("/ui/usage")
async def show_usage(request: Request, visitor: SignedIn, usage: UsageHere, gateway: GatewayHere) -> HTMLResponse:
    """Show who used what, as far as one may know it; a user's key sees its own."""
    own = await left_of(usage, visitor.principal)
    if visitor.principal.role is Role.USER:
        context = await _own_told(usage, visitor)
        context["models"] = [(one.model, one) for one in own.models] if own else []
        return page(request, visitor, "usage_own.html", title="Your use", own=own, bars=bars_of(own), **context)
    ask, problem = ask_of(request.query_params, visitor.principal), ""
    try:
        query = query_of(ask, gateway.now())
    except FieldsInvalid as error:
        ask, problem = fallback(ask, error)
        query = query_of(ask, gateway.now())
    context = await _told(usage, visitor, ask, query)
    return page(
        request, visitor, "usage.html", title="Usage", ask=ask, problem=problem, own=own, bars=bars_of(own), **context
    )


@router.get("/ui/usage.csv")
async def download_usage(request: Request, visitor: SignedIn, usage: UsageHere, gateway: GatewayHere) -> Response:
    """Give the rows as a file: those of GET /admin/usage with the same question."""
    ask = ask_of(request.query_params, visitor.principal)
    query = query_of(replace(ask, offset=0), gateway.now(), rows=MAX_CSV_ROWS)
    answer = usage_csv(usage_table(await usage.report(visitor.principal, query)))
    answer.headers.update(PAGE_HEADERS)
    return answer


@router.get("/ui/usage/contributions.csv")
async def download_contributions(
    request: Request, visitor: SignedIn, usage: UsageHere, gateway: GatewayHere
) -> Response:
    """Give what owners gave and took as a file: the rows of GET /admin/usage/contributions."""
    span = query_of(ask_of(request.query_params, visitor.principal), gateway.now()).span
    answer = contribution_csv(contribution_list(span, await usage.contributions(visitor.principal, span)))
    answer.headers.update(PAGE_HEADERS)
    return answer


async def _own_told(usage: Usage, visitor: Visitor) -> dict[str, Any]:
    """Ask what a user's own key used day by day; none where the account does not answer, which the page says."""
    try:
        days = await usage.own_days(visitor.principal)
    except Unavailable:
        days = {}
    used = [(day.strftime("%Y-%m-%d"), sums) for day, sums in reversed(days.items()) if sums.requests]
    total = sum(sums.total_tokens for sums in days.values())
    return {"chart": own_chart(days), "days": used, "days_total": total, "is_answered": bool(days)}


async def _told(usage: Usage, visitor: Visitor, ask: UsageAsk, query: UsageQuery) -> dict[str, Any]:
    """Ask for all that the page shows.

    Raises:
        NotAllowed, Unavailable: as the questions do.
    """
    principal = visitor.principal
    table = usage_table(await usage.report(principal, query))
    # For admins they are the sum of everything, which is told where owners are asked for.
    asks_for_owners = ask.side is not None or query.group_by is GroupBy.OWNER
    given = await usage.contributions(principal, query.span) if asks_for_owners else []
    return {
        "table": table,
        "chart": await chart_of(usage, principal, query),
        "given": contribution_list(query.span, given[:CONTRIBUTIONS_SHOWN]).rows,
        "given_count": len(given),
        "spans": SPANS,
        "sides": ((Side.SERVED, "What your servers served"), (Side.USED, "What your keys used")) if ask.side else (),
        "choices": [(one, NAMES[one]) for one in choices_of(ask.side)],
        "by_name": NAMES[ask.by],
        "filter_names": {name: NAMES[name] for name in ask.filters},
        "rows_a_page": ROWS_A_PAGE,
    }
