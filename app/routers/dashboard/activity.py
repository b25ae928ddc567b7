"""What happens in the gateway? The last requests, the log and who changed what: the page Activity."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from app.routers.audit import audit_of
from app.routers.dashboard.activity_asked import AUDIT, LOGS, REQUESTS, Asked, audit_query, log_query, recent_query
from app.routers.dashboard.activity_views import (
    EMPTY_LOG_ROW,
    EMPTY_REQUEST_ROW,
    change_row,
    choices_of,
    log_row,
    request_row,
)
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import page
from app.routers.dashboard.visitors import OperatorVisitor, SignedIn, Visitor
from app.routers.usage_views import audit_csv, audit_list
from app.services.core.errors import FieldsInvalid, Unavailable
from app.services.core.reporting.log_lines import LEVELS
from app.services.registry.access import require_operators_word
from app.services.registry.accounting.audit import Audit, AuditPage

if TYPE_CHECKING:
    from app.services.log_reader import LogReader
    from app.services.recent import RecentRequests

__all__ = ["router"]

_PAGE_ROWS: Final = 100
_CSV_PAGE_ROWS: Final = 1000
_CSV_MOST_ROWS: Final = 20_000
_TABS: Final = ((REQUESTS, "Requests"), (LOGS, "Logs"), (AUDIT, "Audit"))

router = APIRouter(include_in_schema=False)


def asked(request: Request) -> Asked:
    """Read what the address asks for."""
    return Asked(request.query_params)


AskedHere = Annotated[Asked, Depends(asked)]


def recent_of(request: Request) -> RecentRequests:
    """Return the last requests.

    Raises:
        Unavailable: they are not there yet.
    """
    return cast("RecentRequests", _service(request, "recent"))


def log_reader_of(request: Request) -> LogReader:
    """Return what reads the log.

    Raises:
        Unavailable: it is not there yet.
    """
    return cast("LogReader", _service(request, "log_reader"))


def _service(request: Request, name: str) -> object:
    found = getattr(request.app.state, name, None)
    if found is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return found


@router.get("/ui/activity")
async def activity(request: Request, visitor: SignedIn, wanted: AskedHere) -> HTMLResponse:
    """Show one of the three lists."""
    if wanted.show == REQUESTS:
        context = _requests(request, visitor, wanted)
    else:
        require_operators_word(visitor.principal)
        context = await (_logs if wanted.show == LOGS else _changes)(request, visitor, wanted)
    tabs = [tab for tab in _TABS if tab[0] == REQUESTS or visitor.is_operator]
    status = 422 if wanted.errors else 200
    template = f"activity_{wanted.show}.html"
    return page(request, visitor, template, title="Activity", status=status, tabs=tabs, asked=wanted, **context)


@router.get("/ui/activity/new-requests")
async def new_requests(request: Request, visitor: SignedIn, wanted: AskedHere) -> JSONResponse:
    """Tell what requests came since the one of the number ``after``, the newest first."""
    found = recent_of(request).page(visitor.principal, replace(recent_query(_good(wanted), _PAGE_ROWS), before=None))
    rows = found.rows
    after = int(wanted["after"]) if wanted["after"].isdecimal() else 0
    is_anew = bool(rows) and rows[0].number < after  # the gateway has started again, and counts from one
    told = [row for row in rows if is_anew or row.number > after]
    body = {"rows": [request_row(row, visitor) for row in told], "newest": str(rows[0].number) if rows else ""}
    is_cut = not is_anew and after > 0 and len(told) == _PAGE_ROWS
    return JSONResponse({**body, "is_anew": is_anew, "is_cut": is_cut}, headers=PAGE_HEADERS)


@router.get("/ui/activity/new-lines")
async def new_lines(request: Request, visitor: OperatorVisitor, wanted: AskedHere) -> JSONResponse:
    """Tell what was written to the log since the place ``after``, the newest first."""
    query = log_query(_good(wanted), _PAGE_ROWS)
    found = await log_reader_of(request).tail(visitor.principal, query, wanted["after"])
    body = {"rows": [log_row(record) for record in found.records], "newest": found.newest, "note": found.note}
    return JSONResponse({**body, "is_anew": found.is_anew, "is_cut": found.is_cut}, headers=PAGE_HEADERS)


@router.get("/ui/activity/audit.csv")
async def changes_as_csv(
    visitor: OperatorVisitor, audit: Annotated[Audit, Depends(audit_of)], wanted: AskedHere
) -> Response:
    """Give the changes that are asked for as a file, the newest first."""
    query = audit_query(_good(wanted), _CSV_PAGE_ROWS)
    found = await audit.page(visitor.principal, query)
    lines = list(found.lines)
    while found.next_before is not None and len(lines) < _CSV_MOST_ROWS:
        found = await audit.page(visitor.principal, replace(query, before=found.next_before))
        lines += found.lines
    answer = await asyncio.to_thread(_audit_file, AuditPage(tuple(lines), found.next_before))
    answer.headers.update(PAGE_HEADERS)
    return answer


def _audit_file(found: AuditPage) -> Response:
    """Write changes as CSV; of many that takes a second, and so a thread."""
    return audit_csv(audit_list(found))


def _good(wanted: Asked) -> Asked:
    """Let pass what can be read.

    Raises:
        FieldsInvalid: a field can't be.
    """
    for read in (recent_query, log_query, audit_query):
        read(wanted, 1)
    for name, words in wanted.errors.items():
        message = f"{name}: {words}"
        raise FieldsInvalid(message, param=name)
    return wanted


def _requests(request: Request, visitor: Visitor, wanted: Asked) -> dict[str, Any]:
    recent = recent_of(request)
    query = recent_query(wanted, _PAGE_ROWS)
    found = recent.page(visitor.principal, query)
    rows = () if wanted.errors else found.rows
    return {
        "rows": [request_row(row, visitor) for row in rows],
        "blank": EMPTY_REQUEST_ROW,
        "newest": str(found.rows[0].number) if found.rows else "0",
        "older": wanted.url(before=found.next_before) if found.next_before and not wanted.errors else "",
        "kept": found.kept,
        "choices": choices_of(recent, visitor.principal),
    }


async def _logs(request: Request, visitor: Visitor, wanted: Asked) -> dict[str, Any]:
    query = log_query(wanted, _PAGE_ROWS)
    context: dict[str, Any] = {"levels": LEVELS, "blank": EMPTY_LOG_ROW, "rows": [], "note": "", "older": ""}
    if wanted.errors:
        return {**context, "newest": ""}
    found = await log_reader_of(request).page(visitor.principal, query, wanted["cursor"])
    rows = [log_row(record) for record in found.records]
    older = wanted.url(cursor=found.older) if found.older else ""
    return {**context, "rows": rows, "note": found.note, "older": older, "newest": found.newest}


async def _changes(request: Request, visitor: Visitor, wanted: Asked) -> dict[str, Any]:
    query = audit_query(wanted, _PAGE_ROWS)
    csv = wanted.url("/ui/activity/audit.csv")
    if wanted.errors:
        return {"rows": [], "older": "", "csv": csv}
    found = await audit_of(request).page(visitor.principal, query)
    older = wanted.url(before=found.next_before) if found.next_before else ""
    return {"rows": [change_row(line) for line in found.lines], "older": older, "csv": csv}
