"""How is it asked over HTTP who changed what?"""

from __future__ import annotations

from functools import partial
from typing import Annotated, Final, cast

from fastapi import APIRouter, Depends, Query, Request, Response

from app.routers.csv_answer import CSV_ANSWER, Format
from app.routers.deps import DOCUMENTED_SCHEMES, Admin
from app.routers.documented import DATABASE_FAILS, errors_in_words
from app.routers.usage_views import AuditList, audit_csv, audit_list
from app.services.core.errors import Unavailable
from app.services.registry.accounting.audit import Audit, AuditQuery
from app.services.registry.accounting.usage_query import MOMENT_PATTERN, moment_of

__all__ = ["router"]

MAX_LINES: Final = 1000
MAX_ID: Final = 2**63 - 1
WORDS: Final = {
    403: (
        "Only an admin key that is bound to no group may read the audit.",
        "The audit tells of all groups, and this key is bound to one. Use an admin key without a group.",
    ),
    422: (
        "A parameter is no such number or time.",
        "since: should be a date like 2030-01-31 or a time like 2030-01-31T08:00:00Z.",
    ),
    **DATABASE_FAILS,
}
"""What some statuses mean here: in words, and by example."""


_errors: Final = partial(errors_in_words, WORDS)

router = APIRouter(prefix="/admin/audit", tags=["usage"], dependencies=DOCUMENTED_SCHEMES)

Words = Annotated[str | None, Query(max_length=512)]
Moment = Annotated[
    str | None,
    Query(
        description="A date or a time in ISO 8601, UTC unless it says otherwise.",
        examples=["2030-01-01T08:00:00Z"],
        json_schema_extra={"pattern": f"^(?:{MOMENT_PATTERN})?$"},
        max_length=64,
    ),
]
ObjectId = Annotated[str | None, Query(alias="object", max_length=512, description="Only changes of this id.")]


def audit_of(request: Request) -> Audit:
    """Return the audit.

    Raises:
        Unavailable: it is not there yet.
    """
    audit = getattr(request.app.state, "audit", None)
    if audit is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Audit", audit)


def asked_lines(
    kind: Annotated[Words, Query(description="Only changes of this kind of object.", examples=["key"])] = None,
    action: Annotated[Words, Query(description="Only this kind of change.", examples=["key.created"])] = None,
    actor: Annotated[Words, Query(description="Only what this key did, by its id or its name.")] = None,
    object_id: ObjectId = None,
    since: Moment = None,
    until: Moment = None,
    before: Annotated[
        int | None, Query(ge=1, le=MAX_ID, description="Only older ones than this id: `next_before` of a page.")
    ] = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LINES, description="How many at most.")] = 100,
) -> AuditQuery:
    """Put the question together.

    Raises:
        FieldsInvalid: a time is none.
    """
    return AuditQuery(
        kind=kind,
        action=action,
        actor=actor,
        object_id=object_id,
        since=None if since is None else moment_of(since, "since"),
        until=None if until is None else moment_of(until, "until"),
        before=before,
        limit=limit,
    )


@router.get("", response_model=AuditList, responses={**_errors(401, 403, 422, 503), 200: CSV_ANSWER})
async def show_audit(
    principal: Admin,
    audit: Annotated[Audit, Depends(audit_of)],
    query: Annotated[AuditQuery, Depends(asked_lines)],
    written: Annotated[Format, Query(alias="format", description="`csv` for spreadsheets: the rows alone.")] = "json",
) -> AuditList | Response:
    """Show who changed what, from where, and what it was before and after; the newest first. Never a secret."""
    view = audit_list(await audit.page(principal, query))
    return view if written == "json" else audit_csv(view)
