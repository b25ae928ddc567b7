"""How do pages hear of changes? One stream of server-sent events for each browser that looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, cast

from fastapi import APIRouter, Query, Request
from fastapi.responses import StreamingResponse

from app.routers.dashboard.policy import PAGE_HEADERS
from app.routers.dashboard.visitors import SignedIn, SignInNeeded, cookie_of, sessions_of
from app.services.core.errors import Unavailable

if TYPE_CHECKING:
    from app.services.core.keys import Principal
    from app.services.feed import Feed

__all__ = ["router"]

router = APIRouter(include_in_schema=False)


def feed_of(request: Request) -> Feed:
    """Return what tells of changes.

    Raises:
        Unavailable: it is not there yet, or no more.
    """
    feed = getattr(request.app.state, "feed", None)
    if feed is None:
        raise Unavailable("The gateway is starting. Try again in a second.", retry_after_seconds=1)
    return cast("Feed", feed)


@router.get("/ui/live")
async def live(
    request: Request,
    visitor: SignedIn,
    topics: Annotated[str, Query(max_length=200)] = "",
    seer: Annotated[str, Query(max_length=100)] = "",
) -> StreamingResponse:
    """Tell of changes as they come, until the page leaves, the sign-in ends or the gateway drains.

    ``seer`` names the sign-in that the page was made for: a page of another one would take these rows for its own.
    """
    if seer and not visitor.csrf.startswith(seer):
        raise SignInNeeded("/ui", "Somebody else has signed in to this browser since. Load the page again.")
    sessions, cookie = sessions_of(request), cookie_of(request.headers)

    def who() -> Principal | None:
        session = sessions.find(cookie, is_use=False)
        return None if session is None else session.principal

    subscription = feed_of(request).subscribe(who, visitor.principal.key_id, topics.split(","))
    headers = {**PAGE_HEADERS, "x-accel-buffering": "no"}
    return StreamingResponse(subscription.stream(), media_type="text/event-stream", headers=headers)
