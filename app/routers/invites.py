"""How does a person who was sent a link come to a key? Two small pages, without a script.

Looking at a link uses nothing up: chat programs look at links before people do. Pressing the button does, once.
"""

from __future__ import annotations

import base64
import hashlib
from datetime import datetime
from html import escape
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from pydantic import Field

from app.routers.documented import DATABASE_FAILS, ErrorEnvelope, errors_in_words
from app.routers.envelope import error_response
from app.routers.key_views import EXAMPLE_ID, EXAMPLE_KEY
from app.routers.model_views import View
from app.services.core.errors import GatewayError, Unavailable
from app.services.registry.people.invites import Invited, Invites

if TYPE_CHECKING:
    from collections.abc import Awaitable

__all__ = ["invites_of", "router"]

STYLE: Final = """
:root{color-scheme:light dark}
body{font:1.125rem/1.5 system-ui,sans-serif;max-width:38rem;margin:0 auto;padding:2rem 1.25rem}
h1{font-size:1.6rem;line-height:1.25}
code,pre{font:1rem/1.5 ui-monospace,monospace}
pre{padding:1rem;border:1px solid;border-radius:.5rem;white-space:pre-wrap;overflow-wrap:anywhere;user-select:all}
button{font:inherit;padding:.75rem 1.5rem;border:2px solid;border-radius:.5rem;cursor:pointer}
""".strip()
_STYLE_HASH: Final = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
HEADERS: Final = {
    "content-security-policy": f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'",
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-robots-tag": "noindex, nofollow",
}
"""The address of the page is a secret: nothing stores it, sends it on or lists it."""
PAGE: Final = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex, nofollow">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""
ASK: Final = "Ask whoever sent you the link, or the gateway's operator, for a new one."
GONE: Final = 410
WORDS: Final = {
    404: (
        "The link is not whole.",
        "This invite link is not whole: a part of it is missing or mistyped. Open it again from the message.",
    ),
    GONE: (
        "The invite was used already, has expired or was withdrawn.",
        f"This invite was used already, has expired or was withdrawn. {ASK}",
    ),
}
"""What some statuses mean here: in words, and by example."""

router = APIRouter(prefix="/invite", tags=["keys"])

Token = Annotated[
    str, Path(description="What the link ends with.", examples=["mvi_0000000000000000000000000000000aBcDe"])
]


class ClaimedKey(View):
    """A key that was fetched by an invite: shown this once and never again."""

    id: str = Field(examples=[EXAMPLE_ID])
    key: str = Field(description="Keep it: it is not stored and cannot be shown again.", examples=[EXAMPLE_KEY])
    name: str = Field(examples=["Ada Lovelace"])
    group: str | None = Field(examples=["physics-101"])
    expires_at: datetime | None
    base_url: str = Field(description="What OpenAI clients take as base URL.", examples=["https://gateway.example/v1"])


def invites_of(request: Request) -> Invites:
    """Return the invites.

    Raises:
        Unavailable: they are not there yet.
    """
    invites = getattr(request.app.state, "invites", None)
    if invites is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Invites", invites)


InvitesHere = Annotated[Invites, Depends(invites_of)]


def _documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Describe the statuses of a page: errors come as pages, and in the envelope to who accepts JSON alone."""
    described = errors_in_words({**DATABASE_FAILS, 404: WORDS[404]}, *(status for status in statuses if status != GONE))
    if GONE in statuses:
        description, message = WORDS[GONE]
        error = {"message": message, "type": "not_found_error", "param": None, "code": "invite_gone"}
        content = {"application/json": {"example": {"error": error}}}
        described[GONE] = {**described[404], "description": description, "content": content}
    for answer in described.values():
        answer["content"]["application/json"]["schema"] = {"$ref": f"#/components/schemas/{ErrorEnvelope.__name__}"}
    for status in statuses:
        described[status]["content"]["text/html"] = {"schema": {"type": "string"}}
    return described


@router.get("/{token}", response_class=HTMLResponse, responses=_documented(404, 410, 422, 503))
async def show_invite(token: Token, request: Request, invites: InvitesHere) -> Response:
    """Say what an invite is, on a page with a button. Nothing is used up by looking."""
    return await _answered(request, _shown(invites, token))


@router.post(
    "/{token}",
    status_code=201,
    response_model=ClaimedKey,
    responses={**_documented(404, 410, 422, 503), 201: {"content": {"text/html": {"schema": {"type": "string"}}}}},
)
async def claim_invite(token: Token, request: Request, invites: InvitesHere) -> Response:
    """Use an invite up and show the key that it is for, this once: a page, or JSON to who accepts that."""
    return await _answered(request, _claimed(request, invites, token))


async def _shown(invites: Invites, token: str) -> Response:
    return _page("You are invited", _about(await invites.look(token)), 200)


async def _claimed(request: Request, invites: Invites, token: str) -> Response:
    invited, key = await invites.claim(token)
    base_url = invites.public_url or str(request.base_url).rstrip("/")
    claimed = ClaimedKey(
        id=invited.key_id,
        key=key,
        name=invited.name,
        group=invited.group,
        expires_at=invited.expires_at,
        base_url=f"{base_url}/v1",
    )
    if _wants_json(request):
        return JSONResponse(claimed.model_dump(mode="json"), status_code=201, headers=HEADERS)
    return _page("Your key", _key_shown(claimed), 201)


async def _answered(request: Request, answer: Awaitable[Response]) -> Response:
    """Give the answer, or say what is wrong in the form that the client reads."""
    try:
        return await answer
    except GatewayError as error:
        if _wants_json(request):
            response = error_response(error)
        else:
            response = _page("This link does not work", f"<p>{escape(error.message)}</p>", error.status)
            if error.retry_after_seconds is not None:
                response.headers["retry-after"] = str(error.retry_after_seconds)
        response.headers.update(HEADERS)
        return response


def _wants_json(request: Request) -> bool:
    """Whether a client asks for JSON; browsers ask for HTML, and may name JSON beside it."""
    accepted = request.headers.get("accept", "")
    return "json" in accepted and "text/html" not in accepted


def _about(invited: Invited) -> str:
    """Say what the link leads to. Names come from whoever made the list, so they are escaped."""
    group = f" of the group <strong>{escape(invited.group)}</strong>" if invited.group else ""
    end = f"<p>The key will work until {_day(invited.expires_at)}.</p>\n" if invited.expires_at else ""
    return (
        f"<p>This link fetches a key{group} for <strong>{escape(invited.name)}</strong>. With it, programs may use the "
        "language models of this gateway.</p>\n"
        f"{end}<p>The key is shown <strong>once</strong>, and the link works once. Have a place ready to keep it, such "
        "as a password manager.</p>\n"
        '<form method="post"><button type="submit">Show my key</button></form>'
    )


def _key_shown(claimed: ClaimedKey) -> str:
    base_url = escape(claimed.base_url)
    return (
        "<p>Keep it now: it cannot be shown again, and the link no longer works. Tell it to nobody.</p>\n"
        f"<pre>{escape(claimed.key)}</pre>\n"
        "<p>OpenAI clients take it by these two lines:</p>\n"
        f'<pre>export OPENAI_BASE_URL="{base_url}"\nexport OPENAI_API_KEY="{escape(claimed.key)}"</pre>\n'
        "<p>Then this lists the models:</p>\n"
        '<pre>curl "$OPENAI_BASE_URL/models" -H "Authorization: Bearer $OPENAI_API_KEY"</pre>'
    )


def _day(instant: datetime) -> str:
    return f"{instant:%Y-%m-%d %H:%M} UTC"


def _page(title: str, content: str, status: int) -> Response:
    return HTMLResponse(PAGE.format(title=title, style=STYLE, content=content), status_code=status, headers=HEADERS)
