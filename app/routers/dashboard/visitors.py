"""Who looks at a page, and may they change what it shows?

A cookie opens the pages and nothing else. A change carries the token of its sign-in besides, and comes from our own
origin: a page of somebody else's can make a browser send neither.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Final, cast
from urllib.parse import SplitResult, quote, urlsplit

from fastapi import Depends, Request

from app.routers.dashboard.forms import Form, read_form
from app.services.core.errors import NotAllowed, NotAuthenticated, Unavailable
from app.services.core.keys import Role
from app.services.core.people.refusals import route_not_in_scope
from app.services.registry.access import is_operator, require_operator, require_operators_word, require_registrant

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import Scope

    from app.services.core.keys import Principal
    from app.services.registry.people.sessions import Session, Sessions

__all__ = [
    "COOKIE",
    "AdminChanging",
    "AdminVisitor",
    "Changing",
    "OperatorChanging",
    "OperatorVisitor",
    "Owner",
    "OwnerChanging",
    "SignInNeeded",
    "SignedIn",
    "Visitor",
    "asked_for",
    "cookie_of",
    "form_bytes",
    "is_https",
    "local_page",
    "require_own_origin",
    "sessions_of",
]

COOKIE: Final = "multiverse_session"
_SMALL_FORM_BYTES: Final = 4096
_SAME: Final = frozenset({"same-origin", "none"})


class SignInNeeded(NotAuthenticated):
    """Nobody is signed in. ``target`` is the page that was asked for, ``why`` what became of an earlier sign-in."""

    def __init__(self, target: str, why: str = "") -> None:
        super().__init__(why or "Sign in with your key at /ui/sign-in.", code="sign_in_needed")
        self.target = target
        self.why = why


@dataclass(frozen=True, slots=True)
class Visitor:
    """Whoever is signed in."""

    principal: Principal
    session: Session

    @property
    def csrf(self) -> str:
        """What a change has to carry."""
        return self.session.csrf

    @property
    def is_owner(self) -> bool:
        """Whether it may register servers; admins may."""
        return self.principal.role is not Role.USER

    @property
    def is_admin(self) -> bool:
        """Whether it is an admin's, of a group too."""
        return self.principal.role is Role.ADMIN

    @property
    def is_operator(self) -> bool:
        """Whether it speaks for the operator."""
        return is_operator(self.principal)


def sessions_of(request: Request) -> Sessions:
    """Return who is signed in.

    Raises:
        Unavailable: the gateway is starting.
    """
    sessions = getattr(request.app.state, "sessions", None)
    if sessions is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Sessions", sessions)


def cookie_of(headers: Mapping[str, str]) -> str:
    """Take our cookie out of a request's headers; empty where there is none. Of two the first one counts."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == COOKIE:
            return value
    return ""


def signed_in(request: Request) -> Visitor:
    """Say who is signed in.

    Raises:
        SignInNeeded: nobody, or no more.
        NotAllowed: the key's scope does not reach the pages.
    """
    cookie = cookie_of(request.headers)
    sessions = sessions_of(request)
    session = sessions.find(cookie, is_use=_is_use(request)) if cookie else None
    if session is None:
        raise SignInNeeded(local_page(asked_for(request)), (sessions.why(cookie) if cookie else None) or "")
    principal = session.principal
    if principal.routes is not None and not principal.may_call(request.url.path):
        raise route_not_in_scope(request.url.path, principal.routes)
    return Visitor(principal, session)


def _is_use(request: Request) -> bool:
    """Whether a person does something: what a page asks for by itself keeps no sign-in going."""
    return request.method not in {"GET", "HEAD"} or "text/html" in request.headers.get("accept", "")


def asked_for(request: Request) -> str:
    """Name the page to come back to: what was to be read, or the page that a change was made from."""
    if request.method in {"GET", "HEAD"} and "hx-request" not in request.headers:
        return request.url.path + (f"?{request.url.query}" if request.url.query else "")
    before = _parts_of(request.headers.get("hx-current-url") or request.headers.get("referer", ""))
    return before.path + (f"?{before.query}" if before.query else "")


def _parts_of(url: str) -> SplitResult:
    """Take a URL of a header apart; what is none has no parts."""
    try:
        return urlsplit(url)
    except ValueError:
        return urlsplit("")


def local_page(target: str) -> str:
    """Give a page of ours to go to: what was asked for if it is one, else the first page.

    Where a browser would end up decides: white space, backslashes, dots and a second slash could lead elsewhere.
    """
    path, _, query = target.partition("?")
    parts = path.split("/")
    is_ours = parts[:2] == ["", "ui"] and not {"", ".", ".."} & set(parts[2:])
    is_plain = target.isascii() and target.isprintable() and not set(' \\"<>#') & set(target) and "%" not in path
    if not (is_ours and is_plain) or parts[2:3] in (["sign-in"], ["sign-out"], ["live"], ["assets"]):
        return "/ui"
    return path + (f"?{quote(query, safe='=&%+,:;@!$*()/~.-_')}" if query else "")


def is_https(request: Request) -> bool:
    """Whether the browser came by https: here, at a proxy that is trusted, or by what PUBLIC_URL says."""
    settings = getattr(request.app.state, "settings", None)
    if request.url.scheme == "https" or settings is None:
        return request.url.scheme == "https"
    if str(settings.public_url or "").startswith("https:"):
        return True
    try:
        peer = ip_address(request.client.host if request.client else "")
    except ValueError:
        return False
    is_trusted = any(peer in network for network in settings.trusted_proxies)
    return is_trusted and request.headers.get("x-forwarded-proto", "").partition(",")[0].strip().lower() == "https"


def require_own_origin(request: Request) -> None:
    """Let pass what a page of ours sent, or no browser at all.

    Browsers say by ``Sec-Fetch-Site`` where a request comes from (W3C Fetch Metadata), over plain http by ``Origin``.

    Raises:
        NotAllowed: a page of another origin sent it.
    """
    site = request.headers.get("sec-fetch-site")
    origin = request.headers.get("origin")
    if site is not None:
        is_own = site in _SAME
    else:
        is_own = origin is None or _parts_of(origin).netloc.lower() == (request.headers.get("host", "").lower() or None)
    if not is_own:
        message = "This came from a page of another site, and was refused. Open the gateway's own page and try again."
        raise NotAllowed(message, code="foreign_origin")


def changing(
    request: Request, visitor: Annotated[Visitor, Depends(signed_in)], form: Annotated[Form, Depends(read_form)]
) -> Visitor:
    """Let pass who is signed in and sends this from a page of ours.

    Raises:
        SignInNeeded: nobody is signed in.
        NotAllowed: another site sent it, or the page's token is missing or another sign-in's.
    """
    require_own_origin(request)
    token = request.headers.get("x-csrf-token") or form.raw("csrf")
    if not hmac.compare_digest(token.encode(), visitor.csrf.encode()):
        message = "This page is out of date, or the request is not from it. Load the page again and try once more."
        raise NotAllowed(message, code="csrf_token")
    return visitor


def form_bytes(scope: Scope) -> int | None:
    """Say how long a body for the pages may be: who is not signed in sends no more than a key. None: as for others."""
    sessions = getattr(scope["app"].state, "sessions", None)
    cookie = cookie_of({name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]})
    is_known = sessions is not None and bool(cookie) and sessions.find(cookie) is not None
    return None if is_known else _SMALL_FORM_BYTES


SignedIn = Annotated[Visitor, Depends(signed_in)]
Changing = Annotated[Visitor, Depends(changing)]


def _owner(visitor: SignedIn) -> Visitor:
    require_registrant(visitor.principal)
    return visitor


def _admin(visitor: SignedIn) -> Visitor:
    require_operator(visitor.principal)
    return visitor


def _operator(visitor: SignedIn) -> Visitor:
    require_operators_word(visitor.principal)
    return visitor


def _owner_changing(visitor: Changing) -> Visitor:
    return _owner(visitor)


def _admin_changing(visitor: Changing) -> Visitor:
    return _admin(visitor)


def _operator_changing(visitor: Changing) -> Visitor:
    return _operator(visitor)


Owner = Annotated[Visitor, Depends(_owner)]
AdminVisitor = Annotated[Visitor, Depends(_admin)]
OperatorVisitor = Annotated[Visitor, Depends(_operator)]
OwnerChanging = Annotated[Visitor, Depends(_owner_changing)]
AdminChanging = Annotated[Visitor, Depends(_admin_changing)]
OperatorChanging = Annotated[Visitor, Depends(_operator_changing)]
