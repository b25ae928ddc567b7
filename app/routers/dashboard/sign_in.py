"""How does somebody sign in and out, and choose how the pages look?"""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from app.routers.dashboard.forms import FormFields
from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.rendering import THEME_COOKIE, THEMES, page
from app.routers.dashboard.visitors import (
    COOKIE,
    Changing,
    cookie_of,
    is_https,
    local_page,
    require_own_origin,
    sessions_of,
)
from app.services.core.errors import GatewayError, StorageUnavailable
from app.services.registry.accounting.origin import current_origin
from app.utils.logger import get_logger

__all__ = ["router"]

logger = get_logger(__name__)

_YEAR_SECONDS: Final = 31_536_000
NextPage = Annotated[str, Query(alias="next", max_length=2048)]

router = APIRouter(include_in_schema=False)


@router.get("/ui/sign-in")
async def show_sign_in(request: Request, next_page: NextPage = "") -> Response:
    """Ask for a key. Who is signed in goes on to the page that was wanted."""
    target = local_page(next_page)
    cookie = cookie_of(request.headers)
    if cookie and sessions_of(request).find(cookie) is not None:
        return RedirectResponse(target, status_code=HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    why = (sessions_of(request).why(cookie) if cookie else None) or ""
    return page(request, None, "sign_in.html", title="Sign in", target=target, problem=why)


@router.post("/ui/sign-in")
async def sign_in(request: Request, form: FormFields) -> Response:
    """Sign in: whatever cookie came with the request, a new one goes out."""
    target = local_page(form.text("next"))
    try:
        require_own_origin(request)
        client = current_origin().client
        opened = await sessions_of(request).sign_in(form.text("key").encode(errors="replace"), client)
    except GatewayError as error:
        return _asked_again(request, error, target)
    await _end(request)
    answer = RedirectResponse(target, status_code=HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    _set(request, answer, opened.token)
    return answer


@router.post("/ui/sign-out")
async def sign_out(request: Request, visitor: Changing, form: FormFields) -> Response:
    """Sign out here, or wherever this key is signed in."""
    if form.flag("everywhere"):
        await sessions_of(request).sign_out_everywhere(visitor.principal)
    await _end(request)
    answer = RedirectResponse("/ui/sign-in", status_code=HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    answer.delete_cookie(COOKIE, path="/ui", secure=is_https(request), httponly=True, samesite="strict")
    return answer


@router.post("/ui/theme")
async def choose_theme(request: Request, form: FormFields) -> Response:
    """Keep whether pages are light or dark. It is no secret and changes nothing, so it takes no token."""
    theme = form.text("theme")
    answer = RedirectResponse(local_page(form.text("next")), status_code=HTTPStatus.SEE_OTHER, headers=PAGE_HEADERS)
    if theme in THEMES:
        answer.set_cookie(
            THEME_COOKIE, theme, max_age=_YEAR_SECONDS, path="/ui", secure=is_https(request), samesite="strict"
        )
    return answer


def _asked_again(request: Request, error: GatewayError, target: str) -> Response:
    """Ask for a key again, and say what was wrong with the last one."""
    wait = error.retry_after_seconds
    return page(
        request,
        None,
        "sign_in.html",
        title="Sign in",
        status=error.status,
        headers={} if wait is None else {"retry-after": str(wait)},
        target=target,
        problem=error.message,
    )


async def _end(request: Request) -> None:
    """End the session that the request's cookie opens, if one: here at once, in the database when it answers."""
    try:
        await sessions_of(request).sign_out(cookie_of(request.headers))
    except StorageUnavailable as error:
        logger.warning("A sign-out is not in the database yet", reason=error.message)


def _set(request: Request, answer: Response, token: str) -> None:
    answer.set_cookie(COOKIE, token, path="/ui", secure=is_https(request), httponly=True, samesite="strict")
