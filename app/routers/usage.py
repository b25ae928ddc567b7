"""How is it asked over HTTP who used what, and who gave what?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Query, Request, Response

from app.routers.csv_answer import CSV_ANSWER, Format
from app.routers.deps import DOCUMENTED_SCHEMES, GatewayHere, current_principal
from app.routers.documented import errors_in_words
from app.routers.usage_views import (
    ContributionList,
    OwnUsage,
    UsageTable,
    contribution_csv,
    contribution_list,
    own_usage,
    usage_csv,
    usage_table,
)
from app.services.core.errors import Unavailable
from app.services.core.people.principal import Principal
from app.services.registry.accounting.usage import Usage
from app.services.registry.accounting.usage_query import (
    DEFAULT_DAYS,
    MOMENT_PATTERN,
    GroupBy,
    Side,
    Span,
    UsageQuery,
    span_of,
)

__all__ = ["router"]

WORDS: Final = {
    403: (
        "The key may not see this.",
        "This key sees its own use alone: GET /v1/usage, or the command `multiverse usage`.",
    ),
    422: (
        "A parameter is no such name, number or time.",
        "from: should be a date like 2030-01-31 or a time like 2030-01-31T08:00:00Z.",
    ),
    503: (
        "The database does not answer, or too many ask. Retry-After says when to try again.",
        "Too many ask for use at once. Ask again in a second.",
    ),
}
"""What some statuses mean here: in words, and by example."""
MAX_ROWS: Final = 10_000
MAX_OFFSET: Final = 10_000_000
MAX_IDS: Final = 100
MAX_ID_LENGTH: Final = 512


_errors: Final = partial(errors_in_words, WORDS)

router = APIRouter(tags=["usage"], dependencies=DOCUMENTED_SCHEMES)

Id = Annotated[str, Query(max_length=MAX_ID_LENGTH)]
Ids = Annotated[list[Id] | None, Query(max_length=MAX_IDS, description="Only this one; give it again for more.")]
From = Annotated[
    str | None,
    Query(
        alias="from",
        description=f"A date or a time in ISO 8601, UTC unless it says otherwise. Left out: {DEFAULT_DAYS} days ago.",
        examples=["2030-01-01"],
        json_schema_extra={"pattern": f"^(?:{MOMENT_PATTERN})?$"},
        max_length=64,
    ),
]
Until = Annotated[
    str | None,
    Query(
        alias="to",
        description="Likewise; what is from there on is left out. Use is kept by the hour: hours are told whole.",
        examples=["2030-02-01"],
        json_schema_extra={"pattern": f"^(?:{MOMENT_PATTERN})?$"},
        max_length=64,
    ),
]
Written = Annotated[Format, Query(alias="format", description="`csv` for spreadsheets: the rows alone.")]
Caller = Annotated[Principal, Depends(current_principal)]


def usage_of(request: Request) -> Usage:
    """Return the accounts.

    Raises:
        Unavailable: they are not there yet.
    """
    usage = getattr(request.app.state, "usage", None)
    if usage is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Usage", usage)


def asked_span(gateway: GatewayHere, since: From = None, until: Until = None) -> Span:
    """Read which hours are asked for.

    Raises:
        FieldsInvalid: these are no times, or nothing lies between them.
    """
    return span_of(since, until, gateway.now())


UsageHere = Annotated[Usage, Depends(usage_of)]
AskedSpan = Annotated[Span, Depends(asked_span)]


def asked_filters(
    key: Ids = None, model: Ids = None, server: Ids = None, owner: Ids = None, group: Ids = None, person: Ids = None
) -> dict[GroupBy, frozenset[str]]:
    """Read whose use is asked for."""
    given = {
        GroupBy.KEY: key,
        GroupBy.MODEL: model,
        GroupBy.SERVER: server,
        GroupBy.OWNER: owner,
        GroupBy.GROUP: group,
        GroupBy.PERSON: person,
    }
    return {name: frozenset(ids) for name, ids in given.items() if ids}


def asked_use(
    span: AskedSpan,
    filters: Annotated[dict[GroupBy, frozenset[str]], Depends(asked_filters)],
    group_by: Annotated[GroupBy, Query(description="What a row stands for.")] = GroupBy.KEY,
    side: Annotated[
        Side | None, Query(description="For owners: what their servers `served`, or what their keys `used`.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_ROWS, description="How many rows at most.")] = 1000,
    offset: Annotated[int, Query(ge=0, le=MAX_OFFSET, description="How many rows are passed over first.")] = 0,
) -> UsageQuery:
    """Put the question together."""
    return UsageQuery(group_by, span, filters, side, limit, offset)


@router.get("/admin/usage", response_model=UsageTable, responses={**_errors(401, 403, 422, 503), 200: CSV_ANSWER})
async def show_usage(
    principal: Caller, usage: UsageHere, query: Annotated[UsageQuery, Depends(asked_use)], written: Written = "json"
) -> UsageTable | Response:
    """Show who used what, by the hour's account.

    Admins see all, those that are bound to a group what it used. Owners see what their own servers served, never for
    whom, and what their own keys used.
    """
    view = usage_table(await usage.report(principal, query))
    return view if written == "json" else usage_csv(view)


@router.get(
    "/admin/usage/contributions",
    response_model=ContributionList,
    responses={**_errors(401, 403, 422, 503), 200: CSV_ANSWER},
)
async def show_contributions(
    principal: Caller, usage: UsageHere, span: AskedSpan, written: Written = "json"
) -> ContributionList | Response:
    """Show what each owner's servers served, what its people used, and the balance. Owners see themselves alone."""
    view = contribution_list(span, await usage.contributions(principal, span))
    return view if written == "json" else contribution_csv(view)


@router.get("/v1/usage", responses=_errors(401, 403, 503))
async def show_own_usage(principal: Caller, usage: UsageHere) -> OwnUsage:
    """Show what this key used today and this month, in UTC, and what is left of its limits. Never rate-limited."""
    return own_usage(principal, await usage.own(principal))
