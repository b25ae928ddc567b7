"""How is a page made? A template with the visitor's frame around it, the policy's headers, and what happened last."""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from app import __version__
from app.routers.dashboard.assets import asset_url
from app.routers.dashboard.menu import menu_for
from app.routers.dashboard.plain_words import for_people
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.visitors import SignInNeeded, Visitor, asked_for, cookie_of, local_page
from app.routers.dashboard.wording import FILTERS
from app.services.registry.accounting.origin import current_origin

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import Request

    from app.services.core.errors import GatewayError

__all__ = ["done", "error_page", "here", "is_htmx", "page", "part", "refusal", "templates"]

TEMPLATES: Final = Path(__file__).parents[2] / "templates"
THEMES: Final = ("auto", "light", "dark")
THEME_COOKIE: Final = "multiverse_theme"
_PAGES: Final = "/ui"


def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(FILTERS)
    environment.globals["asset"] = asset_url
    return environment


templates: Final = _environment()
"""All templates. What comes from outside is escaped; a name that is not given is an error, not nothing."""


def is_htmx(request: Request) -> bool:
    """Whether htmx asks for a part of a page rather than a browser for a whole one."""
    return "hx-request" in request.headers and "hx-history-restore-request" not in request.headers


def page(
    request: Request,
    visitor: Visitor | None,
    template: str,
    *,
    title: str,
    status: int = 200,
    headers: Mapping[str, str] | None = None,
    **context: Any,
) -> HTMLResponse:
    """Make a whole page.

    Args:
        request: what is answered.
        visitor: who is signed in; None on pages for everybody.
        template: its file.
        title: what the page is called, without the product's name.
        status: of the answer.
        headers: more headers.
        **context: what the template shows.
    """
    reader = None if request.scope.get("nobody_reads") else visitor
    frame = {
        "menu": menu_for(visitor, request.url.path) if visitor is not None else (),
        "notices": _take_notices(reader) if reader is not None else [],
        "theme": _theme(request),
        "title": title,
        "version": __version__,
        "here": here(request),
    }
    text = templates.get_template(template).render(**_common(request, visitor), **frame, **context)
    return HTMLResponse(text, status_code=status, headers={**PAGE_HEADERS, **(headers or {})})


def part(request: Request, visitor: Visitor, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
    """Make a part of a page, for htmx."""
    text = templates.get_template(template).render(**_common(request, visitor), **context)
    return HTMLResponse(text, status_code=status, headers=dict(PAGE_HEADERS))


def done(request: Request, visitor: Visitor, url: str, notice: str = "", *, kind: str = "good") -> Response:
    """Answer a change: go to a page of ours, and tell there what was done.

    Args:
        request: what is answered.
        visitor: who is told.
        url: where to, a path under ``/ui``.
        notice: what was done, in a sentence.
        kind: ``good``, ``info`` or ``bad``.
    """
    if notice:
        visitor.session.notices.append(f"{kind} {notice}")
    if is_htmx(request):
        return Response(status_code=HTTPStatus.OK, headers={**PAGE_HEADERS, "hx-redirect": url})
    return RedirectResponse(url, status_code=HTTPStatus.SEE_OTHER, headers=dict(PAGE_HEADERS))


def error_page(request: Request, error: GatewayError) -> Response | None:
    """Tell a person what went wrong; None where a program asks, which gets the envelope.

    Who is not signed in is sent to do so, and comes back.
    """
    wants_page = "text/html" in request.headers.get("accept", "") or is_htmx(request)
    if not request.url.path.startswith(_PAGES) or not wants_page:
        return None
    if isinstance(error, SignInNeeded):
        query = "" if error.target == _PAGES else f"?next={quote(error.target, safe='/')}"
        url = f"{_PAGES}/sign-in{query}"
        if is_htmx(request):
            return Response(status_code=HTTPStatus.OK, headers={**PAGE_HEADERS, "hx-redirect": url})
        return RedirectResponse(url, status_code=HTTPStatus.SEE_OTHER, headers=dict(PAGE_HEADERS))
    extra = {} if error.retry_after_seconds is None else {"retry-after": str(error.retry_after_seconds)}
    visitor = _visitor_if_any(request)
    told = {"words": for_people(error.message), "code": error.status, "request_id": current_origin().request_id}
    if is_htmx(request):
        text = templates.get_template("error_part.html").render(**_common(request, visitor), **told)
        aside = {"hx-retarget": "#notices", "hx-reswap": "innerHTML"}
        return HTMLResponse(text, status_code=error.status, headers={**PAGE_HEADERS, **extra, **aside})
    title = _TITLES.get(error.status, "This did not work")
    return page(request, visitor, "error.html", title=title, status=error.status, headers=extra, **told)


_TITLES: Final = {
    403: "Not allowed",
    404: "Not found",
    429: "Too many",
    503: "Not available now",
}


def refusal(error: GatewayError) -> JSONResponse:
    """Answer a script of ours with what went wrong, as the API would, in words that it can show."""
    body = {
        "error": {"message": for_people(error.message), "type": error.type, "param": error.param, "code": error.code}
    }
    extra = {} if error.retry_after_seconds is None else {"retry-after": str(error.retry_after_seconds)}
    return JSONResponse(body, status_code=error.status, headers={**PAGE_HEADERS, **extra})


def _take_notices(visitor: Visitor) -> list[tuple[str, str]]:
    """Take what is to be told once: the kind and the words of each."""
    waiting = visitor.session.notices
    told = [waiting.popleft().partition(" ") for _ in range(len(waiting))]
    return [(kind, words) for kind, _space, words in told]


def _visitor_if_any(request: Request) -> Visitor | None:
    sessions = getattr(request.app.state, "sessions", None)
    cookie = cookie_of(request.headers)
    session = sessions.find(cookie) if sessions is not None and cookie else None
    return None if session is None else Visitor(session.principal, session)


def _common(request: Request, visitor: Visitor | None) -> dict[str, Any]:
    """What every template may use."""
    return {
        "visitor": visitor,
        "csrf_token": "" if visitor is None else visitor.csrf,
        "request": request,
        "now": datetime.now(UTC),
    }


def _theme(request: Request) -> str:
    theme = request.cookies.get(THEME_COOKIE, "")
    return theme if theme in THEMES else "auto"


def here(request: Request) -> str:
    """The page that a form of the frame comes back to."""
    page = local_page(asked_for(request))
    if request.method not in {"GET", "HEAD"} and page.partition("?")[0] == request.url.path:
        return local_page(request.url.path.rpartition("/")[0])  # a form that was refused twice: the page above it
    return page
